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
        """Add rows; values (n,), all finite.

        Raises:
            InputError: a value that is not finite, or a sum beyond the range of float64; nothing is added then.
        """
        rows = np.asarray(values, np.float64).ravel()
        if not np.isfinite(rows).all():
            raise InputError("values that are not numbers cannot be averaged")
        self._parts = self._with(rows.tolist())
        self.n += len(rows)
        return self

    def merge(self, other: Mean) -> Mean:
        """Add the rows another worker saw."""
        self._parts = self._with(other._parts)
        self.n += other.n
        return self

    def compute(self) -> float:
        """The mean; NaN of no rows."""
        return math.fsum(self._parts) / self.n if self.n else float("nan")

    def _with(self, values: Iterable[float]) -> list[float]:
        """The parts after adding `values`; InputError where a sum on the way leaves the range of float64."""
        parts = list(self._parts)
        for value in values:
            kept = 0
            for part in parts:
                if abs(value) < abs(part):
                    value, part = part, value
                high = value + part
                if not math.isfinite(high):
                    raise InputError("these values are too large to be averaged: their sum leaves the range of float64")
                low = part - (high - value)
                if low:
                    parts[kept] = low
                    kept += 1
                value = high
            parts[kept:] = [value]
        return parts
