"""Supervised fine-tuning on (question, answer) texts with the Trainer of transformers, LoRA or all weights."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from chatgenbench.quiet import quiet
from chatgenbench.train.listener import Listener, Say
from chatgenbench.train.workplace import last_checkpoint

#: Longest question with its answer, in tokens; what is cut is the beginning of the question.
MAX_TOKENS = 512


@dataclass(frozen=True)
class Fit:
    """How to fine-tune.  `rank` is that of the LoRA, 0 trains all weights; `save_every` counts steps."""

    epochs: float = 3
    batch: int = 8
    rate: float = 1e-3
    rank: int = 16
    seed: int = 0
    save_every: int = 10


def fine_tune(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]], fit: Fit, draft: Path, say: Say
) -> tuple[Path, dict[str, Any]]:
    """Train `model` to answer, from the last checkpoint in `draft` if there is one.

    Returns:
        The folder of what was trained (an adapter, or the whole model), and a report: steps, losses, seconds.
    """
    rows = [encode(tokenizer, question, answer) for question, answer in pairs]
    wrapped = adapted(model, fit.rank, fit.seed)
    report = run(wrapped, tokenizer, rows, fit, draft, say)
    trained = draft / "trained"
    with quiet():
        wrapped.save_pretrained(trained)
        if not fit.rank:
            tokenizer.save_pretrained(trained)
    commit = str(getattr(model.config, "_commit_hash", None) or "")  # of a model of the hub
    return trained, report | {"base commit": commit, "examples": len(rows), "trained parameters": trainable(wrapped)}


def adapted(model: Any, rank: int, seed: int) -> Any:
    """`model` with a fresh LoRA on all its linear layers; the model itself if `rank` is 0."""
    import torch

    torch.manual_seed(seed)
    if not rank:
        return model
    from peft import LoraConfig, get_peft_model

    with quiet():
        return get_peft_model(
            model, LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules="all-linear",
                              task_type="CAUSAL_LM"),
        )  # fmt: skip


def trainable(model: Any) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def encode(tokenizer: Any, question: str, answer: str) -> dict[str, list[int]]:
    """Token ids, and labels that count the answer only; a long question loses its beginning."""
    asked = tokenizer(question, add_special_tokens=False)["input_ids"]
    answered = tokenizer(f" {answer}", add_special_tokens=False)["input_ids"][: MAX_TOKENS // 2]
    told = [*answered, tokenizer.eos_token_id]
    asked = asked[-(MAX_TOKENS - len(told)) :]
    return {"input_ids": asked + told, "labels": [-100] * len(asked) + told}


def run(
    model: Any, tokenizer: Any, rows: Sequence[Any], fit: Fit, draft: Path, say: Say, trainer: Any = None
) -> dict[str, Any]:
    """Run the Trainer (or a class like it) to its end; Ctrl-C saves a checkpoint first."""
    import torch
    from transformers import Trainer, TrainingArguments

    cuda = torch.cuda.is_available()
    listener = Listener(say)
    with quiet():
        settings = TrainingArguments(
            output_dir=str(draft), num_train_epochs=1, per_device_train_batch_size=fit.batch,
            learning_rate=fit.rate, lr_scheduler_type="cosine", warmup_steps=0.05, weight_decay=0.0, seed=fit.seed,
            data_seed=fit.seed, save_steps=fit.save_every, save_total_limit=2, logging_steps=5, report_to=[],
            use_cpu=not cuda, bf16=cuda and torch.cuda.is_bf16_supported(), disable_tqdm=True,
            remove_unused_columns=False, dataloader_pin_memory=cuda, train_sampling_strategy="sequential",
        )  # fmt: skip
        made = (trainer or Trainer)(
            model=model, args=settings, train_dataset=ordered(rows, fit), callbacks=[listener.callback()],
            data_collator=Collator(tokenizer.pad_token_id),
        )  # fmt: skip
        from transformers.trainer_callback import PrinterCallback

        made.remove_callback(PrinterCallback)
        start = perf_counter()
        with listener:
            made.train(resume_from_checkpoint=last_checkpoint(draft))
    listener.check()
    losses = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
    return {
        "steps": made.state.global_step, "first loss": losses[0] if losses else None,
        "last loss": losses[-1] if losses else None, "losses": losses, "seconds": round(perf_counter() - start, 1),
    }  # fmt: skip


def ordered(rows: Sequence[Any], fit: Fit) -> list[Any]:
    """The rows of all epochs one after the other, shuffled anew in each, so that rows of like length share a batch.

    The Trainer's own sampler of that kind starts another order when it goes on in the middle of an epoch.
    """
    rng, found = random.Random(fit.seed), list[Any]()
    for _ in range(math.ceil(fit.epochs)):
        shuffled = rng.sample(list(rows), len(rows))
        pools = [shuffled[i : i + 16 * fit.batch] for i in range(0, len(rows), 16 * fit.batch)]
        near = [row for pool in pools for row in sorted(pool, key=lambda row: len(row["input_ids"]))]
        batches = [near[i : i + fit.batch] for i in range(0, len(near), fit.batch)]
        short = batches.pop() if len(batches[-1]) < fit.batch else []
        found += [row for batch in (*rng.sample(batches, len(batches)), short) for row in batch]
    return found[: math.ceil(len(rows) * fit.epochs)]


@dataclass(frozen=True)
class Collator:
    """Pads rows to the longest on the right: ids with `pad`, labels with -100; other columns become tensors."""

    pad: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        import torch

        longest = max(len(row["input_ids"]) for row in rows)

        def padded(key: str, value: int) -> torch.Tensor:
            return torch.tensor([row[key] + [value] * (longest - len(row[key])) for row in rows])

        ids = padded("input_ids", self.pad)
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        mask = (torch.arange(longest) < lengths[:, None]).long()
        batch = {"input_ids": ids, "attention_mask": mask}
        labels = rows[0]["labels"]
        batch["labels"] = (
            padded("labels", -100) if isinstance(labels, list) else torch.tensor([r["labels"] for r in rows])
        )
        others = [key for key in rows[0] if key not in ("input_ids", "labels")]
        return batch | {key: torch.tensor([row[key] for row in rows]) for key in others}
