"""RRHF (arXiv 2304.05302): answers that are worth more shall be likelier; the best one is learnt by heart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatgenbench.quiet import quiet
from chatgenbench.train.listener import Say
from chatgenbench.train.sft import Fit, encode, run, trainable


def rank(
    model: Any, tokenizer: Any, groups: Sequence[dict[str, Any]], fit: Fit, draft: Path, say: Say
) -> tuple[Path, dict[str, Any]]:
    """Train `model` on groups of `question`, `calls`, `rewards`; the folder of what was trained, and a report."""
    rows = [
        {
            "input_ids": group["rewards"],  # what a row's length is measured by
            "calls": [encode(tokenizer, group["question"], call) for call in group["calls"]],
            "rewards": group["rewards"],
        }
        for group in groups
        if len(group["calls"]) > 1
    ]
    report = run(model, tokenizer, rows, fit, draft, say, trainer=_trainer(tokenizer.pad_token_id))
    trained = draft / "trained"
    with quiet():
        model.save_pretrained(trained)
        if (trained / "config.json").is_file():
            tokenizer.save_pretrained(trained)
    return trained, report | {"groups": len(rows), "trained parameters": trainable(model)}


def loss_of(means: Any, rewards: Any) -> Any:
    """Rank loss and cross entropy of the best; `means` and `rewards` (n,) are mean log-probabilities and rewards."""
    import torch

    worse = rewards[:, None] < rewards[None, :]
    gaps = torch.relu(means[:, None] - means[None, :])
    return gaps[worse].sum() - means[rewards.argmax()]


def _trainer(pad: int) -> Any:
    """A Trainer class whose batch is one group."""
    import torch
    from transformers import Trainer

    from chatgenbench.train.sft import Collator

    class Ranker(Trainer):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options | {"data_collator": self._group})

        def _group(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
            (row,) = rows
            return Collator(pad)(row["calls"]) | {"rewards": torch.tensor(row["rewards"])}

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
            rewards, labels = inputs.pop("rewards"), inputs.pop("labels")
            logits = model(**inputs).logits[:, :-1].float()
            counted = labels[:, 1:] != -100
            told = labels[:, 1:].clamp(min=0)
            logs = logits.log_softmax(-1).gather(-1, told[..., None])[..., 0]
            means = (logs * counted).sum(1) / counted.sum(1)
            loss = loss_of(means, rewards)
            return (loss, {}) if return_outputs else loss

    return Ranker
