"""A reward model: a language model with one output that tells what the picture of a prompt is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatgenbench.quiet import quiet
from chatgenbench.train.listener import Say
from chatgenbench.train.sft import Fit, encode, run


def regress(
    writer: str, records: Sequence[dict[str, Any]], fit: Fit, draft: Path, say: Say
) -> tuple[Path, dict[str, Any]]:
    """Least squares on (question, prompt) -> reward, from the weights of `writer`; the folder, and a report."""
    import torch
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(fit.seed)
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(writer)
        model = AutoModelForSequenceClassification.from_pretrained(
            writer, num_labels=1, problem_type="regression", dtype=torch.float32
        )
        model.config.pad_token_id = tokenizer.pad_token_id
        lora = LoraConfig(r=max(fit.rank, 1), lora_alpha=2 * max(fit.rank, 1), target_modules="all-linear",
                          task_type=TaskType.SEQ_CLS)  # fmt: skip
        wrapped = get_peft_model(model, lora)
    rows = [
        {"input_ids": encode(tokenizer, r["question"], r["prompt"])["input_ids"], "labels": float(r["reward"])}
        for r in records
    ]
    report = run(wrapped, tokenizer, rows, fit, draft, say)
    trained = draft / "trained"
    with quiet():
        wrapped.merge_and_unload().save_pretrained(trained)
        tokenizer.save_pretrained(trained)
    return trained, report | {"examples": len(rows)}
