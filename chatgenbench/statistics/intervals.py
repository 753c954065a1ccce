"""Error bars: bootstrap intervals of means and of values of a whole set.

Rows that share a demonstration are not independent, so whole demonstrations are resampled (cluster
bootstrap: Field and Welsh 2007, "Bootstrapping clustered data").  Resampling is by seeded counts over
clusters in name order, so no interval depends on row order, batch size or worker count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 2000
#: Set metrics (FID) cost an eigendecomposition a resample.
SET_RESAMPLES = 200
#: Resamples that are in memory at once.
BLOCK = 250


@dataclass(frozen=True)
class Interval:
    """A value and its confidence interval at LEVEL; `n` rows in `clusters` demonstrations."""

    value: float
    low: float
    high: float
    n: int
    clusters: int


class Clusters:
    """Rows grouped by demonstration, with seeded resampling counts.

    Args:
        names: the demonstration of each row, length n.
    """

    def __init__(self, names: Sequence[str], seed: int = 0) -> None:
        self.keys = sorted(set(names))
        index = {key: i for i, key in enumerate(self.keys)}
        self.of_row = np.array([index[name] for name in names], dtype=np.int64)
        self.sizes = np.bincount(self.of_row, minlength=len(self.keys)).astype(np.float64)
        self.n = len(names)
        self.seed = seed
        self._drawn: dict[int, NDArray[np.uint16]] = {}

    def counts(self, resamples: int) -> NDArray[np.int64]:
        """(resamples, clusters): how often each cluster is drawn in each resample."""
        return self._counts(resamples).astype(np.int64)

    def count_blocks(self, resamples: int) -> Iterator[Array]:
        """`counts` as blocks of at most BLOCK resamples, so that few of them are in memory as wide numbers."""
        drawn = self._counts(resamples)
        for start in range(0, resamples, BLOCK):
            yield drawn[start : start + BLOCK].astype(np.float64)

    def sums(self, values: Array) -> Array:
        """(clusters, m): the sum of each column of `values` (n, m) over each cluster's rows."""
        order = np.argsort(self.of_row, kind="stable")
        starts = np.concatenate(([0], np.cumsum(self.sizes.astype(np.int64))[:-1]))
        found: Array = np.add.reduceat(values[order], starts, axis=0)
        return found

    def _counts(self, resamples: int) -> NDArray[np.uint16]:
        """Drawn once for each number of resamples: they are the same whatever is resampled."""
        if resamples not in self._drawn:
            k = len(self.keys)
            rng, share = np.random.default_rng([self.seed, k]), np.full(k, 1 / k)
            self._drawn[resamples] = np.concatenate([
                rng.multinomial(k, share, size=min(BLOCK, resamples - start)).astype(np.uint16)
                for start in range(0, resamples, BLOCK)
            ])  # fmt: skip
        return self._drawn[resamples]

    def row_weights(self, resamples: int) -> Array:
        """(resamples, n): the weight of each row in each resample."""
        return self.counts(resamples)[:, self.of_row].astype(np.float64)


def mean_interval(values: Array, clusters: Clusters, resamples: int = RESAMPLES) -> Interval:
    """Percentile interval of the mean of `values` (n,), whole clusters resampled."""
    k, sizes = len(clusters.keys), clusters.sizes
    sums = np.bincount(clusters.of_row, weights=values, minlength=k)
    counts = clusters.counts(resamples)
    means = (counts @ sums) / (counts @ sizes)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(sums.sum() / sizes.sum()), float(low), float(high), clusters.n, k)


def mean_intervals(values: Array, clusters: Clusters, resamples: int = RESAMPLES) -> list[Interval]:
    """`mean_interval` of every column of `values` (n, m), with the same resamples for all of them.

    Raises:
        ValueError: a value is not a number.
    """
    if not np.isfinite(values).all():
        raise ValueError("a mean of values that are no numbers has no interval")
    sums = clusters.sums(values)
    means = np.empty((resamples, values.shape[1]))
    place = 0
    for counts in clusters.count_blocks(resamples):
        means[place : place + len(counts)] = (counts @ sums) / (counts @ clusters.sizes)[:, None]
        place += len(counts)
    lows, highs = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    whole = sums.sum(axis=0) / clusters.n
    k = len(clusters.keys)
    return [
        Interval(float(value), float(low), float(high), clusters.n, k)
        for value, low, high in zip(whole, lows, highs, strict=True)
    ]


def set_interval(
    statistic: Callable[[Array], float], clusters: Clusters, resamples: int = SET_RESAMPLES
) -> tuple[Interval, Array]:
    """Interval of a statistic of the whole set, given row weights (n,); also its resampled values.

    A set statistic such as FID is biased upwards by resampling (repeated rows shrink the covariance), so the
    bootstrap distribution is moved to sit on the value itself: [v + q_low - m, v + q_high - m] with m its mean.
    """
    value = statistic(np.ones(clusters.n))
    drawn = np.array([statistic(w) for w in clusters.row_weights(resamples)])
    return centred(value, drawn, clusters), drawn


def centred(value: float, drawn: Array, clusters: Clusters) -> Interval:
    """The interval of `set_interval` from values already resampled."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - drawn.mean()
    return Interval(value, value + float(low), value + float(high), clusters.n, len(clusters.keys))


def weighted_means(values: Array, clusters: Clusters, resamples: int) -> Array:
    """(resamples,) means of `values` under the same resamples that `set_interval` draws."""
    weights = clusters.row_weights(resamples)
    means: Array = (weights @ values) / weights.sum(axis=1)
    return means
