"""Two ways to run an InternVL2 checkpoint: as published, with its repository's code, or in transformers' own layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from chatgenbench.errors import UserError, shorten
from chatgenbench.systems.causal import pick_device
from chatgenbench.systems.chatgen.tiles import tiles

#: Set to 1 to run the Python code that a model's repository brings.
CONSENT = "CHATGENBENCH_TRUST_REMOTE_CODE"
#: The authors' example: sampling on, at most so many new tokens.
SAMPLING: dict[str, Any] = {"do_sample": True}
MAX_NEW_TOKENS = 1024


@dataclass(frozen=True)
class Turn:
    """One turn of a chat: who, what, and the files of its pictures."""

    role: str
    text: str
    pictures: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Said:
    """An answer, with the tokens it has, where they can be counted."""

    text: str
    tokens: int | None


class Model(Protocol):
    """What answers a chat whose last turn is the person's."""

    def answer(self, turns: list[Turn], seed: int) -> Said: ...


def load(folder: Path, kind: str) -> Model:
    """The model of a checkpoint folder; `kind` is its config's `model_type`.

    Raises:
        UserError: no consent to run the repository's code, or a folder that cannot be loaded.
    """
    native = kind == "internvl"
    if not native and os.environ.get(CONSENT) != "1":
        raise UserError(
            f"{folder} brings Python code of its own, which would run on this machine: read it, then set {CONSENT}=1"
        )
    try:
        return Native(folder) if native else Published(folder)
    except (OSError, ValueError, ImportError, AttributeError, TypeError) as error:
        raise UserError(f"{folder} cannot be loaded: {shorten(f'{type(error).__name__}: {error}', 200)}") from error


def _dtype(device: str) -> Any:
    import torch

    return torch.bfloat16 if device == "cuda" else torch.float32


class Published:
    """The layout of the published checkpoints: the repository's own class, which has a `chat` method."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self._device = pick_device()
        model: Any = AutoModel.from_pretrained(
            str(folder), dtype=_dtype(self._device), trust_remote_code=True, use_safetensors=True
        )
        if not callable(getattr(model, "chat", None)):
            raise ValueError(f"its class {type(model).__name__} has no chat method")
        self._model: Any = model.eval().to(self._device)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=True, use_fast=False)
        self._side = int(getattr(model.config, "force_image_size", None) or 448)

    def answer(self, turns: list[Turn], seed: int) -> Said:
        import torch

        pictures = [tiles(path, self._side) for turn in turns for path in turn.pictures]
        pixels = torch.cat(pictures).to(self._device, _dtype(self._device)) if pictures else None
        options = {"max_new_tokens": MAX_NEW_TOKENS, **SAMPLING}
        many = {"num_patches_list": [len(part) for part in pictures]} if pictures else {}
        with torch.inference_mode(), torch.random.fork_rng(devices=[0] if self._device == "cuda" else []):
            torch.manual_seed(seed)
            told = self._model.chat(
                self._tokenizer, pixels, _marked(turns[-1]), options, history=_history(turns[:-1]) or None, **many
            )
        text = str(told[0] if isinstance(told, tuple) else told)
        return Said(text, len(self._tokenizer(text).input_ids))


class Native:
    """transformers' own InternVL classes (checkpoints converted to them), with the processor's chat template."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self._device = pick_device()
        self._processor: Any = AutoProcessor.from_pretrained(str(folder))
        self._model: Any = AutoModelForImageTextToText.from_pretrained(
            str(folder), dtype=_dtype(self._device), use_safetensors=True
        )
        self._model.eval().to(self._device)

    def answer(self, turns: list[Turn], seed: int) -> Said:
        import torch

        messages = [
            {"role": turn.role, "content": [
                *({"type": "image", "path": str(path)} for path in turn.pictures), {"type": "text", "text": turn.text},
            ]}
            for turn in turns
        ]  # fmt: skip
        inputs = self._processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        ).to(self._device, _dtype(self._device))
        with torch.inference_mode(), torch.random.fork_rng(devices=[0] if self._device == "cuda" else []):
            torch.manual_seed(seed)
            out = self._model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, **SAMPLING)
        new = out[0, inputs["input_ids"].shape[1] :]
        return Said(str(self._processor.decode(new, skip_special_tokens=True)), len(new))


def _marked(turn: Turn) -> str:
    """The text with a mark for each picture, as InternVL2 wants several of them told apart."""
    if len(turn.pictures) == 1:
        return f"<image>\n{turn.text}"
    marks = "".join(f"Image-{number}: <image>\n" for number in range(1, len(turn.pictures) + 1))
    return f"{marks}{turn.text}"


def _history(turns: list[Turn]) -> list[tuple[str, str]]:
    """(person, model) pairs; a person's turn without an answer has an empty one."""
    pairs: list[tuple[str, str]] = []
    for turn in turns:
        if turn.role == "user":
            pairs.append((_marked(turn), ""))
        elif pairs:
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]}\n{turn.text}".strip())
    return pairs
