"""DiffAgent (arXiv 2404.01342) on any causal LM: fine-tuning over API calls, then RRHF with rewards of pictures.

1. SFT: text prompt -> call (model, type, base model, parameters).  The text prompt is what the person typed.
2. Sample calls for some prompts; those that are none are worth least; draw the others, score CLIP score + ImageReward
   + HPS v2, each standardised; the demonstration's own call competes as well.
3. RRHF (arXiv 2304.05302): with p_i the mean log-probability of the tokens of call i and r_i its reward,

       loss = sum over r_i < r_j of max(0, p_i - p_j)  -  log-probability of the best call's tokens (mean)

How many calls are sampled, and how many prompts take part, are settings of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chatgenbench.benchmark import Benchmark
from chatgenbench.quiet import quiet
from chatgenbench.schema import Demonstration, FreestyleInput, Plan
from chatgenbench.systems.answers import AnswerError, Reader
from chatgenbench.systems.trained.diffagent import CALL_TOKENS
from chatgenbench.systems.trained.lm import LanguageModel, load
from chatgenbench.systems.trained.wording import api_text, ask_api, read_api
from chatgenbench.systems.training import chat_prompt
from chatgenbench.train.bases import prepared
from chatgenbench.train.card import card
from chatgenbench.train.data import examples, spread, versions
from chatgenbench.train.listener import Say
from chatgenbench.train.notebook import Notebook
from chatgenbench.train.pictures import Judge, Wanted, combined, seed_of
from chatgenbench.train.rrhf import rank
from chatgenbench.train.sft import Fit, fine_tune
from chatgenbench.train.workplace import Workplace

METRICS = ("clipscore", "imagereward", "hpsv2")


@dataclass(frozen=True)
class DiffAgentOptions:
    """`prompts` take part in RRHF, each with `calls` sampled calls; `ranking` is how RRHF fits."""

    base_model: str = "smollm2"
    fit: Fit = Fit(epochs=2)  # noqa: RUF009  (frozen)
    ranking: Fit = Fit(epochs=1, batch=1, rate=1e-4)  # noqa: RUF009  (frozen)
    prompts: int = 32
    calls: int = 3
    limit: int | None = None


def train(
    benchmark: Benchmark, options: DiffAgentOptions, out: Path, say: Say, device: str = "cpu", pool: str | None = None
) -> Workplace:
    """Train, or go on training, in `out`; errors as in `evo.train`, and those of drawing."""
    pairs = examples(benchmark, options.limit)
    asked = {"benchmark": benchmark.manifest.name, "train_hash": benchmark.train_hash, **asdict(options)}
    place = Workplace(out, "diffagent", asked, versions())
    if place.finished:
        say(f"{out} is trained already")
        return place
    told = [(ask_api(chat_prompt(chat)), _gold(benchmark, gold)) for chat, gold in pairs]
    base = prepared(options.base_model, out, [text for pair in told for text in pair])
    if place.done("calls") is None:
        say(f"stage 1 of 3: calls, {len(told)} chats")
        model, tokenizer = load(base)
        trained, report = fine_tune(model, tokenizer, told, options.fit, place.draft("calls"), say)
        place.finish("calls", report, trained)
    if place.done("rewards") is None:
        say(f"stage 2 of 3: drawing what {min(options.prompts, len(pairs))} chats lead to")
        _rewards(benchmark, options, place, base, spread(pairs, options.prompts), say, device, pool)
    if place.done("agent") is None:
        say("stage 3 of 3: RRHF")
        groups = list(Notebook(place.folder / "rewards" / "calls.jsonl"))
        trained, report = rank(*_stage_one(base, place), groups, options.ranking, place.draft("agent"), say)
        place.finish("agent", report, trained)
    place.end(card(place, f"diffagent:{out}"))
    return place


def _gold(benchmark: Benchmark, gold: Demonstration) -> str:
    return api_text(benchmark.catalog.get(gold.plan.model), gold.plan.arguments)


def _stage_one(base: str, place: Workplace) -> tuple[Any, Any]:
    """Model and tokenizer after stage 1, with its LoRA ready to be trained on."""
    from peft import PeftModel

    folder = place.folder / "calls"
    if (folder / "config.json").is_file():
        return load(str(folder))
    model, tokenizer = load(base)
    with quiet():
        return PeftModel.from_pretrained(model, str(folder), is_trainable=True), tokenizer


def _rewards(
    benchmark: Benchmark, options: DiffAgentOptions, place: Workplace, base: str,
    chosen: Sequence[tuple[FreestyleInput, Demonstration]], say: Say, device: str, pool: str | None,
) -> None:  # fmt: skip
    """Write `rewards/calls.jsonl`: per prompt, the calls and what each is worth."""
    draft = place.draft("rewards")
    folder = draft / "trained"
    folder.mkdir(exist_ok=True)
    book = Notebook(draft / "sampled.jsonl")
    known = {record["chat"]: record for record in book}
    judge = Judge(benchmark, METRICS, device, pool)
    whole = (place.folder / "calls" / "config.json").is_file()
    lm = LanguageModel(str(place.folder / "calls") if whole else base, None if whole else place.folder / "calls")
    reader = Reader(benchmark.catalog)
    for number, (chat, gold) in enumerate(chosen, 1):
        if chat.id in known:
            continue
        question = ask_api(chat_prompt(chat))
        calls = lm.sample(question, options.calls, CALL_TOKENS, "\n", seed_of(options.fit.seed, chat.id))
        calls = list(dict.fromkeys([_gold(benchmark, gold), *filter(None, calls)]))
        plans = [_plan(reader, chat_prompt(chat), call) for call in calls]
        record = {"chat": chat.id, "question": question, "calls": calls, "scores": _scored(judge, plans, gold)}
        book.add(record)
        known[chat.id] = record
        say(f"{number} of {len(chosen)} chats drawn, {sum(p is not None for p in plans)} of {len(plans)} calls valid")
    report = _write(folder / "calls.jsonl", [known[chat.id] for chat, _ in chosen])
    place.finish("rewards", report, folder)


def _plan(reader: Reader, prompt: str, call: str) -> Plan | None:
    try:
        return reader.read(read_api(prompt, call))
    except AnswerError:
        return None


def _scored(judge: Judge, plans: Sequence[Plan | None], gold: Demonstration) -> list[dict[str, float] | None]:
    """Metrics of each plan's picture against the gold prompt; None for what is no plan."""
    rows = [i for i, plan in enumerate(plans) if plan is not None]
    seed = gold.plan.arguments.seed or 0
    values = judge.score([Wanted(plan, gold.plan.prompt, seed) for plan in plans if plan is not None])
    found: list[dict[str, float] | None] = [None] * len(plans)
    for place, row in enumerate(rows):
        found[row] = {metric: float(column[place]) for metric, column in values.items()}
    return found


def _write(path: Path, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Turn scores into rewards, standardised over all pictures; a report."""
    flat = [scores for record in records for scores in record["scores"] if scores is not None]
    total = iter(combined({m: np.array([s[m] for s in flat]) for m in METRICS}, dict.fromkeys(METRICS, 1.0)))
    book = Notebook(path)
    path.unlink(missing_ok=True)
    for record in records:
        # a call that is none is worth less than any picture: standardised sums of three metrics stay far above -100
        rewards = [-100.0 if scores is None else float(next(total)) for scores in record["scores"]]
        book.add({"question": record["question"], "calls": record["calls"], "rewards": rewards})
    calls = sum(len(record["calls"]) for record in records)
    return {"prompts": len(records), "calls": calls, "valid calls": len(flat)}
