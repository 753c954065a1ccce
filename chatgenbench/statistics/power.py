"""The smallest difference of two systems that so many demonstrations can show, and how many a difference needs.

Normal approximation of a two-sided paired test: difference = (z(1 - alpha/2) + z(power)) * sd / sqrt(n), e.g. Cohen
1988, "Statistical Power Analysis", chapter 2.  The chance of a finding in the wrong direction is left out.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import norm

from chatgenbench.statistics.intervals import Array, Clusters

ALPHA, POWER = 0.05, 0.8


def detectable(sd: float, n: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest true mean difference that is found with probability `power`.

    Args:
        sd: standard deviation of the paired difference, of one demonstration.
        n: demonstrations.

    Raises:
        ValueError: n < 1, sd < 0, or alpha or power outside (0, 1).
    """
    if n < 1 or sd < 0:
        raise ValueError(f"at least one demonstration and a spread of at least 0 are needed, not {n} and {sd}")
    return _factor(alpha, power) * sd / math.sqrt(n)


def needed(sd: float, difference: float, alpha: float = ALPHA, power: float = POWER) -> int:
    """How many demonstrations it takes to find a true mean difference with probability `power`.

    Raises:
        ValueError: the difference is 0 or sd < 0.
    """
    if difference == 0 or sd < 0:
        raise ValueError("a difference of 0 is never found, and a spread is at least 0")
    return max(1, math.ceil((_factor(alpha, power) * sd / abs(difference)) ** 2))


def spread_of(a: Array, b: Array, clusters: Clusters) -> float:
    """Standard deviation of the paired difference of one demonstration, from the values (n,) of two systems.

    It is that of the ratio sum of differences / number of rows, so that demonstrations with more rows weigh more.

    Raises:
        ValueError: a single demonstration.
    """
    k = len(clusters.keys)
    if k < 2:
        raise ValueError("one demonstration has no spread: at least two are needed")
    sums = clusters.sums((a - b)[:, None])[:, 0]
    mean = sums.sum() / clusters.n
    residuals = (sums - mean * clusters.sizes) / clusters.sizes.mean()
    return float(np.sqrt((residuals**2).sum() / (k - 1)))


def _factor(alpha: float, power: float) -> float:
    if not (0 < alpha < 1 and 0 < power < 1):
        raise ValueError(f"alpha and power lie between 0 and 1, not {alpha} and {power}")
    return float(norm.ppf(1 - alpha / 2) + norm.ppf(power))
