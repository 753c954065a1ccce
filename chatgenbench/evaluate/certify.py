"""`eval --certify K`: draw K rows again at another batch size and say how far pixels and scores move.

A picture has a generator of its own, so its batch-mates change nothing but the order in which matrix products round.
How much that is on this device and dtype is measured here, on rows that nobody could have chosen: they follow from a
hash over all pictures of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import InfraError
from chatgenbench.evaluate.pipeline import Finished, Progress, check_machine, picture_seed
from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.run import RunFolder, Settings, write_json
from chatgenbench.home import home
from chatgenbench.render import Lease, Pool, Undrawn, engine_fingerprint, lease_requests, request_for
from chatgenbench.render.bases import with_bases
from chatgenbench.render.checkpoints import dtype_name
from chatgenbench.schema import RenderRequest, digest_of

#: Pictures of the second batch of a row that was drawn alone; every other row is then drawn alone.
PAIR = 2


@dataclass(frozen=True)
class Again:
    """One row that is drawn again; `size` is that of its batch in a run that draws all of its pictures itself."""

    row: Row
    request: RenderRequest
    size: int

    @property
    def other(self) -> int:
        """Size of the second batch."""
        return PAIR if self.size == 1 else 1

    @property
    def first(self) -> str:
        """The run's own picture in the pool."""
        assert self.row.drawn is not None
        return str(self.row.drawn.picture)


def certificate_file(folder: RunFolder) -> Path:
    """Where the drift of every row that was drawn again stands."""
    return folder.path / "certificate.json"


def certify(
    run: Finished, settings: Settings, benchmark: Benchmark, first: Pool, progress: Progress, count: int
) -> Finished:
    """The run with `certificate` in its summary (see `drift`), which is written to its folder.

    Killed and called again it goes on where it was.

    Args:
        first: where the run's pictures are.
        count: rows to draw again, at least 1; all that have a picture where there are fewer.

    Raises:
        InfraError: the run is incomplete, or a picture could not be drawn again.
    """
    if run.incomplete:
        raise InfraError(f"{run.folder.path} has rows without a result: complete it first, then certify it")
    device, scorers = check_machine(settings, benchmark)
    benchmark = with_bases(benchmark, dict(settings.bases)).benchmark
    chosen = choose(run, settings, benchmark, device, count)
    pool = Pool(run.folder.path / "certificate")
    _draw(chosen, benchmark, pool, device, progress)
    rows = list(_rows(chosen, first, pool))
    for record, scores in zip(rows, _scores(chosen, run, settings, benchmark, pool, scorers), strict=True):
        record["scores"] = scores
    certificate = {
        "of": run.summary["run"]["state"], "batch_size": settings.batch_size,
        "device": device, "dtype": dtype_name(device), "engine": engine_fingerprint(device, dtype_name(device)),
        **drift(rows),
    }  # fmt: skip
    write_json(certificate_file(run.folder), certificate | {"items": rows})
    summary = run.summary | {"certificate": certificate}
    write_json(run.folder.summary, summary)
    return replace(run, summary=summary)


def certificate_of(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """The certificate in a summary, unless it is of other pictures."""
    found: dict[str, Any] | None = summary.get("certificate")
    return found if found and found["of"] == summary["run"]["state"] else None


def choose(run: Finished, settings: Settings, benchmark: Benchmark, device: str, count: int) -> list[Again]:
    """`count` rows with different pictures, in the order of a hash over all pictures of the run and each row."""
    engine = engine_fingerprint(device, dtype_name(device))
    asked: dict[str, tuple[Row, RenderRequest]] = {}
    for row in run.rows:
        if row.image_sha256 is not None and row.plan is not None:
            request, _ = request_for(row.plan, benchmark, picture_seed(settings, row.item.id), engine)
            asked.setdefault(request.digest, (row, request))
    sizes = _batch_sizes([request for _, request in asked.values()], settings.batch_size)
    state = run.summary["run"]["state"]
    order = sorted(asked.values(), key=lambda pair: digest_of([state, pair[0].item.id]))
    return [Again(row, request, sizes[request.digest]) for row, request in order[:count]]


def _batch_sizes(requests: Sequence[RenderRequest], batch_size: int) -> dict[str, int]:
    """How many pictures a run that draws all of `requests` draws together with each."""
    sizes: dict[str, int] = {}
    for lease in lease_requests(requests):
        for start in range(0, len(lease.requests), batch_size):
            batch = lease.requests[start : start + batch_size]
            sizes |= {request.digest: len(batch) for request in batch}
    return sizes


def _draw(chosen: Sequence[Again], benchmark: Benchmark, pool: Pool, device: str, progress: Progress) -> None:
    from chatgenbench.render.inline import InlineExecutor

    pool.check()
    pool.recover()
    wanted = {again.request.digest: again.other for again in chosen}
    missing = [again.request for again in chosen if not pool.verify(again.request.digest)]
    done = len(chosen) - len(missing)
    progress.tick("certify", done, len(chosen))
    executor = InlineExecutor(benchmark, pool, PAIR, device)
    try:
        for result in executor.run(_leases(missing, wanted)):
            if isinstance(result, Undrawn):
                raise InfraError(f"a picture could not be drawn again: {result.failure.reason}")
            done += result.digest in wanted
            progress.tick("certify", done, len(chosen))
    finally:
        executor.close()


def _leases(requests: Sequence[RenderRequest], sizes: Mapping[str, int]) -> Iterator[Lease]:
    """Each request alone, or with a copy of other noise as its batch-mate."""
    for request in (request for lease in lease_requests(requests) for request in lease.requests):
        mate = request.model_copy(update={"seed": request.seed ^ 1})
        yield Lease((request,) if sizes[request.digest] == 1 else (request, mate))


def _rows(chosen: Sequence[Again], first: Pool, second: Pool) -> Iterator[dict[str, Any]]:
    for again in chosen:
        moved = np.abs(_pixels(first, again.first) - _pixels(second, again.request.digest))
        yield {
            "item": again.row.item.id, "picture": again.first, "batches": [again.size, again.other],
            "max": int(moved.max()), "mean": float(moved.mean()), "changed": float((moved.max(axis=2) > 0).mean()),
        }  # fmt: skip


def _pixels(pool: Pool, name: str) -> Any:
    return np.asarray(pool.read(name).convert("RGB")).astype(np.int16)


def _scores(
    chosen: Sequence[Again], run: Finished, settings: Settings, benchmark: Benchmark, pool: Pool, scorers: Any
) -> list[dict[str, Any]]:
    """metric -> [score of the run, score of the second picture], of each row."""
    from chatgenbench.evaluate.ladder import read_values
    from chatgenbench.evaluate.look import BLOCK, Look

    first = read_values(run.folder)
    paths = {again.first: pool.picture(again.request.digest) for again in chosen}
    look = Look(benchmark, scorers.suite, paths.__getitem__, settings.text, scorers.store(home() / "features"))
    found: list[dict[str, Any]] = []
    for start in range(0, len(chosen), BLOCK):
        block = [again.row for again in chosen[start : start + BLOCK]]
        columns = look.score(block, scorers.image_metrics)
        for at, row in enumerate(block):
            found.append({m: [first[row.item.id][m], float(column[at])] for m, column in columns.items()})
    return found


def drift(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the rows of a certificate come to.

    Returns:
        `rows`; `alone`, those of them that are alone in the second batch, the others being in a pair; `pixels`: `max`
        (0..255, any channel of any pixel), `mean` (over all channels) and `changed` (share of pixels with a changed
        channel); `scores`: metric -> `max` and `mean` of the absolute difference of a row's score.
    """
    scores: dict[str, dict[str, float]] = {}
    for metric in rows[0]["scores"] if rows else ():
        moved = [abs(after - before) for before, after in (row["scores"][metric] for row in rows)]
        scores[metric] = {"max": max(moved), "mean": float(np.mean(moved))}
    return {
        "rows": len(rows),
        "alone": sum(row["batches"][1] == 1 for row in rows),
        "pixels": {
            "max": max((row["max"] for row in rows), default=0),
            "mean": float(np.mean([row["mean"] for row in rows])) if rows else 0.0,
            "changed": float(np.mean([row["changed"] for row in rows])) if rows else 0.0,
        },
        "scores": scores,
    }
