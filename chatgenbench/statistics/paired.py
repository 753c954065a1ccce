"""Two systems on the same rows: is one better, by how much, and which of many cannot be told apart.

Rows that share a demonstration are not independent, so the signs of whole demonstrations are flipped together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from chatgenbench.statistics.intervals import BLOCK, RESAMPLES, Array, Clusters, mean_intervals

PERMUTATIONS = 10_000
#: With so many clusters or fewer, every assignment of signs is tried (2^EXACT of them).
EXACT = 13
#: Sums that differ by less than this share of the largest possible one are the same: they are rounded differently.
_SAME = 1e-12


@dataclass(frozen=True)
class Paired:
    """The mean difference first - second of `n` rows in `clusters` demonstrations, its 95 % interval (cluster
    bootstrap), and the two-sided p-value of the permutation test that it is 0."""

    difference: float
    low: float
    high: float
    p_value: float
    n: int
    clusters: int


def paired_test(
    a: Array, b: Array, clusters: Clusters, permutations: int = PERMUTATIONS, resamples: int = RESAMPLES
) -> Paired:
    """Compare the values (n,) of two systems on the same rows.

    Raises:
        ValueError: the values are not of the clusters' rows, or are no numbers.
    """
    return paired_tests(a[:, None], b[:, None], clusters, permutations, resamples)[0]


def paired_tests(
    a: Array, b: Array, clusters: Clusters, permutations: int = PERMUTATIONS, resamples: int = RESAMPLES
) -> list[Paired]:
    """`paired_test` of every column of `a` and `b` (n, m), with the same flips and resamples for all of them."""
    chances = p_values(a, b, clusters, permutations)
    intervals = mean_intervals(a - b, clusters, resamples)
    return [Paired(i.value, i.low, i.high, float(p), i.n, i.clusters) for i, p in zip(intervals, chances, strict=True)]


def p_values(a: Array, b: Array, clusters: Clusters, permutations: int = PERMUTATIONS) -> Array:
    """(m,) two-sided p-values that the mean of a column of `a` - `b` (n, m) is 0.

    Exact with up to EXACT clusters; else of `permutations` random assignments of signs, with the actual one counted
    among them (Phipson and Smyth 2010, "Permutation p-values should never be zero").

    Raises:
        ValueError: the values are not of the clusters' rows, or are no numbers.
    """
    if a.shape != b.shape or len(a) != clusters.n:
        raise ValueError(f"two columns of {clusters.n} rows are needed, not of {len(a)} and {len(b)}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("values that are no numbers cannot be compared")
    sums = clusters.sums(a - b)
    exact = len(sums) <= EXACT
    least = np.abs(sums.sum(axis=0)) - _SAME * np.abs(sums).sum(axis=0)
    reached = np.zeros(sums.shape[1])
    for signs in _every_sign(len(sums)) if exact else _random_signs(clusters, permutations):
        reached += (np.abs(signs @ sums) >= least).sum(axis=0)
    found: Array = reached / 2 ** len(sums) if exact else (reached + 1) / (permutations + 1)
    return found


def _every_sign(clusters: int) -> Iterator[Array]:
    numbers = np.arange(2**clusters)
    for start in range(0, len(numbers), 1024):
        bits = (numbers[start : start + 1024, None] >> np.arange(clusters)) & 1
        yield 1.0 - 2.0 * bits.astype(np.float64)


def _random_signs(clusters: Clusters, permutations: int) -> Iterator[Array]:
    k = len(clusters.keys)
    rng = np.random.default_rng([clusters.seed, k, 1])
    for start in range(0, permutations, BLOCK):
        flips = rng.integers(0, 2, size=(min(BLOCK, permutations - start), k), dtype=np.int8)
        yield 1.0 - 2.0 * flips.astype(np.float64)


def holm(chances: Sequence[float] | Array) -> Array:
    """p-values (m,) adjusted so that the chance of any false finding among them is bounded (Holm 1979)."""
    raw = np.asarray(chances, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    steps = raw[order] * np.arange(len(raw), 0, -1)
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def tie_groups(adjusted: Sequence[float] | Array, alpha: float = 0.05) -> list[list[int]]:
    """Places 0, 1, ... of a sorted order in groups: neighbours that are not apart share one.

    `adjusted[i]` is the p-value of places i and i + 1, so m p-values are of m + 1 places.  A group is a chain: its two
    ends may well differ, which is why a rank is given as the range of its group's places.
    """
    groups = [[0]]
    for place, chance in enumerate(adjusted, 1):
        if chance < alpha:
            groups.append([])
        groups[-1].append(place)
    return groups
