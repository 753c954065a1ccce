"""Policy optimisation of a prompt writer against a reward model: RLOO of TRL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from chatgenbench.quiet import quiet
from chatgenbench.train.listener import Listener, Say
from chatgenbench.train.workplace import last_checkpoint


@dataclass(frozen=True)
class Policy:
    """RLOO: `questions` a step, each answered `answers` times; `leash` is the weight of the KL to stage 1."""

    steps: int = 16
    questions: int = 2
    answers: int = 4
    rate: float = 1e-5
    leash: float = 0.05
    rank: int = 8
    tokens: int = 48
    seed: int = 0
    save_every: int = 4


def optimise(
    writer: str, reward: str, questions: Sequence[str], policy: Policy, draft: Path, say: Say
) -> tuple[Path, dict[str, Any]]:
    """Train a copy of `writer`, from the last checkpoint in `draft` if there is one; the folder, and a report."""
    import torch
    from datasets import Dataset  # type: ignore[import-untyped]
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    with quiet():
        from trl import RLOOConfig, RLOOTrainer

        tokenizer = AutoTokenizer.from_pretrained(writer, padding_side="left")
        judge = AutoModelForSequenceClassification.from_pretrained(reward, num_labels=1, dtype=torch.float32)
        judge.config.pad_token_id = tokenizer.pad_token_id
        cuda = torch.cuda.is_available()
        settings = RLOOConfig(
            output_dir=str(draft), max_steps=policy.steps,
            per_device_train_batch_size=policy.questions * policy.answers,
            num_generations=policy.answers, max_completion_length=policy.tokens, learning_rate=policy.rate,
            beta=policy.leash, temperature=1.0, top_p=0.95, seed=policy.seed, save_steps=policy.save_every,
            save_total_limit=2, logging_steps=1, report_to=[], use_cpu=not cuda, bf16=cuda, disable_tqdm=True,
            gradient_checkpointing=cuda, dataloader_pin_memory=cuda,
        )  # fmt: skip
        model = AutoModelForCausalLM.from_pretrained(writer, dtype=torch.float32)
        listener = Listener(say)
        trainer = RLOOTrainer(
            model=model, reward_funcs=judge, args=settings, processing_class=tokenizer,
            reward_processing_classes=tokenizer, callbacks=[listener.callback()],
            train_dataset=Dataset.from_list([{"prompt": question} for question in questions]),
            peft_config=LoraConfig(r=policy.rank, lora_alpha=2 * policy.rank, target_modules="all-linear",
                                   task_type="CAUSAL_LM"),
        )  # fmt: skip
        _silence(trainer)
        start = perf_counter()
        with listener:
            trainer.train(resume_from_checkpoint=last_checkpoint(draft))
    listener.check()
    trained = draft / "trained"
    with quiet():
        trainer.model.merge_and_unload().save_pretrained(trained)
        tokenizer.save_pretrained(trained)
    rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    return trained, {
        "steps": trainer.state.global_step, "rewards": rewards, "first reward": rewards[0], "last reward": rewards[-1],
        "seconds": round(perf_counter() - start, 1),
    }  # fmt: skip


def _silence(trainer: Any) -> None:
    """Take out what prints each log a second time."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
