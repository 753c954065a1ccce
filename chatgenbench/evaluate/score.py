"""The score stage: every metric over every row, block by block, resumable.

Blocks are fixed runs of rows in benchmark order and are written whole, so that an interrupted run scores the
same blocks as an uninterrupted one and ends with the same numbers to the last bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import t2imetrics

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError
from chatgenbench.evaluate import journal, stepwise
from chatgenbench.evaluate.features import FeatureStore
from chatgenbench.evaluate.journal import Journal
from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.run import RunFolder, TextSource
from chatgenbench.evaluate.statistics import Array
from chatgenbench.schema import Outcome, digest_of

BLOCK = 32
PROMPT_METRIC = "bertscore"
IMAGE_METRICS = ("clipscore", "imagereward", "hpsv2")

#: Per-row columns of scores.parquet, in order.
COLUMNS = (PROMPT_METRIC, *stepwise.COLUMNS, *IMAGE_METRICS)

#: tick(metric, rows done, rows in all)
Tick = Callable[[str, int, int], None]


@dataclass
class Scored:
    """What the stage leaves for the summary.

    `values[metric]` is (n,) float64 in row order (NaN only for infra-failed rows); `features` and
    `reference` are (n, d): drawn pictures (a grey one where none was drawn) and gold pictures.
    `ledger[metric]` says how many tokens of the texts it read and how many it never saw.
    """

    values: dict[str, Array]
    features: Array
    reference: Array
    ledger: dict[str, dict[str, float]]
    cards: dict[str, Any] = field(default_factory=dict)


class Scorers:
    """Metric scorers of one run, each loaded when first needed."""

    def __init__(self, weights: str, device: str, batch_size: int) -> None:
        self.weights, self.device, self.batch_size = weights, device, batch_size
        self._loaded: dict[str, Any] = {}

    def check(self) -> None:
        """Load what lies on this machine already, so that wrong weights are told of first.

        Raises:
            BenchmarkError: the weights are missing, damaged or misspelt.
        """
        if self.weights != "published":
            for name in IMAGE_METRICS:
                self[name]

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            try:
                self._loaded[name] = t2imetrics.load(
                    name, weights=self.weights, device=self.device, batch_size=self.batch_size
                )
            except t2imetrics.errors.MetricError as error:
                raise BenchmarkError(str(error)) from None
        return self._loaded[name]


def score(
    rows: Sequence[Row],
    benchmark: Benchmark,
    folder: RunFolder,
    picture_path: Callable[[str], Path],
    scorers: Scorers,
    text: TextSource,
    cache: Path,
    tick: Tick,
) -> Scored:
    """Score `rows`; finished blocks are read back from the journal.

    Args:
        picture_path: pool name of a picture -> its file.
        cache: folder for image features, shared between runs.
    """
    values = _stepwise(rows, benchmark)
    finished = _finished(folder)
    with Journal(folder.score_journal) as book:
        for metric in (PROMPT_METRIC, *IMAGE_METRICS):
            tick(metric, 0, len(rows))
            column = np.full(len(rows), np.nan)
            for start, block in _blocks(rows):
                key = _key(metric, block, text)
                if len(finished.get(key, ())) != len(block):
                    finished[key] = _score_block(metric, block, scorers, picture_path, text).tolist()
                    book.append({"block": key, "values": finished[key]})
                column[start : start + len(block)] = finished[key]
                tick(metric, start + len(block), len(rows))
            column[_infra_failed(rows)] = np.nan
            values[metric] = column
    features, reference = _features(rows, benchmark, scorers, picture_path, cache, tick)
    cards = {name: scorers[name].card for name in (PROMPT_METRIC, *IMAGE_METRICS, "fid")}
    return Scored({c: values[c] for c in COLUMNS}, features, reference, _ledger(rows, scorers, text), cards)


def _stepwise(rows: Sequence[Row], benchmark: Benchmark) -> dict[str, Array]:
    columns = stepwise.score_plans(rows, benchmark)
    for column in columns.values():
        column[_infra_failed(rows)] = np.nan
    return columns


def _infra_failed(rows: Sequence[Row]) -> list[bool]:
    return [row.outcome is Outcome.INFRA_FAILED for row in rows]


def _blocks(rows: Sequence[Row]) -> Iterator[tuple[int, Sequence[Row]]]:
    for start in range(0, len(rows), BLOCK):
        yield start, rows[start : start + BLOCK]


def _key(metric: str, block: Sequence[Row], text: TextSource) -> str:
    """A block's name: it changes when any picture, text or answer in it does."""
    if metric == PROMPT_METRIC:
        seen = [[r.item.id, r.plan.prompt if r.plan else None, r.gold.plan.prompt] for r in block]
    else:
        seen = [[r.item.id, r.image_sha256, r.text(text)] for r in block]
    return digest_of([metric, seen])


def _finished(folder: RunFolder) -> dict[str, list[float]]:
    return dict(journal.read(folder.score_journal, _block_of))


def _block_of(record: Any) -> tuple[str, list[float]]:
    return str(record["block"]), [float(value) for value in record["values"]]


def _score_block(
    metric: str, block: Sequence[Row], scorers: Scorers, picture_path: Callable[[str], Path], text: TextSource
) -> Array:
    """(len(block),) values; rows without a prompt or picture get what the metric's card says."""
    scorer = scorers[metric]
    column = np.full(len(block), float(scorer.card.failed_value))
    if metric == PROMPT_METRIC:
        usable = [i for i, row in enumerate(block) if row.plan is not None]
        answers = [block[i].plan.prompt for i in usable]  # type: ignore[union-attr]
        if usable:
            column[usable] = scorer.score(answers, [block[i].gold.plan.prompt for i in usable])
        return column
    usable = [i for i, row in enumerate(block) if row.image_sha256 is not None]
    if usable:
        paths = [picture_path(_pool_name(block[i])) for i in usable]
        column[usable] = scorer.score(paths, [block[i].text(text) for i in usable])
    return column


def _pool_name(row: Row) -> str:
    assert row.drawn is not None
    assert row.drawn.picture is not None
    return row.drawn.picture


def _features(
    rows: Sequence[Row],
    benchmark: Benchmark,
    scorers: Scorers,
    picture_path: Callable[[str], Path],
    cache: Path,
    tick: Tick,
) -> tuple[Array, Array]:
    fid = scorers["fid"]
    weights = fid.card.weights
    store = FeatureStore(cache / (weights.sha256 or weights.name.replace("/", "-"))[:24])
    grey = {f"grey-{r.gold.plan.arguments.width}x{r.gold.plan.arguments.height}": r for r in rows}
    gold_files = {r.gold.picture_sha256: benchmark.root / r.gold.picture for r in rows}
    files = {r.image_sha256: picture_path(_pool_name(r)) for r in rows if r.image_sha256 is not None} | gold_files
    drawn = [r.image_sha256 or f"grey-{r.gold.plan.arguments.width}x{r.gold.plan.arguments.height}" for r in rows]
    gold = [r.gold.picture_sha256 for r in rows]
    done = 0

    def pictures(digests: list[str]) -> Array:
        for d in set(digests) & gold_files.keys():
            _require(gold_files[d], d)
        images = [_grey(grey[d]) if d in grey else files[d] for d in digests]
        computed: Array = fid.features(images)
        return computed

    def advance(k: int) -> None:
        nonlocal done
        done += k
        tick("fid", min(done, 2 * len(rows)), 2 * len(rows))

    store.fill([*drawn, *gold], pictures, BLOCK, advance)
    return store.get(drawn), store.get(gold)


def _require(path: Path, sha256: str) -> None:
    """Features are shared by digest between runs: a gold picture that is not the one stated must not enter them."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise BenchmarkError(f"{path} is not the picture its demonstration states: fetch the benchmark again")


def _grey(row: Row) -> Any:
    """What a missing picture counts as in FID: uniform mid grey at the demonstration's size."""
    from PIL import Image

    size = (row.gold.plan.arguments.width, row.gold.plan.arguments.height)
    return Image.new("RGB", size, (128, 128, 128))


def _ledger(rows: Sequence[Row], scorers: Scorers, text: TextSource) -> dict[str, dict[str, float]]:
    """Truncation ledger: of the tokens each metric was given, how many lay beyond its limit."""
    entries = {}
    for metric in (PROMPT_METRIC, *IMAGE_METRICS):
        scorer = scorers[metric]
        limit = scorer.card.text_limit
        if limit is None:
            continue
        if metric == PROMPT_METRIC:
            texts = [t for r in rows for t in (r.gold.plan.prompt, r.plan.prompt if r.plan else "")]
        else:
            texts = [r.text(text) for r in rows]
        lengths = np.asarray(scorer.tokens(texts), dtype=np.float64)
        unseen = np.maximum(lengths - limit, 0)
        entries[metric] = {
            "limit": float(limit), "tokens": float(lengths.sum()), "unseen": float(unseen.sum()),
            "share_unseen": float(unseen.sum() / max(lengths.sum(), 1)), "rows_cut": float((unseen > 0).sum()),
        }  # fmt: skip
    return entries
