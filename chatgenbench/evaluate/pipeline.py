"""`plan -> render -> score`: one run from start to end, or onward from where it was killed.

A run that draws nothing goes `plan -> score`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import chatgenbench
from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError, InfraError, RunFolderError, UserError, shorten
from chatgenbench.evaluate.handed import handed
from chatgenbench.evaluate.rows import Row, join
from chatgenbench.evaluate.run import RunFolder, Settings, identity_of, open_run, started, write_json
from chatgenbench.home import home
from chatgenbench.interrupt import held
from chatgenbench.journal import Journal
from chatgenbench.render import Executor, LocalExecutor, Pool, devices_for, draw, engine_fingerprint
from chatgenbench.render.bases import with_bases
from chatgenbench.render.checkpoints import dtype_name
from chatgenbench.schema import DrawnRow, Failure, Item, Outcome, Plan, PlannedRow, digest_of
from chatgenbench.systems import Prices, Spent, System, ask, done, keep, ready

if TYPE_CHECKING:
    from chatgenbench.evaluate.score import Scored, Scorers

#: Answers are kept as each batch ends: small, so that little is asked twice after a kill.
PLAN_BATCH = 8
NO_PRICES = Prices()


class Progress(Protocol):
    """Where a run tells how far it is: `done` of `total` rows of a stage or metric."""

    def tick(self, name: str, done: int, total: int) -> None: ...


@dataclass(frozen=True)
class Finished:
    """A run that went through all stages; `incomplete` counts rows that ended `infra-failed`."""

    folder: RunFolder
    rows: list[Row]
    summary: dict[str, Any]

    @property
    def incomplete(self) -> int:
        return int(self.summary["incomplete"])


def evaluate(
    path: Path, settings: Settings, benchmark: Benchmark, system: System, pool: Pool, progress: Progress
) -> Finished:
    """Run every stage into `path`; finished rows are never redone.

    Raises:
        RunFolderError: the folder belongs to another run.
        InfraError: the disk is full or the device failed; what is done is kept.
    """
    started(path, identity_of(settings, benchmark, (system.name, system.revision)))
    with held():
        elsewhere = cluster_device(settings)
        device, scorers = check_machine(settings, benchmark)
    drawn_on = elsewhere or device
    based = with_bases(benchmark, dict(settings.bases))
    provenance: dict[str, Any] = {"device": device}
    if settings.draw:
        provenance |= _drawing(drawn_on, pool) | {"bases": based.rules}
    folder = RunFolder(path)
    with folder.lock():
        folder = open_run(path, settings, benchmark, (system.name, system.revision), provenance)
        items = benchmark.subset(settings.limit)
        plan_stage(folder, benchmark, system, items, progress, settings.prices)
        if settings.draw:
            render_stage(folder, based.benchmark, items, pool, settings, drawn_on, progress)
        return score_stage(folder, benchmark, items, pool, settings, scorers, progress)


def _drawing(device: str, pool: Pool) -> dict[str, str]:
    """What a run records of how its pictures are drawn and where they are kept."""
    pool.check()
    dtype = dtype_name(device)
    return {"dtype": dtype, "engine": engine_fingerprint(device, dtype), "pool": pool.spec}


def check_machine(settings: Settings, benchmark: Benchmark) -> tuple[str, Scorers]:
    """The device and the scorers of a run: a spelling mistake shows before an hour of drawing.

    Raises:
        UserError: a device, weights or gold pictures that cannot be used, or picture metrics without pictures.
    """
    refuse_metrics(settings.draw, settings.metrics, benchmark)
    if settings.draw:
        benchmark.require_pictures(benchmark.subset(settings.limit))
    elsewhere = settings.executor == "ray" and settings.draw and settings.device == "cuda"
    device = pick_device("auto" if elsewhere else settings.device)
    return device, _scorers(settings.weights or benchmark.manifest.weights, device, settings.metrics, settings.draw)


@lru_cache(maxsize=1)
def _scorers(weights: str, device: str, metrics: tuple[str, ...], pictures: bool) -> Scorers:
    """Checked scorers, loaded once for all systems of a command."""
    from chatgenbench.evaluate.score import Scorers

    scorers = Scorers(weights, device, 32, metrics, pictures)
    scorers.check()
    return scorers


def cluster_device(settings: Settings) -> str | None:
    """What the nodes of a Ray cluster draw on, which may not be what this machine scores on; None without a cluster.

    Raises:
        UserError: the cluster cannot be reached, or can draw on no such device.
    """
    if settings.executor != "ray" or not settings.draw:
        return None
    from chatgenbench.render.cluster import connect, device_of

    connect(settings.ray_address)
    return device_of(settings.device)


def refuse_metrics(draw: bool, metrics: tuple[str, ...], benchmark: Benchmark) -> None:
    """UserError when picture metrics are asked of a run that draws nothing."""
    if draw or not metrics:
        return
    why = "--no-render draws none" if benchmark.manifest.pictures else f"'{benchmark.manifest.name}' has none"
    raise UserError(f"--metric {metrics[0]} reads pictures and {why}: leave it out")


def pick_device(wanted: str) -> str:
    """`auto` means the first GPU if there is one, else the CPU.

    Raises:
        UserError: a device this machine does not have.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if not re.fullmatch(r"cpu|cuda(:\d+)?", wanted):
            raise RuntimeError("it is neither cpu nor cuda nor cuda:N")
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device '{wanted}' cannot be used: {shorten(str(error), 100)}; try --device cpu") from None
    return wanted


def plan_stage(
    folder: RunFolder, benchmark: Benchmark, system: System, items: tuple[Item, ...], progress: Progress,
    prices: Prices = NO_PRICES,
) -> None:  # fmt: skip
    """Ask the system for every item it has not answered yet."""
    answered = {k for k, row in folder.planned().items() if row.outcome is not Outcome.INFRA_FAILED}
    todo = [item.input for item in items if item.id not in answered]
    progress.tick("plan", len(items) - len(todo), len(items))
    if not todo:
        return
    keep(system, folder.path)
    try:
        ready(system, benchmark)
        batch = int(getattr(system, "plan_batch", PLAN_BATCH))
        with Journal(folder.plans) as book:
            chats = (handed(chat, benchmark.root) for chat in todo)
            for row, (chat, answer, spent) in enumerate(ask(system, chats, benchmark.catalog, batch), 1):
                book.append(planned(chat.id, answer, spent, prices).model_dump(mode="json"))
                progress.tick("plan", len(items) - len(todo) + row, len(items))
    finally:
        done(system)


def planned(item: str, answer: Plan | Failure, spent: Spent, prices: Prices) -> PlannedRow:
    """A line of plans.jsonl."""
    costs = spent.costs.model_copy(update={"usd": prices.of(spent.costs)})
    known = {
        "item": item,
        "latency": spent.seconds,
        "tokens": costs.tokens,
        "note": spent.note or None,
        **costs.model_dump(),
    }
    if isinstance(answer, Failure):
        return PlannedRow(outcome=answer.outcome, reason=answer.reason, **known)
    return PlannedRow(outcome=Outcome.OK, plan=answer, **known)


def picture_seed(settings: Settings, item: str) -> int:
    """The seed of an item whose plan names none: the same for every system, so that they can share pictures."""
    return int(digest_of([settings.seed, item])[:8], 16)


def drawable(folder: RunFolder, items: tuple[Item, ...]) -> Iterator[tuple[str, Plan]]:
    """(item id, plan) of every item that has a plan, in benchmark order."""
    planned = folder.planned()
    for item in items:
        row = planned.get(item.id)
        if row is not None and row.plan is not None:
            yield item.id, row.plan


def render_stage(
    folder: RunFolder, benchmark: Benchmark, items: tuple[Item, ...], pool: Pool, settings: Settings, device: str,
    progress: Progress,
) -> None:  # fmt: skip
    """Draw every plan that has no picture yet; a picture that vanished from the pool is drawn again."""
    kept = _settled(folder.drawn().values(), pool)
    plans = list(drawable(folder, items))
    todo = [(item, plan) for item, plan in plans if item not in kept]
    done = len(plans) - len(todo)
    progress.tick("render", done, len(plans))
    with Journal(folder.pictures) as book, drawing_with(settings, benchmark, pool, device) as executor:
        for row in draw(
            todo, benchmark, pool, seed_of=lambda item: picture_seed(settings, item),
            batch_size=settings.batch_size, device=device, executor=executor,
        ):  # fmt: skip
            book.append(row.model_dump(mode="json"))
            done += row.outcome is not Outcome.INFRA_FAILED
            progress.tick("render", done, len(plans))


@contextmanager
def drawing_with(settings: Settings, benchmark: Benchmark, pool: Pool, device: str) -> Iterator[Executor | None]:
    """The executor that was asked for, closed at the end; None for one in this process."""
    if settings.executor == "inline":
        yield None
        return
    executor = _several(settings, benchmark, pool, device)
    try:
        yield executor
    finally:
        executor.close()


def _several(settings: Settings, benchmark: Benchmark, pool: Pool, device: str) -> Executor:
    if settings.executor == "local":
        return LocalExecutor(benchmark, pool, settings.batch_size, devices_for(device, settings.workers))
    from chatgenbench.render.ray_executor import RayExecutor

    return RayExecutor(
        benchmark, pool, settings.batch_size, device, address=settings.ray_address, workers=settings.workers
    )


def _settled(rows: Collection[DrawnRow], pool: Pool) -> set[str]:
    """Items that need no drawing: they failed for good, or their very picture is in the pool."""
    failed = {row.item for row in rows if row.outcome is Outcome.SYSTEM_FAILED}
    named = {row.item: (row.picture, row.image_sha256) for row in rows if row.outcome is Outcome.OK and row.picture}
    there = dict(pool.checksums({picture for picture, _ in named.values()}))
    return failed | {item for item, (picture, sha256) in named.items() if there[picture] == sha256}


def score_stage(
    folder: RunFolder, benchmark: Benchmark, items: tuple[Item, ...], pool: Pool, settings: Settings,
    scorers: Scorers, progress: Progress,
) -> Finished:  # fmt: skip
    """Score every row, write scores.parquet, submission.csv and summary.json."""
    from t2imetrics.errors import MetricError

    from chatgenbench.evaluate.score import score
    from chatgenbench.evaluate.submission import write_tables
    from chatgenbench.evaluate.summary import HEADLINE, summarise

    rows = join(folder, benchmark, items)
    try:
        scored = score(
            rows, benchmark, folder, pool.picture, scorers, settings.text, home() / "features", progress.tick
        )
    except MetricError as error:
        raise BenchmarkError(shorten(str(error), 300)) from None
    write_tables(folder, rows, scored)
    inputs = _inputs(scored, rows, settings)
    if (old := _summary_of(folder, inputs)) is not None:
        return Finished(folder, rows, old)
    summary = summarise(rows, scored, settings.seed, partial(progress.tick, "intervals"))
    summary["run"] = {
        "system": settings.system, "benchmark": benchmark.manifest.name, "label": benchmark.manifest.label,
        "items_in_benchmark": len(benchmark.items), "text": settings.text, "state": state_of(rows),
        "extra": [m for m in settings.metrics if m not in HEADLINE], "inputs": inputs, "draw": settings.draw,
        "weights": {name: _weights(card) for name, card in scored.cards.items()},
        "bases": with_bases(benchmark, dict(settings.bases)).rules if settings.draw else {},
    }  # fmt: skip
    write_json(folder.summary, summary)
    return Finished(folder, rows, summary)


def _inputs(scored: Scored, rows: list[Row], settings: Settings) -> str:
    """Digest of all that a summary is made of; the same inputs have the same intervals, which take a while."""
    from chatgenbench.evaluate.score import SCORING

    numbers = [[name, column.tobytes().hex()] for name, column in scored.values.items()]
    sets = [hashlib.sha256(array.tobytes()).hexdigest() for array in (scored.features, scored.reference)]
    told = [[row.reason, row.drawn and row.drawn.approximated, costs_of(row)] for row in rows]
    weights = {name: _weights(card) for name, card in scored.cards.items()}
    return digest_of([
        chatgenbench.__version__, SCORING, settings.seed, list(settings.metrics), state_of(rows), numbers, sets, told,
        weights,
    ])  # fmt: skip


def costs_of(row: Row) -> list[float | None]:
    """What `summary.json` says of the cost of answers, for one row."""
    told = row.planned
    return [told.latency, told.prompt_tokens, told.completion_tokens, told.device_seconds, told.usd]


def _summary_of(folder: RunFolder, inputs: str) -> dict[str, Any] | None:
    """summary.json if it was made of these inputs."""
    try:
        summary: dict[str, Any] = json.loads(folder.summary.read_text("utf-8"))
        return summary if summary["run"]["inputs"] == inputs else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def state_of(rows: list[Row]) -> str:
    """Digest of what was scored: which items, how each ended, which pictures."""
    return digest_of([[row.item.id, row.outcome, row.image_sha256] for row in rows])


def _weights(card: Any) -> dict[str, Any]:
    if card.weights is None:
        return {"name": "none", "revision": None, "sha256": None, "files": None}
    known = {key: getattr(card.weights, key) for key in ("name", "revision", "sha256")}
    return {**known, "files": getattr(card.weights, "files", "") or None}


def read_finished(path: Path, benchmark: Benchmark) -> Finished:
    """A run that is already on disk, for reports.

    Raises:
        BenchmarkError: the benchmark changed since.
        RunFolderError: another version of the program scored it.
    """
    from chatgenbench.evaluate.score import SCORING

    folder = RunFolder(path)
    manifest = folder.read_manifest()
    if manifest["identity"].get("benchmark_hash") != benchmark.hash:
        raise BenchmarkError(f"{path} was run on another version of '{benchmark.manifest.name}': evaluate again")
    items = benchmark.subset(manifest["settings"].get("limit"))
    rows = join(folder, benchmark, items)
    try:
        summary = json.loads(folder.summary.read_text("utf-8"))
        finished = summary["run"]["state"] == state_of(rows)
    except (OSError, ValueError, TypeError, KeyError):
        finished = False
    if not finished:
        raise InfraError(f"{path} is not finished: type its eval command again")
    if summary.get("scoring") != SCORING:
        raise RunFolderError(f"{path} was scored by another version of chatgenbench: type its eval command again")
    return Finished(folder, rows, summary)
