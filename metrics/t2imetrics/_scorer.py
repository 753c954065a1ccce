"""What every metric is: a card and a `score`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from t2imetrics._card import MetricCard
from t2imetrics.errors import InputError, OptionError

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """How a metric is loaded.

    Args:
        weights: `published`, `miniature`, or a folder (see `metrics/README.md` for its layout).
        device: `auto`, or anything torch accepts.
        batch_size: rows that go through a network at once.
    """

    weights: str | Path = "published"
    device: str = "auto"
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise OptionError(f"batch_size must be at least 1, got {self.batch_size}")

    def torch_device(self) -> torch.device:
        """The torch device; `auto` is a CUDA device where there is one, else the processor."""
        import torch

        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            torch.empty(0, device=name)
            return torch.device(name)
        except (RuntimeError, AssertionError) as error:
            raise OptionError(f"device '{name}' cannot be used: {str(error).splitlines()[0]}") from None


class Scorer(ABC):
    """Base of all metrics.

    A subclass has a class attribute `card` (its published form) and a constructor `(setting, **options)`; the
    instance's `card` names the weights that were really loaded.
    """

    card: MetricCard

    def __init__(self, setting: Setting, **options: Any) -> None:  # noqa: B027  (many metrics load nothing)
        """Load what the metric needs; a metric without weights or options needs nothing."""

    @abstractmethod
    def score(self, rows: Sequence[Any], against: Sequence[Any]) -> Floats:
        """One value a row, shape (n,); a `set` metric gives shape (1,).

        What the two lists hold is on the card (`reads`): pictures and texts, candidates and references,
        chosen and gold.  Rows do not influence one another, whatever the batch size, up to 1e-4 of the unit.

        Raises:
            InputError: lists of different lengths.
            ImageError: a picture that cannot be opened; the message names the row.
        """

    def tokens(self, texts: Sequence[str]) -> Ints:
        """Tokens of each text before truncation, special tokens included, shape (n,).

        A text was cut exactly where this is above `card.text_limit`.
        """
        raise InputError(f"metric '{self.card.name}' reads no text")


def same_length(first: Sequence[Any], second: Sequence[Any]) -> int:
    """The common length; InputError when there is none."""
    if len(first) != len(second):
        raise InputError(f"two lists of the same length are needed, got {len(first)} and {len(second)} rows")
    return len(first)


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`items` in slices of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def choose(option: str, value: str, allowed: Sequence[str]) -> str:
    """`value`, or an OptionError that lists what is allowed."""
    if value not in allowed:
        raise OptionError(f"{option} '{value}' is not known: choose from {', '.join(allowed)}")
    return value
