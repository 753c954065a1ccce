"""ChatGen-Evo (arXiv 2411.17176) on any causal LM: prompt writing, then model tokens, then nothing to train.

1. Supervised fine-tuning: chat -> prompt (LoRA by default).
2. ModelTokens: one new embedding per catalog model; everything else stays as it is.  See `tokens.py`.
3. Arguments come from demonstrations of the chosen model that are shown when it answers: nothing is trained.

How many demonstrations are shown, the rank, the rates and the wording are not published: they are settings of ours.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from chatgenbench.benchmark import Benchmark
from chatgenbench.systems.trained.lm import LanguageModel, load
from chatgenbench.systems.trained.wording import ask_model, ask_prompt
from chatgenbench.train import tokens
from chatgenbench.train.bases import prepared
from chatgenbench.train.card import card
from chatgenbench.train.data import examples, versions
from chatgenbench.train.listener import Say
from chatgenbench.train.sft import Fit, fine_tune
from chatgenbench.train.workplace import Workplace

SHOWN = 4


@dataclass(frozen=True)
class EvoOptions:
    """`shown` is how many demonstrations stage 3 shows; `limit` trains on the first that many chats only."""

    base_model: str = "smollm2"
    fit: Fit = Fit()  # noqa: RUF009  (frozen)
    tokens: tokens.TokenFit = tokens.TokenFit()  # noqa: RUF009  (frozen)
    shown: int = SHOWN
    limit: int | None = None


def train(benchmark: Benchmark, options: EvoOptions, out: Path, say: Say) -> Workplace:
    """Train, or go on training, in `out`.

    Raises:
        UserError: no chats to train on, a base model that cannot be loaded, a folder that is taken.
    """
    pairs = examples(benchmark, options.limit)
    asked = {"benchmark": benchmark.manifest.name, "train_hash": benchmark.train_hash, **asdict(options)}
    place = Workplace(out, "evo", asked, versions())
    if place.finished:
        say(f"{out} is trained already")
        return place
    base = prepared(options.base_model, out, [p for chat, d in pairs for p in (ask_prompt(chat), d.plan.prompt)])
    if place.done("writer") is None:
        say(f"stage 1 of 3: prompt writing, {len(pairs)} chats")
        model, tokenizer = load(base)
        written = [(ask_prompt(chat), gold.plan.prompt) for chat, gold in pairs]
        trained, report = fine_tune(model, tokenizer, written, options.fit, place.draft("writer"), say)
        place.finish("writer", report, trained)
    if place.done("tokens") is None:
        say(f"stage 2 of 3: {len(benchmark.catalog)} model tokens")
        whole = not options.fit.rank
        lm = LanguageModel(str(out / "writer") if whole else base, None if whole else out / "writer")
        asked_for = [
            (ask_model(chat, gold.plan.prompt), benchmark.catalog.get(gold.plan.model).id) for chat, gold in pairs
        ]
        folder, report = tokens.train(
            lm, list(benchmark.catalog.records), asked_for, options.tokens, place.draft("tokens")
        )
        place.finish("tokens", report, folder)
    place.facts["stages"]["arguments"] = {"shown": options.shown, "trained parameters": 0}
    place.end(card(place, f"evo:{out}"))
    return place
