"""Looks at pictures: one at a block for all picture metrics, and one at each picture for FID's features."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import t2imetrics
from t2imetrics.fid import Fid

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError, InfraError, UserError
from chatgenbench.evaluate.features import FeatureStore
from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.run import TextSource
from chatgenbench.render.pool_picture import PictureFile
from chatgenbench.statistics import Array

#: Pictures whose features are stored together.
BLOCK = 32
#: How far a value may lie outside its card's range, as a share of the bound (at least of 1): rounding in float32.
SLACK = 1e-4
#: tick(what, rows done, rows in all)
Tick = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Look:
    """Scores pictures of one run.

    Attributes:
        suite: every picture metric of the run and FID.
        picture: pool name of a picture -> its file.
        text: what picture metrics read.
        store: FID's features, shared between runs.
    """

    benchmark: Benchmark
    suite: t2imetrics.Suite
    picture: Callable[[str], PictureFile]
    text: TextSource
    store: FeatureStore

    def score(self, block: Sequence[Row], missing: Sequence[str]) -> dict[str, Array]:
        """Values of the metrics in `missing`; rows without a picture get what each card says."""
        suite = self.suite.only(missing)
        columns = {m: np.full(len(block), float(suite.scorers[m].card.failed_value)) for m in missing}
        usable = [i for i, row in enumerate(block) if row.image_sha256 is not None]
        seen = [block[i] for i in usable]
        for row in seen:
            self._require(row)
        parts = suite.parts(
            self._all_drawn(seen), [row.text(self.text) for row in seen], [self._gold(row) for row in seen]
        )
        for part in parts:
            at = usable[part.first : part.first + self.suite.batch_size]
            for metric, values in part.values.items():
                columns[metric][at] = checked(suite.scorers[metric].card, values, len(at))
        return columns

    def features(self, rows: Sequence[Row], tick: Tick) -> tuple[Array, Array]:
        """FID's features of drawn and gold pictures, (n, d) each; those that are not stored yet are computed."""
        drawn = [row.image_sha256 or _grey_name(row) for row in rows]
        gold = [row.gold.picture_sha256 for row in rows]
        by_name = dict(zip(drawn, rows, strict=True))
        gold_rows = dict(zip(gold, rows, strict=True))
        fid = one_by_one(self.suite.scorers["fid"])

        def pictures(names: list[str]) -> Array:
            return fid.features([source(name) for name in names])

        def source(name: str) -> Any:
            if name in gold_rows:
                self._require(gold_rows[name])
                return self._gold(gold_rows[name])
            row = by_name[name]
            return self._drawn(row) if row.image_sha256 else _grey(row)

        done = 0

        def advance(k: int) -> None:
            nonlocal done
            done += k
            tick("fid", min(done, 2 * len(rows)), 2 * len(rows))

        self.store.fill([*drawn, *gold], pictures, BLOCK, advance)
        return self.store.get(drawn), self.store.get(gold)

    def _all_drawn(self, rows: Sequence[Row]) -> list[Path | bytes]:
        with ThreadPoolExecutor() as readers:  # pictures of a pool elsewhere wait for the network
            return list(readers.map(self._drawn, rows))

    def _drawn(self, row: Row) -> Path | bytes:
        """A picture's file, or the bytes of one that is not on this disk."""
        assert row.drawn is not None
        assert row.drawn.picture is not None
        file = self.picture(row.drawn.picture)
        if isinstance(file, Path):
            return file
        try:
            return file.read_bytes()
        except OSError as error:
            raise InfraError(str(error)) from None

    def _gold(self, row: Row) -> Path:
        return self.benchmark.root / row.gold.picture

    def _require(self, row: Row) -> None:
        """Features are shared by digest between runs: a gold picture that is not the one stated must not enter them."""
        path = self._gold(row)
        if hashlib.sha256(path.read_bytes()).hexdigest() != row.gold.picture_sha256:
            raise BenchmarkError(f"{path} is not the picture its demonstration states: fetch the benchmark again")


def one_by_one(scorer: Any) -> Fid:
    """The FID scorer `scorer` with the same network, which is shown one picture at a time."""
    # A network's last bits depend on how many pictures it is shown at once, and stored features outlive the run
    # that made them.  Rounding would only make a difference rarer: some value always lies next to a step.
    assert isinstance(scorer, Fid)
    alone = copy.copy(scorer)
    alone.setting = replace(scorer.setting, batch_size=1)
    return alone


def checked(card: Any, values: Any, n: int) -> Array:
    """`values` as float64 (n,), one finite number a row within the range of its metric's card.

    Raises:
        UserError: anything else; the metric, which may be another package's, is at fault.
    """
    found = np.asarray(values, np.float64)
    fault = None
    if found.shape != (n,):
        fault = f"values of shape {found.shape} for {n} rows: its score must give one value a row"
    elif wrong := [value for value in found.tolist() if not in_range(card, value)]:
        fault = f"the value {wrong[0]:g}, outside the {card.lower:g} to {card.upper:g} of its card"
    if fault is not None:
        raise UserError(f"metric '{card.name}' gave {fault}; mend that metric, or leave it out")
    return found


def in_range(card: Any, value: float) -> bool:
    """Whether a metric with this card can have given `value` (finite, in range but for rounding) to a row."""
    low = card.lower - SLACK * max(1.0, abs(card.lower))
    high = card.upper + SLACK * max(1.0, abs(card.upper))
    return math.isfinite(value) and (low <= value <= high or value == card.failed_value)


def _grey_name(row: Row) -> str:
    return f"grey-{row.gold.plan.arguments.width}x{row.gold.plan.arguments.height}"


def _grey(row: Row) -> Any:
    """What a missing picture counts as in FID: uniform mid grey at the demonstration's size."""
    from PIL import Image

    size = (row.gold.plan.arguments.width, row.gold.plan.arguments.height)
    return Image.new("RGB", size, (128, 128, 128))
