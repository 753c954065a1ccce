"""Plays every assignment: asks, checks, asks again with the objection told, and gives up in the end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from chatgenbench.build.play import gates as gate
from chatgenbench.build.play import script
from chatgenbench.build.play.cast import Assignment
from chatgenbench.build.play.gates import Gates
from chatgenbench.build.records import Drop
from chatgenbench.errors import InfraError
from chatgenbench.remote.endpoint import Endpoint, Model, NoAnswer, Reply, cost_of, tokens_of
from chatgenbench.schema import MAX_TEXT, FreestyleInput, Message, ModelRecord, Noun, digest_of

ATTEMPTS = 3


@dataclass(frozen=True)
class Play:
    """What a role-play is asked for: seed, inputs for each demonstration, the most in all, and the gates.

    With `train`, the training demonstrations get inputs too, for systems that learn from chats.
    """

    seed: int = 0
    inputs: int = 1
    max_items: int | None = None
    train: bool = False
    gates: Gates = field(default_factory=Gates)


class Accepted(Noun):
    """A chat that passed every gate, and how it was made.

    `request` is the key of the exact request in the workspace's `roleplay.jsonl`; `model` what the endpoint says
    answered; `closeness` the cosine of chat and prompt; `facts` the share of key facts told.
    """

    id: str
    input: FreestyleInput
    demonstration: str
    persona: str
    style: str
    model: str
    request: str
    response_id: str
    seed: int
    attempts: int
    closeness: float
    facts: float


async def play(
    tasks: Sequence[Assignment], catalog: Mapping[str, ModelRecord], model: Model, settings: Play,
    tick: Callable[[str, int, int | None], None], skip: bool = False,
) -> AsyncIterator[Accepted | Drop]:  # fmt: skip
    """The chats in the order of `tasks`, or why there is none: a gate's name, or `unanswered`.

    What the journal knows is not asked again.  With `skip`, a chat that is never answered is dropped, as long as the
    model answers others.
    """
    waiting: deque[asyncio.Task[Accepted | Drop]] = deque()
    todo = iter(tasks)
    done = 0
    try:
        while True:
            while len(waiting) < 4 * model.endpoint.concurrency and (task := next(todo, None)) is not None:
                record = catalog.get(task.record.plan.model)
                waiting.append(asyncio.create_task(_answered(task, record, model, settings, skip)))
            if not waiting:
                return
            result = await waiting[0]
            waiting.popleft()
            done += 1
            tick("role-play", done, len(tasks))
            yield result
    finally:
        for rest in waiting:
            rest.cancel()
        for rest in waiting:
            with suppress(asyncio.CancelledError, Exception):
                await rest


async def _answered(
    task: Assignment, record: ModelRecord | None, model: Model, settings: Play, skip: bool
) -> Accepted | Drop:
    try:
        return await _one(task, record, model, settings)
    except NoAnswer as failure:
        if model.down or not await model.answers_others():
            raise
        if not skip:
            raise InfraError(f"{failure}, or add --skip-unanswered to go on without that chat") from None
        return Drop(task.id, "unanswered")


async def _one(task: Assignment, record: ModelRecord | None, model: Model, settings: Play) -> Accepted | Drop:
    structured = model.endpoint.structured
    objection: str | None = None
    for attempt in range(1, ATTEMPTS + 1):
        seed = int(digest_of([settings.seed, task.id, attempt])[:8], 16) % 2**31
        told = None if objection is None else gate.REASONS[objection]
        reply = await model.ask(
            script.request(task, record, structured, told), seed, script.schema(task.kind) if structured else None
        )
        checked = await _check(task, reply, record, model, settings.gates, seed)
        if not isinstance(checked, str):
            return _accepted(task, reply, seed, attempt, *checked)
        objection = checked
        if objection == "unfit":  # and would be so again
            break
    return Drop(task.id, objection or "empty")


async def _check(
    task: Assignment, reply: Reply, record: ModelRecord | None, model: Model, gates: Gates, seed: int
) -> str | tuple[list[str], float, float]:
    """The first gate that says no, or (turns, closeness, share of facts)."""
    if reply.refused or reply.unfit:
        return "unfit" if reply.unfit else "refusal"
    if len(reply.text) > MAX_TEXT:  # no gate is asked to read more than a message may hold
        return "length"
    turns = script.read(reply.text, task.kind, model.endpoint.structured)
    prompt = task.record.plan.prompt
    text = "\n".join(turns or [])
    objection = gate.form(turns, script.TURNS[task.kind], gates) or gate.content(text, prompt, record, gates)
    if objection:
        return objection
    closeness = gate.cosine(text, prompt)
    if objection := gate.closeness(closeness, gates):
        return objection
    share = await _facts(text, prompt, model, gates, seed)
    if share is None:
        return "refusal"
    return (turns or [], closeness, share) if share >= gates.facts_share else "facts"


async def _facts(text: str, prompt: str, model: Model, gates: Gates, seed: int) -> float | None:
    """Share of the key facts that are told, or None when the language model would not read the chat."""
    if gates.facts == "off":
        return 1.0
    said = text
    if gates.facts == "llm":
        reply = await model.ask(script.facts_request(text), seed, None, temperature=0.0)
        if reply.refused or reply.unfit:
            return None
        said = reply.text[:MAX_TEXT]
    return round(gate.told(gate.key_facts(prompt), said), 4)


def _accepted(
    task: Assignment, reply: Reply, seed: int, attempts: int, turns: list[str], closeness: float, share: float
) -> Accepted:
    shown = (task.reference.picture,) if task.reference is not None else ()
    messages = tuple(Message(text=turn, images=shown if at == 0 else ()) for at, turn in enumerate(turns))
    return Accepted(
        id=task.id, input=FreestyleInput(id=task.id, kind=task.kind, messages=messages),
        demonstration=task.record.id, persona=task.persona.id, style=task.style.id, model=reply.model,
        request=reply.key, response_id=reply.response_id, seed=seed, attempts=attempts, closeness=closeness,
        facts=share,
    )  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """What a role-play may cost: `low` if every first try is accepted, `high` if every chat needs all attempts."""

    requests: tuple[int, int]
    tokens_in: tuple[int, int]
    tokens_out: tuple[int, int]
    usd: tuple[float, float]


#: Tokens that a chat or a sentence is taken to have: a stated rule, for estimates only.
TYPICAL_ANSWER = 60


def estimate(
    tasks: Sequence[Assignment], catalog: Mapping[str, ModelRecord], endpoint: Endpoint, settings: Play
) -> Estimate:
    """Requests, tokens and USD; tokens are characters / 4."""
    read = sum(tokens_of(script.request(t, catalog.get(t.record.plan.model), endpoint.structured)) for t in tasks)
    checks = len(tasks) * (settings.gates.facts == "llm")
    low = (len(tasks) + checks, read + checks * 100, (len(tasks) + checks) * TYPICAL_ANSWER)
    high = tuple(ATTEMPTS * number for number in low)
    usd = [cost_of(numbers[1], numbers[2], endpoint) for numbers in (low, high)]
    return Estimate((low[0], high[0]), (low[1], high[1]), (low[2], high[2]), (usd[0], usd[1]))
