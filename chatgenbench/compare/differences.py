"""Metric by metric: both runs' values on the rows they share, their paired difference, and whether it is chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chatgenbench.compare.pairing import Match
from chatgenbench.report import numbers
from chatgenbench.statistics import Array, Clusters, holm, paired_test

#: Below this adjusted p-value a table says who is better.
LEVEL = 0.05
#: Differences below this share of a metric's spread are rounding: the row counts as equal.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Difference:
    """A metric on the shared rows.  `difference` is A - B; `a_better` and the like count rows in its direction.

    `p_holm` is the p-value after Holm's correction for all metrics of its table.
    """

    metric: str
    title: str
    arrow: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float
    a_better: int
    b_better: int
    equal: int
    sign: int
    share: bool

    @property
    def better(self) -> str | None:
        """Which run is better beyond chance: `a`, `b`, or None."""
        if self.p_holm >= LEVEL or self.difference == 0:
            return None
        return "a" if self.difference * self.sign > 0 else "b"


def differences(match: Match, metrics: Sequence[str]) -> list[Difference]:
    """One row a metric, p-values corrected for all of them together."""
    seed = int(match.a.manifest["identity"].get("seed") or 0)
    clusters = Clusters(list(match.clusters), seed)
    found = [_difference(match, metric, clusters) for metric in metrics]
    adjusted = holm([d.p_value for d in found])
    return [replace(d, p_holm=float(p)) for d, p in zip(found, adjusted, strict=True)]


def _difference(match: Match, metric: str, clusters: Clusters) -> Difference:
    a, b = match.values(metric)
    tested = paired_test(a, b, clusters)
    entry = match.a.entry(metric) or match.b.entry(metric)
    better = np.sign(row_differences(a, b)) * match.sign(metric)
    return Difference(
        metric=metric, title=numbers.title(metric, entry), arrow=numbers.arrow(entry), a=float(a.mean()),
        b=float(b.mean()), difference=tested.difference, low=tested.low, high=tested.high, p_value=tested.p_value,
        p_holm=1.0, a_better=int((better > 0).sum()), b_better=int((better < 0).sum()),
        equal=int((better == 0).sum()), sign=match.sign(metric), share=entry is not None and entry["unit"] == "share",
    )  # fmt: skip


def row_differences(a: Array, b: Array) -> Array:
    """A - B, row by row, zero where only rounding differs."""
    found: Array = a - b
    spread = float(np.max(np.abs(np.concatenate([a, b]))))
    return np.where(np.abs(found) <= ROUNDING * spread, 0.0, found)


def standardised(a: Array, b: Array) -> Array:
    """A - B over its standard deviation over rows; zero where all rows differ alike."""
    found = row_differences(a, b)
    spread = float(found.std())
    return found / spread if spread > 0 else np.zeros_like(found)


def p_text(p: float) -> str:
    """A p-value in print: three digits, and never zero."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def number_format(match: Match, found: Difference) -> numbers.Format:
    """Digits that fit the narrowest interval: of the difference, or of one run."""
    unit = "share" if found.share else ""
    entry = {"unit": unit, "value": found.difference, "low": found.low, "high": found.high}
    return numbers.format_for([entry, *(run.entry(found.metric) for run in match.runs)])
