"""Several runs of one system with different seeds: does a metric's spread come from the items or from the seeds?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from chatgenbench.benchmark import load_benchmark
from chatgenbench.compare.fairness import incomparable
from chatgenbench.compare.pairing import read_whole, same_benchmark
from chatgenbench.errors import UserError
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.evaluate.summary import HEADLINE
from chatgenbench.report.data import RunData
from chatgenbench.statistics import Clusters, Components, components, standard_error, what_to_add


@dataclass(frozen=True)
class Spread:
    """One metric over demonstrations and seeds, in the metric's unit.

    `error` is the standard error of the mean now, `more_items` and `more_seeds` with twice as many of either; `add` is
    what shrinks it more, None where nothing varies.
    """

    metric: str
    mean: float
    parts: Components
    error: float
    more_items: float
    more_seeds: float
    add: str | None


@dataclass(frozen=True)
class Spreads:
    """What `seeds` found: the first run stands for all of them."""

    run: RunData
    demonstrations: int
    seeds: tuple[int, ...]
    found: tuple[Spread, ...]


def spread(paths: Sequence[Path], benchmark: str | None = None) -> Spreads:
    """Split the spread of every per-row metric by demonstration and by seed.

    Rows of one demonstration are averaged first, as they are not independent.

    Raises:
        UserError: fewer than two runs, or runs of another system, benchmark or setting, or of the same seed.
    """
    if len(paths) < 2:
        raise UserError("one run has one seed: evaluate again with another --seed, into another folder, and name both")
    folders = [RunFolder(path) for path in paths]
    manifests = [folder.read_manifest() for folder in folders]
    for folder, manifest in zip(folders[1:], manifests[1:], strict=True):
        same_benchmark([folders[0], folder], [manifests[0]["identity"], manifest["identity"]])
    seeds = _seeds(paths, [manifest["identity"] for manifest in manifests])
    loaded = load_benchmark(benchmark or str(manifests[0]["settings"].get("benchmark", "miniature")))
    runs = [read_whole(folder, loaded) for folder in folders]
    refused = {metric for one, other in combinations(runs, 2) for metric in incomparable(one, other)}
    shared = set.intersection(*({row.item.id for row in run.rows} for run in runs))
    rows = [row for row in runs[0].rows if row.item.id in shared]
    clusters = Clusters([row.gold.id for row in rows])
    if len(clusters.keys) < 2:
        raise UserError("these runs share fewer than two demonstrations: evaluate all with the same, larger --limit")
    metrics = [m for m in runs[0].columns if m not in refused and all(m in run.columns for run in runs)]
    metrics.sort(key=lambda m: HEADLINE.index(m) if m in HEADLINE else len(HEADLINE))
    found = []
    for metric in metrics:
        values = np.array([[run.scores[row.item.id][metric] for run in runs] for row in rows], dtype=np.float64)
        found.append(_spread(metric, clusters.sums(values) / clusters.sizes[:, None]))
    return Spreads(runs[0], len(clusters.keys), seeds, tuple(found))


def _seeds(paths: Sequence[Path], identities: Sequence[dict[str, object]]) -> tuple[int, ...]:
    first = identities[0]
    seen: dict[object, Path] = {}
    for path, identity in zip(paths, identities, strict=True):
        for what in ("system", "system_revision"):
            if identity.get(what) != first.get(what):
                told = f"'{first.get(what)}' and '{identity.get(what)}'"
                raise UserError(f"{paths[0]} and {path} are not of one system and revision ({told})")
        seed = identity.get("seed")
        if seed in seen:
            raise UserError(f"{seen[seed]} and {path} have the same seed {seed}: evaluate one with another --seed")
        seen[seed] = path
    return tuple(int(str(seed)) for seed in seen)


def _spread(metric: str, values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Spread:
    items, seeds = values.shape
    parts = components(values)
    add, more_items, more_seeds = what_to_add(parts, items, seeds)
    error = standard_error(parts, items, seeds)
    return Spread(metric, float(values.mean()), parts, error, more_items, more_seeds, add if error > 0 else None)
