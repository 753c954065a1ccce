"""The score stage: every metric over every row, block by block, resumable.

Blocks are fixed runs of rows in benchmark order and are written whole, so that an interrupted run scores the
same blocks as an uninterrupted one and ends with the same numbers to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import t2imetrics

from chatgenbench import journal
from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError, UserError
from chatgenbench.evaluate import stepwise
from chatgenbench.evaluate.features import FeatureStore
from chatgenbench.evaluate.ledger import ledger
from chatgenbench.evaluate.look import Look, checked, in_range
from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.run import RunFolder, TextSource
from chatgenbench.journal import Journal
from chatgenbench.render.pool_picture import PictureFile
from chatgenbench.schema import Outcome, digest_of
from chatgenbench.statistics import Array

BLOCK = 32

#: Version of the rules by which rows become values and pictures features.  It goes up with every change that gives
#: the same row another number; what an earlier version left in a run folder or a feature store is then made anew.
SCORING = 2

#: Metrics of the prompt, of the picture, and those of the picture that every run has, in the order of their columns.
TEXT_METRICS = ("bertscore", "sbert")
IMAGE_METRICS = ("clipscore", "imagereward", "hpsv2", "clip_image")

#: Metrics that every run has and that read no picture.
PLAN_METRICS = (*TEXT_METRICS, "selection", "arguments")

#: tick(what, rows done, rows in all)
Tick = Callable[[str, int, int], None]


@dataclass
class Scored:
    """What the stage leaves for the summary.

    `values[metric]` is (n,) float64 in row order (NaN only for infra-failed rows), in the order of the columns of
    scores.parquet; `features` and `reference` are (n, d): drawn pictures (a grey one where none was drawn) and gold
    pictures, with d = 0 in a run without pictures.  `ledger[metric]` says how many tokens of the texts it read and how
    many it never saw.
    """

    values: dict[str, Array]
    features: Array
    reference: Array
    ledger: dict[str, dict[str, float | None]]
    cards: dict[str, Any] = field(default_factory=dict)


class Scorers:
    """Metric scorers of one run, loaded when first needed; those of pictures share what they have in common.

    Args:
        weights: as for `t2imetrics.load`.
        extra: picture metrics beside those every run has.
        pictures: whether there are pictures; without them no picture metric is loaded, and there is no FID.
    """

    def __init__(
        self, weights: str, device: str, batch_size: int, extra: Sequence[str] = (), pictures: bool = True
    ) -> None:
        self.weights, self.device, self.batch_size = weights, device, batch_size
        self.pictures = pictures
        self.image_metrics = tuple(dict.fromkeys((*IMAGE_METRICS, *extra))) if pictures else ()
        self._texts: dict[str, Any] = {}
        self._machine_tested = False

    def check(self) -> None:
        """Load what lies on this machine already, so that wrong weights are told of first.

        Raises:
            BenchmarkError: the weights are missing, damaged or misspelt, or this machine computes wrong numbers.
            UserError: a metric that does not give each picture a value.
        """
        self._selftest({})
        for name in self.image_metrics:
            with _told():
                _require_rows(name, t2imetrics.card(name))
        if self.weights != "published":
            for name in () if self.pictures else TEXT_METRICS:
                self[name]
            if self.pictures:
                self.suite  # noqa: B018

    @cached_property
    def suite(self) -> t2imetrics.Suite:
        """Every picture metric and FID."""
        names = (*self.image_metrics, "fid")
        with _told():
            suite = t2imetrics.Suite(names, self.weights, self.device, batch_size=self.batch_size)
        self._selftest(suite.scorers)
        return suite

    def marks(self, metrics: Sequence[str]) -> dict[str, str]:
        """Each metric's name with a digest of what decides its values beside its rows: weights, conventions, rules."""
        cards = {name: self[name].card for name in metrics}
        return {n: f"{n} {digest_of([*_made_of(c), c.unit, float(c.failed_value)])[:16]}" for n, c in cards.items()}

    def store(self, cache: Path) -> FeatureStore:
        """FID's features under `cache`, apart for each network and kind of device, whose last bits differ."""
        fid = self["fid"]
        return FeatureStore(cache / digest_of([*_made_of(fid.card), self.device.partition(":")[0]])[:24], fid.width)

    def __getitem__(self, name: str) -> Any:
        if name not in TEXT_METRICS:
            if not self.pictures:
                raise KeyError(name)
            return self.suite.scorers[name]
        if name not in self._texts:
            with _told():
                self._texts[name] = t2imetrics.load(
                    name, weights=self.weights, device=self.device, batch_size=self.batch_size
                )
            self._selftest({name: self._texts[name]})
        return self._texts[name]

    def _selftest(self, loaded: Mapping[str, Any]) -> None:
        """Refuse to score with metrics that do not give their golden values; the cheap part of `selftest`."""
        from t2imetrics import selftest

        try:
            selftest.require(selftest.run(cheap=True, scorers=loaded, machine=not self._machine_tested))
        except selftest.SelftestError as error:
            raise BenchmarkError(f"{error}; `chatgenbench selftest` shows all of it") from None
        self._machine_tested = True


def _made_of(card: Any) -> list[Any]:
    """What makes a metric's numbers what they are: scoring version, every file its network was read from, note."""
    weights = card.weights
    files = weights and (getattr(weights, "files", "") or weights.sha256 or weights.name)
    return [SCORING, files, card.note]


def _require_rows(name: str, card: Any) -> None:
    """Refuse what cannot be a column of a picture metric, by its card alone and so before anything is drawn.

    Raises:
        UserError: a metric of the whole set, or one that reads no pictures.
    """
    if card.reduction == "set":
        here = "every run has it, leave it out" if name in ("fid", "unified") else "--metric takes those of a picture"
        raise UserError(f"metric '{name}' gives one value for a whole set of pictures: {here}")
    if not card.reads.startswith("images"):
        here = "every run has it, leave it out" if name in PLAN_METRICS else "choose one that does"
        raise UserError(f"metric '{name}' reads no pictures: {here}")


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except t2imetrics.errors.MetricError as error:
        raise BenchmarkError(str(error)) from None


def score(
    rows: Sequence[Row],
    benchmark: Benchmark,
    folder: RunFolder,
    picture: Callable[[str], PictureFile],
    scorers: Scorers,
    text: TextSource,
    cache: Path,
    tick: Tick,
) -> Scored:
    """Score `rows`; finished blocks are read back from the journal.

    Args:
        picture: pool name of a picture -> its file.
        cache: folder for image features, shared between runs.
    """
    values = _stepwise(rows, benchmark)
    sets = ("fid",) if scorers.pictures else ()
    cards = {name: scorers[name].card for name in (*TEXT_METRICS, *scorers.image_metrics, *sets)}
    with Journal(folder.score_journal) as book:
        marks = scorers.marks((*TEXT_METRICS, *scorers.image_metrics))
        finished = _finished(folder, {mark: cards[metric] for metric, mark in marks.items()})
        for metric in TEXT_METRICS:
            write = partial(_score_prompts, metric, scorer=scorers[metric])
            values |= _columns({metric: marks[metric]}, rows, text, finished, book, write, partial(tick, metric))
        features = reference = np.empty((len(rows), 0))
        if scorers.pictures:
            look = Look(benchmark, scorers.suite, picture, text, scorers.store(cache))
            seen = {metric: marks[metric] for metric in scorers.image_metrics}
            values |= _columns(seen, rows, text, finished, book, look.score, partial(tick, "pictures"))
            features, reference = look.features(rows, tick)
    order = (*TEXT_METRICS, *stepwise.COLUMNS, *scorers.image_metrics)
    values = {name: values[name] for name in order}
    return Scored(values, features, reference, ledger(rows, values, scorers, text), cards)


def _stepwise(rows: Sequence[Row], benchmark: Benchmark) -> dict[str, Array]:
    columns = stepwise.score_plans(rows, benchmark)
    for column in columns.values():
        column[_infra_failed(rows)] = np.nan
    return columns


def _infra_failed(rows: Sequence[Row]) -> list[bool]:
    return [row.outcome is Outcome.INFRA_FAILED for row in rows]


#: A block of rows and the metrics it lacks -> values (n,) by metric.
Write = Callable[[Sequence[Row], Sequence[str]], dict[str, Array]]


def _columns(
    marks: Mapping[str, str], rows: Sequence[Row], text: TextSource, finished: dict[str, list[float]], book: Journal,
    write: Write, tick: Callable[[int, int], None],
) -> dict[str, Array]:  # fmt: skip
    """Columns of the metrics in `marks`; blocks that are not in `finished` are scored by `write` and booked."""
    columns = {metric: np.full(len(rows), np.nan) for metric in marks}
    tick(0, len(rows))
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        keys = {metric: _key(metric, mark, block, text) for metric, mark in marks.items()}
        if missing := [m for m, key in keys.items() if len(finished.get(key, ())) != len(block)]:
            found = {keys[m]: column.tolist() for m, column in write(block, missing).items()}
            book.append(*({"block": key, "values": column} for key, column in found.items()))
            finished.update(found)
        for metric, key in keys.items():
            columns[metric][start : start + len(block)] = finished[key]
        tick(start + len(block), len(rows))
    for column in columns.values():
        column[_infra_failed(rows)] = np.nan
    return columns


def _key(metric: str, mark: str, block: Sequence[Row], text: TextSource) -> str:
    """A block's name: its metric's mark, and a digest that changes when a picture, text or answer in it does."""
    if metric in TEXT_METRICS:
        seen = [[r.item.id, r.plan.prompt if r.plan else None, r.gold.plan.prompt] for r in block]
    else:
        seen = [[r.item.id, r.image_sha256, r.text(text)] for r in block]
    return f"{mark} {digest_of(seen)}"


def _finished(folder: RunFolder, cards: Mapping[str, Any]) -> dict[str, list[float]]:
    """Values of the blocks that are booked already; `cards` by mark: blocks of other marks are never looked up."""
    return dict(journal.read(folder.score_journal, partial(_block_of, cards=cards)))


def _block_of(record: Any, cards: Mapping[str, Any]) -> tuple[str, list[float]]:
    """A block's name and values; ValueError or TypeError unless its metric can have given these."""
    block, values = record["block"], record["values"]
    if not (isinstance(block, str) and isinstance(values, list)):
        raise TypeError("a name and a list are wanted")
    card = cards.get(block.rpartition(" ")[0])
    for value in values:
        if not (isinstance(value, float) and math.isfinite(value) and (card is None or in_range(card, value))):
            raise ValueError(f"no value of this metric: {value}")
    return block, values


def _score_prompts(metric: str, block: Sequence[Row], missing: Sequence[str], scorer: Any) -> dict[str, Array]:
    """Own prompt against gold prompt; a row without a plan gets what the metric's card says."""
    column = np.full(len(block), float(scorer.card.failed_value))
    usable = [(i, row.plan.prompt) for i, row in enumerate(block) if row.plan is not None]
    if usable:
        places, prompts = zip(*usable, strict=True)
        scored = scorer.score(prompts, [block[i].gold.plan.prompt for i in places])
        column[list(places)] = checked(scorer.card, scored, len(places))
    return {metric: column}
