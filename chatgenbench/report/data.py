"""A finished run as one plain structure: manifest, summary, rows and their scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import RunFolderError
from chatgenbench.evaluate.pipeline import read_finished
from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.render.pool_picture import PictureFile
from chatgenbench.report import notes

#: Pool name of a picture (64 hex digits) -> its file.
PictureOf = Callable[[str], PictureFile]


@dataclass(frozen=True)
class RunData:
    """What a page needs to know of one run.

    `scores[item][column]` holds the finite values of scores.parquet only; `columns` are all of its score columns.
    """

    name: str
    folder: RunFolder
    manifest: dict[str, Any]
    summary: dict[str, Any]
    rows: tuple[Row, ...]
    columns: tuple[str, ...]
    scores: dict[str, dict[str, float]]
    picture_of: PictureOf

    @property
    def pictured(self) -> bool:
        """Whether the run drew pictures, or scored plans alone."""
        return notes.pictured(self.summary)

    def drawn(self, row: Row) -> PictureFile | None:
        """The file of a row's picture; None if none was drawn."""
        if row.image_sha256 is None or row.drawn is None or row.drawn.picture is None:
            return None
        return self.picture_of(row.drawn.picture)

    def entry(self, metric: str, where: str | None = None) -> dict[str, Any] | None:
        """summary.json's entry of a metric, of the whole run or of a slice such as `split=supervised`."""
        metrics = self.summary["metrics"] if where is None else self.summary["slices"].get(where, {})
        found: dict[str, Any] | None = metrics.get(metric)
        return found


def read_run(folder: RunFolder, benchmark: Benchmark, picture_of: PictureOf) -> RunData:
    """Read what `eval` left in `folder`.

    Raises:
        RunFolderError: no run, a damaged one, or one whose scores are missing.
        BenchmarkError: the benchmark changed since.
        InfraError: the run is not finished.
    """
    finished = read_finished(folder.path, benchmark)
    columns, scores = _read_scores(folder)
    return RunData(
        name=str(finished.summary["run"]["system"]), folder=folder, manifest=folder.read_manifest(),
        summary=finished.summary, rows=tuple(finished.rows), columns=columns, scores=scores,
        picture_of=picture_of,
    )  # fmt: skip


def _read_scores(folder: RunFolder) -> tuple[tuple[str, ...], dict[str, dict[str, float]]]:
    import pandas as pd

    try:
        frame = pd.read_parquet(folder.scores)
    except (OSError, ValueError) as error:  # missing, or not parquet
        raise RunFolderError(f"{folder.scores} cannot be read: type the run's eval command again") from error
    columns = tuple(str(c) for c in frame.columns if frame[c].dtype == "float64")
    values = frame[list(columns)].to_numpy()
    scores = {
        str(item): {c: float(v) for c, v in zip(columns, row, strict=True) if math.isfinite(v)}
        for item, row in zip(frame["item"], values, strict=True)
    }
    return columns, scores


def benchmark_picture(benchmark: Benchmark, name: str) -> Path | None:
    """A picture the benchmark names by relative path; None if the name leads out of its folder."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        return None
    return benchmark.root / pure


def stratified(benchmark: Benchmark, rows: Sequence[Row], limit: int) -> frozenset[str]:
    """Ids of at most `limit` items among `rows`, spread over split, kind and target model.

    A run's items are themselves a head of the benchmark's stratified order, so a shorter head lies within them.
    """
    among = frozenset(row.item.id for row in rows)
    return among & {item.id for item in benchmark.subset(limit)}
