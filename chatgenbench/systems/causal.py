"""A causal language model of transformers, for systems and stages that write text with one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatgenbench.errors import UserError, shorten
from chatgenbench.quiet import quiet
from chatgenbench.schema import digest_of

#: Set to 1 to load weights that are pickles (PyTorch's `weights_only` reader opens them).
ALLOW_PICKLE = "CHATGENBENCH_ALLOW_PICKLE"
#: What transformers raises for a model that is not there or is of another kind.
LOADING_FAULTS = (OSError, ValueError, KeyError, ImportError)


def pick_device() -> str:
    """The first GPU if there is one, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def pickles_allowed() -> bool:
    return os.environ.get(ALLOW_PICKLE) == "1"


def load(spec: str, dtype: Any, revision: str | None = None) -> tuple[Any, Any]:
    """Model (on the CPU) and tokenizer of a folder, or of a hub repository (`NAME` or `NAME@REVISION`).

    A missing padding token is the end-of-text token.  Pickles are refused unless `ALLOW_PICKLE` is set.

    Raises:
        LOADING_FAULTS: there is no such model, or it is no causal language model.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    name, _, own = spec.partition("@")
    where = {"revision": own or revision or "main"}
    if Path(spec).is_dir():
        name, where = spec, {}
    with quiet():
        tokenizer: Any = AutoTokenizer.from_pretrained(name, **where)
        safe = None if pickles_allowed() else True
        model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, use_safetensors=safe, **where)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


class CausalModel:
    """Model and tokenizer of a folder or hub repository (`NAME` or `NAME@REVISION`).

    Raises:
        UserError: nothing there, weights that are no safetensors, or a model of another kind.
    """

    def __init__(self, spec: str, revision: str | None = None) -> None:
        self.name, _, _ = spec.partition("@")
        self.device = pick_device()
        try:
            self._model, self._tokenizer = load(spec, "auto", revision)
        except LOADING_FAULTS as error:
            hint = "" if pickles_allowed() else f" (pickles are refused unless {ALLOW_PICKLE}=1 is set)"
            raise UserError(f"cannot load '{self.name}': {shorten(str(error), 160)}{hint}") from None
        self._model.eval().to(self.device)
        #: The commit that was loaded, where the hub tells; "" for a folder.
        self.commit = str(getattr(self._model.config, "_commit_hash", None) or "")

    def write(self, prompt: str, seed: int, max_new_tokens: int, **sampling: Any) -> str:
        """One continuation of `prompt`, without special tokens; the same seed gives the same text.

        Args:
            prompt: cut from the left where it leaves no room for `max_new_tokens`.
            sampling: options of transformers' `generate`, e.g. do_sample, temperature, top_k.
        """
        import torch

        ids = self._tokenizer(prompt, return_tensors="pt").input_ids
        room = int(getattr(self._model.config, "max_position_embeddings", 0) or 2048) - max_new_tokens
        ids = ids[:, -max(1, room) :].to(self.device)
        devices = [self.device] if self.device != "cpu" else []
        with torch.inference_mode(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            out = self._model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens,
                pad_token_id=self._tokenizer.pad_token_id, **sampling,
            )  # fmt: skip
        return str(self._tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))


def seed_of(seed: int, *parts: str) -> int:
    """A seed of its own for a row, so that its text never depends on its batch-mates."""
    return int(digest_of([seed, *parts])[:8], 16)


def first_line(text: str) -> str:
    """The first line with anything on it, without surrounding space; "" when there is none."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def join_turns(texts: Sequence[str]) -> str:
    """A person's turns as one request."""
    return " ".join(" ".join(text.split()) for text in texts if text.strip())
