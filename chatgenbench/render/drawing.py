"""Plans in, pictures out: the entry of this package for a run.

Pictures that lie in the pool are not drawn again, items that ask for the same picture share it, and every item ends
as exactly one row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError, InfraError, RenderError, shorten
from chatgenbench.render.checkpoints import dtype_name
from chatgenbench.render.executor import Executor, Picture, Undrawn
from chatgenbench.render.leases import lease_requests
from chatgenbench.render.pool import Pool
from chatgenbench.render.requests import engine_fingerprint, request_for
from chatgenbench.schema import DrawnRow, Outcome, Plan, RenderRequest

SeedOf = Callable[[str], int]


@dataclass(frozen=True)
class Asked:
    """What the rows of a run ask for.

    Attributes:
        failed: rows that can never be drawn, in order.
        requests: unique requests by digest, in order of first asking.
        items: for each digest, the items that share it with what each could only approximate.
    """

    failed: tuple[DrawnRow, ...]
    requests: Mapping[str, RenderRequest]
    items: Mapping[str, list[tuple[str, str | None]]]


def ask(rows: Iterable[tuple[str, Plan]], benchmark: Benchmark, seed_of: SeedOf, engine: str) -> Asked:
    """Turn (item, plan) rows into unique requests; what cannot be drawn fails here, before any weight is loaded."""
    failed: list[DrawnRow] = []
    requests: dict[str, RenderRequest] = {}
    items: dict[str, list[tuple[str, str | None]]] = {}
    for item, plan in rows:
        try:
            request, note = request_for(plan, benchmark, seed_of(item), engine)
        except RenderError as error:
            failed.append(_row(item, Outcome.SYSTEM_FAILED, error))
        except BenchmarkError as error:
            failed.append(_row(item, Outcome.INFRA_FAILED, error))
        else:
            requests.setdefault(request.digest, request)
            items.setdefault(request.digest, []).append((item, note))
    return Asked(tuple(failed), requests, items)


def draw(
    rows: Iterable[tuple[str, Plan]],
    benchmark: Benchmark,
    pool: Pool,
    *,
    seed_of: SeedOf,
    batch_size: int = 4,
    device: str = "cpu",
    executor: Executor | None = None,
) -> Iterator[DrawnRow]:
    """Draw the plans of a run.

    Args:
        rows: (item id, plan).
        benchmark: catalog and weights.
        pool: where pictures are looked for and put.
        seed_of: item id -> seed in 0..2**63, for plans that name none.
        batch_size: pictures per pipeline call.
        device: "cpu", "cuda" or "cuda:N".
        executor: draws instead of an inline one made from the two arguments above; it is left open.

    Yields:
        One row per item, as soon as it is known; not in the order of `rows`.  A plan that cannot be drawn ends
        `system-failed`.  When disk or device fail, drawing stops and every row still open ends `infra-failed`.
    """
    asked = ask(rows, benchmark, seed_of, engine_fingerprint(device, dtype_name(device)))
    yield from asked.failed
    open_requests = dict(asked.requests)
    try:
        for result in _results(open_requests, benchmark, pool, batch_size, device, executor):
            del open_requests[result.digest]
            yield from (_finished(result, item, note) for item, note in asked.items[result.digest])
    except (InfraError, OSError) as error:
        for digest in open_requests:
            yield from (_row(item, Outcome.INFRA_FAILED, error) for item, _ in asked.items[digest])


def _results(
    requests: Mapping[str, RenderRequest],
    benchmark: Benchmark,
    pool: Pool,
    batch_size: int,
    device: str,
    executor: Executor | None,
) -> Iterator[Picture | Undrawn]:
    """What lies in the pool first, then what had to be drawn."""
    pool.recover()
    missing = []
    for digest, sha256 in pool.checksums(list(requests)):
        if sha256 is not None:
            yield Picture(digest, sha256, 0.0)
        else:
            missing.append(requests[digest])
    if executor is not None:
        yield from executor.run(lease_requests(missing))
    elif missing:
        from chatgenbench.render.inline import InlineExecutor

        own = InlineExecutor(benchmark, pool, batch_size, device)
        try:
            yield from own.run(lease_requests(missing))
        finally:
            own.close()


def _finished(result: Picture | Undrawn, item: str, note: str | None) -> DrawnRow:
    if isinstance(result, Undrawn):
        return DrawnRow(item=item, outcome=Outcome(result.failure.outcome), reason=result.failure.reason)
    return DrawnRow(
        item=item,
        outcome=Outcome.OK,
        picture=result.digest,
        image_sha256=result.image_sha256,
        approximated=note,
        seconds=result.seconds,
    )


def _row(item: str, outcome: Outcome, error: Exception) -> DrawnRow:
    return DrawnRow(item=item, outcome=outcome, reason=shorten(str(error), 300))
