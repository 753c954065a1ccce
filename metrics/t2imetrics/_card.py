"""What a metric says about itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from t2imetrics.errors import InputError

Reads = Literal["images+text", "images+images", "images", "texts", "plan", "scores"]
#: The person's chat, the demonstration's prompt, or the prompt the system wrote.
TextRole = Literal["gold", "input", "plan"]
Reduction = Literal["mean", "set"]

TEXTS: dict[TextRole, str] = {
    "gold": "the gold prompt", "input": "the freestyle input", "plan": "the system's own prompt",
}  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """Which weights made a number.

    Args:
        name: hub repository and file, or the name in a folder's `weights.json`.
        revision: commit of the hub repository; None before it is downloaded, or when there is none.
        sha256: digest of the weight file (64 hex digits); None until the file has been read.
        note: what a reader should know about them.
        files: digest over the names and sha256 of every file that was read, configuration and tokenizer included (64
            hex digits); "" where that is not known.  Whoever keeps what was made with these weights files it under
            this.
    """

    name: str
    revision: str | None = None
    sha256: str | None = None
    note: str = ""
    files: str = ""


@dataclass(frozen=True)
class MetricCard:
    """A metric's metadata.

    Args:
        name: what `load` is given.
        title: what a table prints.
        unit: what one unit of the value means.
        lower, upper: the range a value can lie in (infinite where there is no bound).
        higher_is_better: direction.
        reads: what `score` takes: pictures and texts, pairs of pictures, pictures, pairs of texts, parts of a plan,
            or other scores.
        text_limit: tokens it reads of a text, special tokens included; None where no text is read.
        reduction: `mean` of rows, or one value for the whole `set`.
        failed_value: what a row without plan or picture scores; NaN where a set metric has no rows.
        source: paper and section of the definition.
        weights: the weights behind the number; None for a metric without any.
        note: conventions a reader must know.
        text: which text stands for the request unless a harness is told otherwise; None where there is no choice.

    Raises:
        InputError: a `mean` whose failed rows have no finite value: one of them would make the mean no number.
    """

    name: str
    title: str
    unit: str
    lower: float
    upper: float
    higher_is_better: bool
    reads: Reads
    text_limit: int | None
    reduction: Reduction
    failed_value: float
    source: str
    weights: Weights | None = None
    note: str = ""
    text: TextRole | None = None

    def __post_init__(self) -> None:
        if self.reduction == "mean" and not math.isfinite(self.failed_value):
            raise InputError(f"card '{self.name}': failed_value of a mean must be a number, got {self.failed_value}")

    def table(self) -> str:
        """The card as a two-column Markdown table, as printed in `metrics/cards/NAME.md`."""
        limit = "reads no text" if self.text_limit is None else f"{self.text_limit} tokens"
        rows = {
            "name": f"`{self.name}`",
            "unit": self.unit,
            "range": f"{self.lower:g} to {self.upper:g}, {'higher' if self.higher_is_better else 'lower'} is better",
            "reads": self.reads,
            "text limit": limit,
            **({} if self.text is None else {"text": f"{TEXTS[self.text]} by default; all three can be asked for"}),
            "reduction": self.reduction,
            "failed row": f"{self.failed_value:g}",
            "source": self.source,
            "weights": "none" if self.weights is None else self.weights.name,
        }
        return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])
