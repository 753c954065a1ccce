"""ModelTokens: one new embedding `<Model_i>` per catalog model, everything else frozen.

    p(<Model_i> | chat, prompt) = softmax_i( h . e_i ),    loss = -log p(<Model of the demonstration>)

h is the language model's state after "Model:", e_i the row that `<Model_i>` has in the output embedding, and the
softmax runs over the model tokens.  Since nothing else is trained and no model token is ever read, h does not change:
it is computed once, and what remains is trained in seconds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from chatgenbench.systems.trained.folder import NAMES, TOKENS
from chatgenbench.systems.trained.lm import LanguageModel


@dataclass(frozen=True)
class TokenFit:
    """Full-batch AdamW; `decay` keeps the embeddings of rarely seen models small."""

    steps: int = 300
    rate: float = 0.1
    decay: float = 0.1
    seed: int = 0


def train(
    lm: LanguageModel, models: Sequence[str], asked: Sequence[tuple[str, str]], fit: TokenFit, draft: Path
) -> tuple[Path, dict[str, Any]]:
    """Train the embeddings of `models` on (question, model) and write them.

    Returns:
        The folder written, and a report: losses, accuracy on the training questions, seconds.
    """
    import torch
    from safetensors.torch import save_file

    start = perf_counter()
    states = lm.after([question for question, _ in asked])
    rows = {model: row for row, model in enumerate(models)}
    target = torch.tensor([rows[model] for _, model in asked])
    embedding, losses = _fitted(states, target, len(models), fit)
    hit = float(((states @ embedding.T).argmax(1) == target).float().mean())
    folder = draft / "trained"
    folder.mkdir(exist_ok=True)
    save_file({"embedding": embedding}, folder / TOKENS)
    (folder / NAMES).write_text(json.dumps(list(models)) + "\n", "utf-8")
    return folder, {
        "examples": len(asked), "trained parameters": embedding.numel(), "steps": fit.steps, "first loss": losses[0],
        "last loss": losses[-1], "accuracy on training": hit, "seconds": round(perf_counter() - start, 1),
    }  # fmt: skip


def _fitted(states: Any, target: Any, count: int, fit: TokenFit) -> tuple[Any, list[float]]:
    """The embeddings (count, width), and the loss before each step."""
    import torch

    torch.manual_seed(fit.seed)
    scale = states.pow(2).mean().sqrt() * states.shape[1] ** 0.5  # states of length about one: one rate fits all models
    unit = states / scale
    embedding = torch.zeros(count, states.shape[1], requires_grad=True)
    optimizer = torch.optim.AdamW([embedding], lr=fit.rate, weight_decay=fit.decay)
    losses: list[float] = []
    for _ in range(fit.steps):
        loss = torch.nn.functional.cross_entropy(unit @ embedding.T, target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return (embedding / scale).detach().contiguous(), losses
