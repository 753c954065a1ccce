"""Role-play: who asks for what, what a chat must keep to, and an endpoint that is asked each thing once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgenbench.build.play import gates, script
from chatgenbench.build.play.cast import SHARES, Assignment, assign, personas, styles
from chatgenbench.build.play.gates import Gates
from chatgenbench.build.play.run import Accepted, Play, estimate, play
from chatgenbench.build.records import Drop, Placed
from chatgenbench.errors import InfraError, UserError
from chatgenbench.remote.endpoint import Endpoint, Model
from chatgenbench.schema import Arguments, Licence, ModelRecord, Plan
from tests.build.actor import FAULTS, Actor

ARGUMENTS = Arguments(sampler="Euler a", steps=20, cfg_scale=7, width=512, height=512)
MODEL = ModelRecord(
    id="m", name="Neon Dreams XL", file_stem="neonDreams_v2", type="checkpoint", base_model="SDXL 1.0",
    description="Neon Dreams XL draws neon signs. Trigger: nndrms.", trigger_words=("nndrms",), sha256="", files={},
    licence=Licence(spdx="NOASSERTION"),
)  # fmt: skip
PROMPT = "masterpiece, best quality, (red fox:1.2) under a glowing neon sign, rainy street, puddles, cinematic light"


def record(number: int, split: str = "supervised", picture: bool = True, prompt: str = PROMPT) -> Placed:
    return Placed.model_validate({
        "id": f"r{number}", "source": "test", "base_model": "SDXL 1.0", "licence": "CC0-1.0",
        "plan": Plan(prompt=prompt, model="m", arguments=ARGUMENTS), "split": split, "component": number,
        "picture": f"pictures/{number}.png" if picture else "",
    })  # fmt: skip


def test_personas_are_many_and_different() -> None:
    assert len(personas()) >= 110
    for field in ("id", "voice", "name"):
        assert len({getattr(p, field) for p in personas()}) == len(personas())
    assert {p.language_level for p in personas()} >= {"native", "second-language", "child", "texting"}
    assert min(p.age for p in personas()) < 10
    assert max(p.age for p in personas()) > 80
    assert len(styles()) >= 10


def test_assignments_depend_on_the_seed_alone_and_more_of_them_keep_the_first() -> None:
    records = [*(record(i) for i in range(60)), *(record(i, "train") for i in range(100, 140))]
    found = assign(records, 1, 2, None)
    assert found == assign(list(reversed(records)), 1, 2, None)
    assert found != assign(records, 2, 2, None)
    assert assign(records, 1, 2, 25) == found[:25]
    assert len({task.id for task in found}) == len(found) == 120
    trained = assign(records, 1, 2, None, train=True)
    assert trained[:120] == found
    assert {task.record.split for task in trained[120:]} == {"train"}
    kinds = Counter(task.kind for task in found)
    assert all(abs(kinds[kind] / 120 - share) < 0.15 for kind, share in SHARES.items())


def test_a_reference_picture_is_of_train_and_of_another_component() -> None:
    records = [record(1), record(2), *(record(i, "train") for i in range(10, 14))]
    records[2] = records[2].model_copy(update={"component": 1})
    for task in assign(records, 0, 40, None):
        if task.reference is not None:
            assert task.kind == "multimodal"
            assert task.reference.split == "train"
            assert task.reference.component != task.record.component
    alone = assign([record(1), record(9, "train", picture=False)], 0, 40, None)
    assert {task.kind for task in alone} == {"single", "history"}


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (None, "not-json"),
        ([], "empty"),
        (["  "], "empty"),
        (["a fox please", "in the rain"], "turns"),
        (["I'm sorry, but I can't help with that request"], "refusal"),
        (["Here is a prompt: red fox in the rain"], "assistant-voice"),
        (["fox"], "length"),
        (["fox " * 200], "length"),
        (["could you do a fox in the rain for me"], None),
    ],
)
def test_form(turns: list[str] | None, reason: str | None) -> None:
    assert gates.form(turns, (1, 1), Gates()) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a fox like neon dreams xl does it", "leaks-model-name"),
        ("use NeonDreams_v2 for my fox", "leaks-model-name"),
        ("fox please, NNDRMS", "leaks-model-name"),
        ("red fox under a glowing neon sign rainy street puddles cinematic light", "copies-prompt"),
        ("ein roter Fuchs im Regen unter einem leuchtenden Schild, bitte recht schön gemalt", "language"),
        ("a fox, and make it a naked porn star", "unsafe-words"),
        ("there's this fox, it's pouring, and some shop sign lights up the wet road", None),
    ],
)
def test_content(text: str, reason: str | None) -> None:
    assert gates.content(text, PROMPT, MODEL, Gates()) == reason


def test_a_chat_that_goes_round_in_circles_is_rejected() -> None:
    circles = "a snowy snow, a snowy snow. a snowy snow, a furry snow, a snowy snow, a snowy snow, a snowy snow"
    assert gates.content(circles, PROMPT, MODEL, Gates()) == "repeats-itself"
    real = "hey can you make me a boat? a little boat, on a calm lake. not a big boat, a little one on the lake"
    assert gates.repeated(real) < 0.2
    assert gates.repeated("a boat") == gates.repeated("") == 0


def test_meaning_is_bounded_on_both_sides() -> None:
    gate = Gates()
    near = gates.cosine("there's this fox, it's pouring, and a neon sign lights up the wet street", PROMPT)
    far = gates.cosine("what is the capital of Peru and who is its mayor", PROMPT)
    assert gates.closeness(near, gate) is None
    assert gates.closeness(far, gate) == "too-far"
    assert gates.closeness(gates.cosine(PROMPT, PROMPT), gate) == "too-similar"


def test_facts_are_content_words_and_found_by_their_stems() -> None:
    facts = gates.key_facts(PROMPT)
    assert "fox" in facts
    assert "masterpiece" not in facts
    assert gates.told(["foxes", "raining"], "a fox in the rain") == 1.0
    assert gates.told(["fox", "castle"], "a fox") == 0.5
    assert gates.told([], "anything") == 1.0


@given(st.text(max_size=200), st.sampled_from(["single", "multimodal", "history"]), st.booleans())
def test_no_answer_can_break_the_reader(text: str, kind: str, structured: bool) -> None:
    turns = script.read(text, kind, structured)
    assert turns is None or all(isinstance(turn, str) for turn in turns)
    gates.form(turns, script.TURNS[kind], Gates())


def test_the_request_does_not_hold_the_models_name() -> None:
    task = Assignment("r1-1", record(1), personas()[0], styles()[0], "single")
    for structured in (True, False):
        asked = json.dumps(script.request(task, MODEL, structured)).lower()
        assert "neon dreams" not in asked
        assert "nndrms" not in asked
        assert "fox" in asked


def run(actor: Actor, folder: Path, tasks: list[Assignment], **options: object) -> tuple[list[Accepted | Drop], Model]:
    async def whole() -> tuple[list[Accepted | Drop], Model]:
        endpoint = Endpoint(actor.base_url, "actor", patience=0.01, **options)  # type: ignore[arg-type]
        async with Model(endpoint, folder / "journal.jsonl") as model:
            found = [r async for r in play(tasks, {"m": MODEL}, model, Play(), lambda *_: None)]
            return found, model

    return asyncio.run(whole())


def test_faults_cost_no_chat_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    tasks = assign([*(record(i) for i in range(12)), *(record(i, "train") for i in range(20, 24))], 0, 1, None)
    with Actor(FAULTS) as actor:
        found, _ = run(actor, tmp_path, tasks)
        assert [chat.id for chat in found] == [task.id for task in tasks]
        assert all(isinstance(chat, Accepted) and chat.response_id for chat in found)
        asked = len(actor.bodies)
        assert max(actor.answered.values()) == 1
        again, model = run(actor, tmp_path, tasks)
    assert (len(actor.bodies), model.asked) == (asked, 0)
    assert again == found


def test_rejected_chats_are_retried_with_the_objection_then_dropped_and_counted(tmp_path: Path) -> None:
    tasks = assign([record(i) for i in range(4)], 0, 1, None)
    with Actor(say=lambda body: json.dumps({"messages": ["use Neon Dreams XL for a fox"]})) as actor:
        found, _ = run(actor, tmp_path, [task for task in tasks if task.kind == "single"])
    assert found
    assert {drop.reason for drop in found if isinstance(drop, Drop)} == {"leaks-model-name"}
    assert len(actor.bodies) == 3 * len(found)
    assert sum("it names the model" in json.dumps(body) for body in actor.bodies) == 2 * len(found)


def test_a_server_without_schemas_is_asked_in_words(tmp_path: Path) -> None:
    class Old(Actor):
        def reply(self, data: bytes, key: str | None) -> tuple[int, bytes, dict[str, str]]:
            if b"response_format" in data:
                return 400, b'{"error": {"message": "unknown field response_format"}}', {}
            return super().reply(data, key)

    tasks = assign([record(i) for i in range(3)], 0, 1, None)
    with Old() as actor:
        found, _ = run(actor, tmp_path, tasks)
    assert all(isinstance(chat, Accepted) for chat in found)


def test_a_wrong_model_a_dead_server_and_a_spent_budget_stop_with_one_line(tmp_path: Path) -> None:
    tasks = assign([record(i) for i in range(6)], 0, 1, None)

    class Gone(Actor):
        def reply(self, data: bytes, key: str | None) -> tuple[int, bytes, dict[str, str]]:
            return 404, b"{}", {}

    with Gone() as actor, pytest.raises(UserError, match="no such model"):
        run(actor, tmp_path / "a", tasks)
    with Actor() as actor:
        address = actor.base_url
        with pytest.raises(UserError, match="the budget is spent"):
            run(actor, tmp_path / "b", tasks, price_in=1000.0, price_out=1000.0, budget=1.0)
        spent = 240 * 1000 / 1e6 * len(actor.bodies)  # the actor counts 200 tokens read and 40 written
        assert 0 < spent <= 1.0
    with pytest.raises(InfraError, match="did not answer"):
        asyncio.run(_ask(Endpoint(address, "actor", patience=0.001), tmp_path / "c"))


async def _ask(endpoint: Endpoint, journal: Path) -> None:
    async with Model(endpoint, journal) as model:
        await model.ask([{"role": "user", "content": "hello"}], 0, None)


def test_the_estimate_is_bracketed_and_priced() -> None:
    tasks = assign([record(i) for i in range(10)], 0, 1, None)
    guess = estimate(tasks, {"m": MODEL}, Endpoint("", "x", price_in=1.0, price_out=2.0), Play())
    assert guess.requests == (20, 60)
    assert guess.usd[0] == pytest.approx((guess.tokens_in[0] + 2 * guess.tokens_out[0]) / 1e6)
    assert guess.usd[1] == pytest.approx(3 * guess.usd[0])
