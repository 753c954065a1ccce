"""A causal language model with or without an adapter: it writes, and it tells the hidden state after a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatgenbench.errors import UserError, shorten
from chatgenbench.quiet import quiet
from chatgenbench.systems import causal
from chatgenbench.systems.trained.base import locate

if TYPE_CHECKING:
    import torch

#: Texts that go through the model together.
BATCH = 32
#: Longest question in tokens; what is cut is its beginning, the oldest turns of a chat.
MAX_TOKENS = 1024


class LanguageModel:
    """Any causal LM of transformers.

    Args:
        base: `smollm2`, a folder, or a name on the Hugging Face hub.
        adapter: a folder with a LoRA of peft, or None.
        device: `auto`, `cpu`, `cuda` ...

    Raises:
        UserError: the model or its adapter cannot be loaded.
    """

    def __init__(self, base: str, adapter: Path | None = None, device: str = "auto") -> None:
        import torch

        self.device = causal.pick_device() if device == "auto" else device
        self.model, self.tokenizer = load(base)
        self.adapted = adapter is not None
        if adapter is not None:
            self.model = _adapted(self.model, adapter)
        if self.device.startswith("cuda"):
            self.model = self.model.to(torch.bfloat16)
        self.model = self.model.to(self.device).eval()

    @contextmanager
    def untrained(self) -> Iterator[None]:
        """Within it, the model answers as it did before it was trained."""
        with self.model.disable_adapter() if self.adapted else nullcontext():
            yield

    def write(self, questions: Sequence[str], max_new_tokens: int, stop: str | None = None) -> list[str]:
        """The greedy continuation of each question, without what comes after `stop`, in the order of the questions."""
        answers = [""] * len(questions)
        # neighbours in length share a batch, so that little is padded
        order = sorted(range(len(questions)), key=lambda i: (len(questions[i]), i))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            for row, text in zip(rows, self._batch([questions[i] for i in rows], max_new_tokens, stop), strict=True):
                answers[row] = text.partition(stop)[0].strip() if stop else text.strip()
        return answers

    def sample(self, question: str, count: int, max_new_tokens: int, stop: str, seed: int) -> list[str]:
        """`count` continuations of one question, drawn at temperature 1; the same seed gives the same ones."""
        import torch

        devices = [self.device] if self.device != "cpu" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            sampling = {"do_sample": True, "temperature": 1.0, "top_p": 0.95, "num_return_sequences": count}
            return [t.partition(stop)[0].strip() for t in self._batch([question], max_new_tokens, stop, sampling)]

    def _batch(
        self, questions: list[str], max_new_tokens: int, stop: str | None, sampling: dict[str, Any] | None = None
    ) -> list[str]:
        import torch

        tokens = self._tokens(questions)
        stopping: dict[str, Any] = {"stop_strings": [stop], "tokenizer": self.tokenizer} if stop else {}
        how = sampling or {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        with torch.inference_mode():
            out = self.model.generate(
                **tokens, max_new_tokens=max_new_tokens, pad_token_id=self.tokenizer.pad_token_id, **how, **stopping
            )
        written: list[str] = self.tokenizer.batch_decode(
            out[:, tokens["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return written

    def after(self, texts: Sequence[str]) -> torch.Tensor:
        """The state from which the next token is told: (n, width), float32 on the CPU, in the order of `texts`."""
        import torch

        states: dict[int, torch.Tensor] = {}
        order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                hidden = self.body(**self._tokens([texts[i] for i in rows])).last_hidden_state[:, -1]
                states.update(zip(rows, hidden.float().cpu(), strict=True))
        return torch.stack([states[i] for i in range(len(texts))]) if texts else torch.empty(0, self.width)

    @property
    def body(self) -> Any:
        """The model without its output layer, adapter included."""
        inner = self.model.get_base_model() if self.adapted else self.model
        return inner.base_model

    @property
    def width(self) -> int:
        return int(self.model.get_input_embeddings().weight.shape[1])

    def _tokens(self, texts: list[str]) -> Any:
        # padding goes before, so that the last state of a row is always that of its last word
        self.tokenizer.padding_side = self.tokenizer.truncation_side = "left"
        kept = self.tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        return {key: kept[key].to(self.device) for key in ("input_ids", "attention_mask")}


def load(base: str) -> tuple[Any, Any]:
    """Model (float32, on the CPU) and tokenizer of a base; a missing padding token is the end-of-text token.

    A name on the hub may end in `@REVISION`.  Weights that are pickles are refused unless `ALLOW_PICKLE` is set.

    Raises:
        UserError: there is no such model, or it is no causal language model.
    """
    import torch

    try:
        return causal.load(locate(base), torch.float32)
    except causal.LOADING_FAULTS as error:
        reason = shorten(str(error), 160)
        raise UserError(
            f"cannot load the base model '{shorten(base, 80)}': {reason} (give smollm2, a folder that holds "
            f"config.json, or a model's name on the Hugging Face hub; pickles need {causal.ALLOW_PICKLE}=1)"
        ) from None


def _adapted(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    try:
        with quiet():
            return PeftModel.from_pretrained(model, str(adapter))
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{adapter} holds no adapter of this model: {shorten(str(error), 160)}; train it again"
        ) from None
