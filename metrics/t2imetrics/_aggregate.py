"""From rows to one number, in parts that can be merged: on any number of workers, in any order, the same result."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from t2imetrics.errors import InputError


class Mean:
    """Mean of per-row values, exact: neither order nor grouping of the rows changes a bit of it.

    The sum is kept as floats that do not overlap (Shewchuk, Adaptive Precision Floating-Point Arithmetic, 1997,
    section 2), so it is rounded once, at the end.
    """

    def __init__(self) -> None:
        self.n = 0
        self._parts: list[float] = []

    def update(self, values: ArrayLike) -> Mean:
        """Add rows; values (n,), all finite."""
        rows = np.asarray(values, np.float64).ravel()
        if not np.isfinite(rows).all():
            raise InputError("values that are not numbers cannot be averaged")
        self.n += len(rows)
        self._add(rows.tolist())
        return self

    def merge(self, other: Mean) -> Mean:
        """Add the rows another worker saw."""
        self.n += other.n
        self._add(other._parts)
        return self

    def compute(self) -> float:
        """The mean; NaN of no rows."""
        return math.fsum(self._parts) / self.n if self.n else float("nan")

    def _add(self, values: Iterable[float]) -> None:
        parts = self._parts
        for value in values:
            kept = 0
            for part in parts:
                if abs(value) < abs(part):
                    value, part = part, value
                high = value + part
                low = part - (high - value)
                if low:
                    parts[kept] = low
                    kept += 1
                value = high
            parts[kept:] = [value]
