"""Two runs joined row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.compare.fairness import incomparable
from chatgenbench.errors import InfraError, RunFolderError, UserError
from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.evaluate.summary import HEADLINE
from chatgenbench.render import Pool
from chatgenbench.report.data import RunData, read_run
from chatgenbench.schema import Item
from chatgenbench.statistics import Array

#: The metric a comparison is sorted by unless another is chosen: the first of these that both runs have.
FIRST = ("imagereward", "hpsv2", "clipscore", "bertscore")


@dataclass(frozen=True)
class Pair:
    """What two runs made of one item."""

    item: Item
    a: Row
    b: Row


@dataclass(frozen=True)
class Match:
    """Two runs of one benchmark and the rows they share, in benchmark order.

    `names` tell them apart on pages and tables; `metrics` are the per-row metrics that may be compared, the headline
    ones first; `left_out` says why others may not.
    """

    a: RunData
    b: RunData
    names: tuple[str, str]
    benchmark: Benchmark
    pairs: tuple[Pair, ...]
    metrics: tuple[str, ...]
    left_out: dict[str, str]

    @property
    def runs(self) -> tuple[RunData, RunData]:
        return self.a, self.b

    @cached_property
    def headline(self) -> tuple[str, ...]:
        """The metrics a reader looks at first: the paper's, and those that were asked for beside them."""
        asked = [m for run in self.runs for m in run.summary["run"].get("extra", ())]
        return tuple(m for m in self.metrics if m in HEADLINE or m in asked)

    @property
    def first(self) -> str:
        """The metric to sort by unless another is chosen."""
        return next((m for m in FIRST if m in self.metrics), self.metrics[0])

    @cached_property
    def clusters(self) -> tuple[str, ...]:
        """The demonstration of each pair."""
        return tuple(pair.a.gold.id for pair in self.pairs)

    def values(self, metric: str) -> tuple[Array, Array]:
        """The values of A and of B, (n,) each, in the order of `pairs`."""
        ids = [pair.item.id for pair in self.pairs]
        a, b = (np.array([run.scores[i][metric] for i in ids], dtype=np.float64) for run in self.runs)
        return a, b

    def sign(self, metric: str) -> int:
        """1 where a higher value is better, -1 where a lower one is."""
        entry = self.a.entry(metric) or self.b.entry(metric)
        return 1 if entry is None or entry["higher_is_better"] else -1


def match(paths: Sequence[Path], benchmark: str | None = None) -> Match:
    """Read two finished runs and join their rows.

    Args:
        paths: the run folders of A and of B.
        benchmark: what to load; by default what A's manifest names.

    Raises:
        UserError: the runs are not finished, not of one benchmark, or share no rows and metrics.
    """
    folders = [RunFolder(path) for path in paths]
    manifests = [folder.read_manifest() for folder in folders]
    same_benchmark(folders, [m["identity"] for m in manifests])
    loaded = load_benchmark(benchmark or str(manifests[0]["settings"].get("benchmark", "miniature")))
    a, b = (read_whole(folder, loaded) for folder in folders)
    theirs = {row.item.id: row for row in b.rows}
    pairs = tuple(Pair(row.item, row, theirs[row.item.id]) for row in a.rows if row.item.id in theirs)
    if not pairs:
        raise UserError(f"{paths[0]} and {paths[1]} share no rows: evaluate both with the same --limit")
    refused = incomparable(a, b)
    metrics = tuple(m for m in _ordered(a.columns) if m in b.columns and m not in refused and _whole(m, pairs, (a, b)))
    if not metrics:
        raise UserError(f"{paths[0]} and {paths[1]} have no metric that may be compared: evaluate both alike")
    return Match(a, b, _names(a, b), loaded, pairs, metrics, refused)


def same_benchmark(folders: Sequence[RunFolder], identities: Sequence[dict[str, object]]) -> None:
    """Refuse two runs of different benchmarks."""
    first, second = identities
    if first.get("benchmark_hash") == second.get("benchmark_hash"):
        return
    if first.get("benchmark") == second.get("benchmark"):
        name = first.get("benchmark")
        raise UserError(f"{folders[0].path} and {folders[1].path} were run on different versions of '{name}'")
    told = " and ".join(f"{f.path} of '{i.get('benchmark')}'" for f, i in zip(folders, identities, strict=True))
    raise UserError(f"only runs of one benchmark can be compared: {told}")


def read_whole(folder: RunFolder, benchmark: Benchmark) -> RunData:
    """A run whose every row has its result; one that goes on is the user's to finish first."""
    pool = Pool(folder.read_manifest().get("pool", folder.path))
    try:
        run = read_run(folder, benchmark, pool.picture)
    except InfraError as error:
        raise RunFolderError(str(error)) from None
    if missing := int(run.summary["incomplete"]):
        raise RunFolderError(
            f"{folder.path} is not finished ({missing} rows infra-failed): type its eval command again"
        )
    return run


def _ordered(columns: Iterable[str]) -> list[str]:
    """The columns with the headline metrics first, in the order of the paper's tables."""
    columns = list(columns)
    return [m for m in HEADLINE if m in columns] + [m for m in columns if m not in HEADLINE]


def _whole(metric: str, pairs: Sequence[Pair], runs: Sequence[RunData]) -> bool:
    """Whether every shared row has a finite value in both runs."""
    return all(metric in run.scores.get(pair.item.id, {}) for run in runs for pair in pairs)


def _names(a: RunData, b: RunData) -> tuple[str, str]:
    """The systems' names, with what tells them apart where they are one system."""
    if a.name != b.name:
        return a.name, b.name
    folders = [run.folder.path.resolve() for run in (a, b)]
    told: list[Callable[[int], str]] = [
        lambda i: folders[i].name,
        lambda i: "/".join(folders[i].parts[-2:]),
        lambda i: str(folders[i]),
    ]
    for tell in told:
        if tell(0) != tell(1):
            return f"{a.name} ({tell(0)})", f"{b.name} ({tell(1)})"
    return f"{a.name} (A)", f"{b.name} (B)"
