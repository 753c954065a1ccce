"""BeautifulPrompt (arXiv 2311.06752) on any causal LM: fine-tuning, a reward model of pictures, policy optimisation.

1. SFT: what the person typed -> prompt, in the published wording.
2. Reward: for some chats, prompts are sampled and drawn with the demonstration's model, arguments and seed; each
   picture's score minus that of the demonstration's own prompt is what a regressor learns to tell from the two texts.
   The paper mixes 0.7 PickScore and 0.3 aesthetic score; which metrics stand in for them is a setting (`reward`).
3. Policy optimisation against that regressor with a KL leash to stage 1.  The paper uses PPO, which TRL no longer
   has; RLOO (arXiv 2402.14740) is its method of that family without a value model.

The result is a whole model: the stage `beautifulprompt:DIR` and `from_pretrained` load it like the published ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chatgenbench.benchmark import Benchmark
from chatgenbench.quiet import quiet
from chatgenbench.schema import Demonstration, FreestyleInput
from chatgenbench.systems.trained.lm import LanguageModel, load
from chatgenbench.systems.trained.wording import beautify
from chatgenbench.train.bases import prepared
from chatgenbench.train.card import card
from chatgenbench.train.data import examples, require, spread, versions
from chatgenbench.train.listener import Say
from chatgenbench.train.notebook import Notebook
from chatgenbench.train.pictures import Judge, Wanted, combined, seed_of
from chatgenbench.train.policy import Policy, optimise
from chatgenbench.train.regressor import regress
from chatgenbench.train.sft import Fit, fine_tune
from chatgenbench.train.workplace import Workplace

PROMPT_TOKENS = 64
#: What the paper mixes, and what stands in for it where only the miniature's metrics are there.
PUBLISHED = {"pickscore": 0.7, "aesthetic": 0.3}
MINIATURE = {"hpsv2": 0.7, "imagereward": 0.3}


@dataclass(frozen=True)
class BeautifulPromptOptions:
    """`chats` are drawn for the reward model, each with `draws` sampled prompts and the demonstration's own."""

    base_model: str = "smollm2"
    fit: Fit = Fit(epochs=2)  # noqa: RUF009  (frozen)
    reward: Mapping[str, float] = field(default_factory=lambda: dict(MINIATURE))
    chats: int = 32
    draws: int = 3
    regressor: Fit = Fit(epochs=3, rate=1e-4, rank=8)  # noqa: RUF009  (frozen)
    policy: Policy = Policy()  # noqa: RUF009  (frozen)
    limit: int | None = None


def train(
    benchmark: Benchmark, options: BeautifulPromptOptions, out: Path, say: Say, device: str = "cpu",
    pool: str | None = None,
) -> Workplace:  # fmt: skip
    """Train, or go on training, in `out`; errors as in `evo.train`, and those of drawing."""
    require("trl")
    pairs = examples(benchmark, options.limit)
    asked = {"benchmark": benchmark.manifest.name, "train_hash": benchmark.train_hash, **asdict(options)}
    place = Workplace(out, "beautifulprompt", asked, versions())
    if place.finished:
        say(f"{out} is trained already")
        return place
    told = [(wish(chat), gold.plan.prompt) for chat, gold in pairs]
    base = prepared(options.base_model, out, [text for pair in told for text in pair])
    if place.done("writer") is None:
        say(f"stage 1 of 3: prompt writing, {len(told)} chats")
        _writer(base, told, options.fit, place, say)
    writer = str(out / "writer")
    if place.done("rewards") is None:
        say(f"stage 2 of 3: drawing what {min(options.chats, len(pairs))} chats lead to")
        _rewards(benchmark, options, place, writer, spread(pairs, options.chats), say, device, pool)
    if place.done("reward") is None:
        say("stage 2 of 3: the reward model")
        trained, report = regress(
            writer, list(Notebook(out / "rewards" / "prompts.jsonl")), options.regressor, place.draft("reward"), say
        )
        place.finish("reward", report, trained)
    if place.done("policy") is None:
        say("stage 3 of 3: policy optimisation")
        questions = [question for question, _ in told]
        trained, report = optimise(writer, str(out / "reward"), questions, options.policy, place.draft("policy"), say)
        place.finish("policy", report, trained)
    for file in (out / "policy").iterdir():
        shutil.copy(file, out / file.name)
    place.end(card(place, f"'beautifulprompt:{out}'"))
    return place


def wish(chat: FreestyleInput) -> str:
    """What the person typed, in the published wording."""
    return beautify(" ".join(m.text for m in chat.messages if m.role == "user"))


def _writer(base: str, told: Sequence[tuple[str, str]], fit: Fit, place: Workplace, say: Say) -> None:
    """Stage 1; what is kept is the whole model, because the stages after it train adapters of their own."""
    model, tokenizer = load(base)
    trained, report = fine_tune(model, tokenizer, told, fit, place.draft("writer"), say)
    if fit.rank:
        from peft import PeftModel

        shutil.rmtree(whole := place.draft("writer") / "whole", ignore_errors=True)
        with quiet():
            PeftModel.from_pretrained(load(base)[0], str(trained)).merge_and_unload().save_pretrained(whole)
            tokenizer.save_pretrained(whole)
        trained = whole
    place.finish("writer", report, trained)


def _rewards(
    benchmark: Benchmark, options: BeautifulPromptOptions, place: Workplace, writer: str,
    chosen: Sequence[tuple[FreestyleInput, Demonstration]], say: Say, device: str, pool: str | None,
) -> None:  # fmt: skip
    """Write `rewards/prompts.jsonl`: question, prompt, and its reward relative to the demonstration's prompt."""
    draft = place.draft("rewards")
    folder = draft / "trained"
    folder.mkdir(exist_ok=True)
    book = Notebook(draft / "sampled.jsonl")
    known = {record["chat"]: record for record in book}
    judge, lm = Judge(benchmark, list(options.reward), device, pool), LanguageModel(writer)
    for number, (chat, gold) in enumerate(chosen, 1):
        if chat.id in known:
            continue
        seed = seed_of(options.fit.seed, chat.id)
        drawn = lm.sample(wish(chat), options.draws, PROMPT_TOKENS, "\n", seed)
        prompts = [gold.plan.prompt, *dict.fromkeys(filter(None, drawn))]
        plans = [gold.plan.model_copy(update={"prompt": prompt}) for prompt in prompts]
        values = judge.score([Wanted(plan, gold.plan.prompt, seed) for plan in plans])
        record = {"chat": chat.id, "question": wish(chat), "prompts": prompts,
                  "scores": {metric: column.tolist() for metric, column in values.items()}}  # fmt: skip
        book.add(record)
        known[chat.id] = record
        say(f"{number} of {len(chosen)} chats drawn")
    report = _write(folder / "prompts.jsonl", [known[chat.id] for chat, _ in chosen], options.reward)
    place.finish("rewards", report, folder)


def _write(path: Path, records: Sequence[dict[str, Any]], weights: Mapping[str, float]) -> dict[str, Any]:
    columns = {m: np.array([v for r in records for v in r["scores"][m]]) for m in weights}
    total = iter(combined(columns, weights))
    path.unlink(missing_ok=True)
    book, better, count = Notebook(path), 0, 0
    for record in records:
        values = [float(next(total)) for _ in record["prompts"]]
        for prompt, value in zip(record["prompts"], values, strict=True):
            book.add({"question": record["question"], "prompt": prompt, "reward": value - values[0]})
        better, count = better + sum(v > values[0] for v in values[1:]), count + len(values) - 1
    return {"chats": len(records), "sampled prompts": count, "better than the demonstration's": better}
