"""How far people agree: with a metric, with each other, and with the side a picture stood on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from chatgenbench.statistics import LEVEL, Clusters, mean_interval

#: Demonstrations with votes below which a share is not printed: its interval would mean little.
ENOUGH = 30


@dataclass(frozen=True)
class Share:
    """A share with its interval: `n` votes on `clusters` demonstrations; NaN where there is no vote."""

    value: float
    low: float
    high: float
    n: int
    clusters: int

    @property
    def needed(self) -> int:
        """How many demonstrations more are needed before the share is worth printing."""
        return max(0, ENOUGH - self.clusters)


def share(values: Sequence[float], demonstrations: Sequence[str], seed: int = 0) -> Share:
    """The mean of `values` (each in 0..1), whole demonstrations resampled.

    Where all demonstrations say the same a bootstrap has no width, so the interval is Wilson's with one vote a
    demonstration.
    """
    if not values:
        return Share(math.nan, math.nan, math.nan, 0, 0)
    clusters = Clusters(list(demonstrations), seed)
    found = mean_interval(np.array(values, dtype=np.float64), clusters)
    low, high = found.low, found.high
    if high - low < 1e-12:
        low, high = wilson(found.value * found.clusters, found.clusters)
    return Share(found.value, low, high, found.n, found.clusters)


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's interval of a binomial share (Wilson 1927; Brown, Cai and DasGupta 2001, section 3.1.1)."""
    if n == 0:
        return math.nan, math.nan
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    p = successes / n
    middle, width = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - width) / (1 + z * z / n)), min(1.0, (middle + width) / (1 + z * z / n))


def votes_to_tell(found: Share, even: float = 0.5) -> int | None:
    """About how many votes more would tell this share from `even`; 0 if it is told, None if it is even itself.

    An interval narrows with the root of the votes, so n votes of half-width h tell a difference of d at n (h / d)^2.
    """
    if found.n == 0:
        return None
    if found.low > even or found.high < even:
        return 0
    distance = abs(found.value - even)
    if distance < 1e-9:
        return None
    wanted = found.n * ((found.high - found.low) / 2 / distance) ** 2
    return max(1, math.ceil(wanted - found.n - 1e-6))


def kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Cohen's kappa of two voters' labels of the same items (Cohen 1960); NaN where chance explains everything."""
    n = len(first)
    if n == 0:
        return math.nan
    agreed = sum(x == y for x, y in zip(first, second, strict=True)) / n
    ours, theirs = Counter(first), Counter(second)
    chance = sum(ours[label] * theirs[label] for label in ours) / n**2
    return math.nan if chance >= 1 else (agreed - chance) / (1 - chance)


def alpha(units: Sequence[Sequence[Hashable]]) -> float:
    """Krippendorff's alpha of nominal labels (Krippendorff 2011, "Computing Krippendorff's alpha-reliability").

    Args:
        units: for each item the labels it was given; items with one label are passed over.

    NaN where no item has two labels, or where all labels are the same.
    """
    paired = [list(unit) for unit in units if len(unit) > 1]
    totals = Counter(label for unit in paired for label in unit)
    n = sum(totals.values())
    expected = n * n - sum(count * count for count in totals.values())
    if expected == 0:
        return math.nan
    observed = sum(
        (len(unit) ** 2 - sum(count**2 for count in Counter(unit).values())) / (len(unit) - 1) for unit in paired
    )
    return 1 - (n - 1) * observed / expected
