"""Rewards of pictures: plans are drawn through the pool and scored by metrics of the suite."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError, InfraError
from chatgenbench.home import home
from chatgenbench.quiet import quiet
from chatgenbench.render import Pool, draw
from chatgenbench.schema import Outcome, Plan

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Wanted:
    """A plan to draw, the text its picture is scored against, and the seed of a plan that names none."""

    plan: Plan
    text: str
    seed: int


class Judge:
    """Draws and scores.

    Args:
        metrics: names of picture metrics; all of them load before anything is drawn.
        pool: folder or URL of pictures; by default the one that runs share.

    Raises:
        BenchmarkError: a metric whose weights cannot be used.
    """

    def __init__(self, benchmark: Benchmark, metrics: Sequence[str], device: str, pool: str | None = None) -> None:
        import t2imetrics

        self._benchmark, self._device = benchmark, device
        self._pool = Pool(pool or home() / "pool")
        try:
            weights = benchmark.manifest.weights
            self._scorers = {m: t2imetrics.load(m, weights=weights, device=device) for m in metrics}
        except t2imetrics.errors.MetricError as error:
            raise BenchmarkError(str(error)) from None

    def score(self, wanted: Sequence[Wanted]) -> dict[str, Array]:
        """Values (n,) by metric; what cannot be drawn gets the value that the metric's card gives to failed rows.

        Raises:
            InfraError: disk or device failed.
        """
        names = [str(i) for i in range(len(wanted))]
        seeds = dict(zip(names, (w.seed for w in wanted), strict=True))
        plans = ((name, w.plan) for name, w in zip(names, wanted, strict=True))
        files: dict[int, Path | bytes] = {}
        with quiet():
            rows = list(draw(plans, self._benchmark, self._pool, seed_of=seeds.__getitem__, device=self._device))
        for row in rows:
            if row.outcome is Outcome.INFRA_FAILED:
                raise InfraError(row.reason or "a picture could not be drawn")
            if row.picture is not None:
                files[int(row.item)] = self._pool.source(row.picture)
        drawn = sorted(files)
        values: dict[str, Array] = {}
        for metric, scorer in self._scorers.items():
            values[metric] = np.full(len(wanted), float(scorer.card.failed_value))
            if drawn:
                values[metric][drawn] = scorer.score([files[i] for i in drawn], [wanted[i].text for i in drawn])
        return values


def seed_of(*parts: object) -> int:
    """A seed (below 2**31) that depends on `parts` alone."""
    return int(hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:8], 16) >> 1


def combined(values: Mapping[str, Array], weights: Mapping[str, float]) -> Array:
    """The weighted sum of metrics, each brought to mean 0 and deviation 1 over all pictures first."""
    total = np.zeros(len(next(iter(values.values()))))
    for metric, weight in weights.items():
        column = values[metric]
        total += weight * (column - column.mean()) / (column.std() or 1.0)
    return total
