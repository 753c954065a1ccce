"""What every metric is: a card and a `score`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from t2imetrics._aggregate import Mean
from t2imetrics._card import MetricCard
from t2imetrics.errors import InputError, OptionError, WeightsError, shorten

if TYPE_CHECKING:
    import torch

    from t2imetrics._batch import Batch, How

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")
Precision = Literal["float32", "float16"]


@dataclass(frozen=True)
class Setting:
    """How a metric is loaded.

    Args:
        weights: `published`, `miniature`, or a folder (see `metrics/README.md` for its layout).
        device: `auto`, or anything torch accepts.
        batch_size: rows that go through a network at once.
        workers: threads that open and prepare pictures ahead of the network; 0 does it between batches.
        precision: of the networks; normalisation, dot products and reward heads never are in less than float32.
        shelf: networks that metrics of one suite share; metrics loaded alone have a shelf each.
    """

    weights: str | Path = "published"
    device: str = "auto"
    batch_size: int = 32
    workers: int = 2
    precision: Precision = "float32"
    shelf: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        whole_number("batch_size", self.batch_size, 1)
        whole_number("workers", self.workers, 0)
        choose("precision", self.precision, ("float32", "float16"))

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """What another metric of the suite loaded under `key`, or what `make` gives."""
        if key not in self.shelf:
            self.shelf[key] = make()
        found: T = self.shelf[key]
        return found

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within it networks run without gradients, in `precision`; float32 is float32 on a GPU too, not TF32."""
        import torch

        kind = self.torch_device().type
        plain = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        half = torch.autocast(kind, torch.float16, enabled=self.precision == "float16")
        with torch.inference_mode(), plain, half:
            yield

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
            InputError: lists of different lengths, or what is no list.
            ImageError: a picture that cannot be opened; the message names the row.
        """

    def aggregate(self) -> Mean:
        """An empty aggregate of this metric's rows (`update`, `merge`, `compute`)."""
        if self.card.reduction != "mean":
            raise InputError(f"metric '{self.card.name}' has no per-row values to average")
        return Mean()

    def tokens(self, texts: Sequence[str]) -> Ints:
        """Tokens of each text before truncation, special tokens included, shape (n,).

        A text was cut exactly where this is above `card.text_limit`.
        """
        raise InputError(f"metric '{self.card.name}' reads no text")


class PictureScorer(Scorer):
    """Base of metrics that look at one picture a row.

    A subclass sets `setting` and `hows` in its constructor and implements `rows`; opening, preparing ahead, batches
    and the refusal of values that are not numbers are done here.

    Attributes:
        setting: device, batch size and workers.
        hows: preprocessings `rows` asks the batch for.
    """

    setting: Setting
    hows: tuple[How, ...] = ()

    @abstractmethod
    def rows(self, batch: Batch, against: Any) -> Floats:
        """Values of one batch, shape (n,).

        `against` is the rows' texts, a batch of other pictures, or None, as the card's `reads` says.
        """

    def score(self, rows: Sequence[Any], against: Sequence[Any] | None = None) -> Floats:
        """One value a picture, shape (n,); see `Scorer.score`."""
        from t2imetrics._batch import prepared

        rows, values = listed(rows), [np.empty(0)]
        others = self._others(rows, against)
        for (first, batch), other in zip(self._prepared(prepared, rows), others, strict=True):
            values.append(column(self.card.name, self.rows(batch, other), len(batch), first))
        return np.concatenate(values)

    def _prepared(self, prepared: Any, pictures: Sequence[Any]) -> Iterator[tuple[int, Batch]]:
        found: Iterator[tuple[int, Batch]] = prepared(
            pictures, self.setting.batch_size, self.hows, self.setting.workers
        )
        return found

    def _others(self, rows: Sequence[Any], against: Sequence[Any] | None) -> Iterator[Any]:
        """What each batch is compared with."""
        from t2imetrics._batch import prepared

        if self.card.reads == "images":
            return repeat(None, -(-len(rows) // self.setting.batch_size))
        if against is None:
            raise InputError(f"metric '{self.card.name}' reads {self.card.reads}: give both lists")
        others = listed(against)
        same_length(rows, others)
        if self.card.reads == "images+images":
            return (batch for _, batch in self._prepared(prepared, others))
        return batches(require_texts(others), self.setting.batch_size)


def finite(name: str, values: Floats, first: int = 0) -> Floats:
    """`values` (n,) if all are numbers; WeightsError, which names the first row that is not, otherwise."""
    if not np.isfinite(values).all():
        row = first + int(np.flatnonzero(~np.isfinite(values))[0])
        raise WeightsError(f"metric '{name}' gave no number for row {row}: its weights are damaged, fetch them again")
    return values


def column(name: str, values: Any, n: int, first: int = 0) -> Floats:
    """`values` as float64 (n,); InputError where a metric gave another shape, WeightsError as `finite`."""
    found = np.asarray(values, np.float64)
    if found.shape != (n,):
        raise InputError(f"metric '{name}' gave values of shape {found.shape} for a batch of {n}: one a row is needed")
    return finite(name, found, first)


def listed(rows: Any) -> list[Any]:
    """`rows` as a list, in the order they are iterated in: a column of a table has labels, which are no row numbers.

    Raises:
        InputError: a text, bytes or a mapping, which Python iterates as letters, numbers and keys; or no sequence.
    """
    if not isinstance(rows, (str, bytes, bytearray, Mapping)):
        try:
            return list(rows)
        except TypeError:
            pass
    raise _no_list(rows)


def same_length(first: Sequence[Any], second: Sequence[Any]) -> int:
    """The common length; InputError when there is none, or when one is a text, which is a list of letters to Python."""
    for rows in (first, second):
        if isinstance(rows, (str, bytes, bytearray, Mapping)) or not hasattr(rows, "__len__"):
            raise _no_list(rows)
    if len(first) != len(second):
        raise InputError(f"two lists of the same length are needed, got {len(first)} and {len(second)} rows")
    return len(first)


def _no_list(rows: Any) -> InputError:
    kind = "string" if isinstance(rows, str) else type(rows).__name__
    return InputError(f"a list with one entry a row is needed, got one {kind}")


def require_texts(texts: Sequence[Any]) -> Sequence[str]:
    """`texts`; InputError, which names the row, for one that is no text or cannot be written as UTF-8."""
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"row {row}: a text is needed, got {type(text).__name__}")
        if not _is_utf8(text):
            raise InputError(f"row {row}: its text holds half a character (a lone surrogate): read it again as UTF-8")
    return texts


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`items` in slices of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def whole_number(option: str, value: Any, least: int) -> None:
    """OptionError unless `value` is a whole number from `least` on."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise OptionError(f"{option} must be a whole number, got {shorten(repr(value), 40)}")
    if value < least:
        raise OptionError(f"{option} must be at least {least}, got {value}")


def choose(option: str, value: str, allowed: Sequence[str]) -> str:
    """`value`, or an OptionError that lists what is allowed."""
    if value not in allowed:
        raise OptionError(f"{option} '{value}' is not known: choose from {', '.join(allowed)}")
    return value
