"""Every error t2imetrics raises on purpose.

MetricError                  base; `str(e)` is one clear line for a person
├── UnknownMetricError       no metric of that name (with "did you mean")
├── OptionError              an option, device or argument the metric does not take
├── WeightsError             weights that are missing, damaged or not what they were
└── InputError               rows that cannot be scored
    └── ImageError           a picture that cannot be opened; the message names the row
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MetricError(Exception):
    """Base of the tree drawn in this module's docstring."""


class UnknownMetricError(MetricError):
    """A metric name that is not registered."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown metric '{shorten(name, 80)}'" + suggestion(name, known))
        self.name = name


class OptionError(MetricError):
    """An option that the metric does not take, or a value it does not allow."""


class WeightsError(MetricError):
    """Weights that are missing, damaged or not the ones recorded earlier."""


class InputError(MetricError):
    """Rows that cannot be scored, such as lists of different lengths."""


class ImageError(InputError):
    """A picture that cannot be opened.

    Args:
        row: its position in the list that was given, counted from 0.
        reason: what went wrong, in one line.
    """

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: cannot read the picture: {shorten(reason)}")
        self.row = row


def suggestion(name: str, known: Iterable[str]) -> str:
    """`": did you mean 'x'?"`, or the list of what is known."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name.lower(), names, n=2, cutoff=0.5)
    if close:
        return ": did you mean " + " or ".join(f"'{n}'" for n in close) + "?"
    return ": choose from " + ", ".join(names)


def shorten(text: object, limit: int = 160) -> str:
    """`text` on one line and at most `limit` characters."""
    flat = " ".join(str(text)[: limit * 4].split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
