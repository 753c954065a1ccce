"""What a schedule would come to: the very backlog that executors use, with a clock that only jumps.

For `--dry-run`, and for sizes that nobody draws twice (benchmarks/simulate_render.py).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chatgenbench.render.backlog import Backlog, Batch
from chatgenbench.render.costs import Costs, Weights
from chatgenbench.render.leases import Lease

#: Seconds to have files on the machine, which are hidden where they are asked for early enough.
Fetching = Callable[[Weights, Weights | None], float]


@dataclass(frozen=True)
class Simulated:
    """Outcome of a schedule: times in seconds, `drawing`, `loading` and `waiting` summed over all workers."""

    workers: int
    seconds: float
    drawing: float
    loading: float
    waiting: float
    bases: int
    loras: int

    @property
    def busy(self) -> float:
        """Share of the workers' time that draws, 0..1."""
        return self.drawing / (self.workers * self.seconds) if self.seconds else 0.0


@dataclass
class _Worker:
    weights: Weights | None = None
    ready: dict[Weights, float] = field(default_factory=dict)


@dataclass
class _Sums:
    drawing: float = 0.0
    loading: float = 0.0
    waiting: float = 0.0
    bases: int = 0
    loras: int = 0


def simulate(
    leases: Sequence[Lease], batch_size: int, workers: int, costs: Costs, fetching: Fetching | None = None
) -> Simulated:
    """Let `workers` draw `leases` as an executor would have them do.

    Args:
        costs: what each call and load takes, in seconds.
        fetching: what has to happen before a load and goes on in the background once a worker is told; None: nothing.
    """
    backlog, crew, sums = Backlog(leases, batch_size, costs), [_Worker() for _ in range(workers)], _Sums()
    free, idle, end = [(0.0, at) for at in range(workers)], set[int](), 0.0
    while free:
        now, at = heapq.heappop(free)
        for one in sorted({at, *idle}):
            batch = backlog.take(crew[one].weights, [w.weights for w in crew if w is not crew[one] and w.weights])
            if batch is None:
                idle.add(one)
                continue
            idle.discard(one)
            finish = now + _spent(crew[one], batch, now, costs, fetching, sums)
            heapq.heappush(free, (finish, one))
            end = max(end, finish)
    return Simulated(workers, end, **vars(sums))


def _spent(worker: _Worker, batch: Batch, now: float, costs: Costs, fetching: Fetching | None, sums: _Sums) -> float:
    """Seconds until `worker` has drawn `batch`, with what it has to wait for and to load first."""
    held, wanted = worker.weights, batch.weights
    wait = 0.0
    if fetching is not None and held != wanted:
        ready = worker.ready.pop(wanted, None)
        wait = fetching(wanted, held) if ready is None else max(0.0, ready - now)
    load = costs.loading(wanted, held)
    draw = costs.drawing(batch.requests)
    if fetching is not None and batch.then is not None and batch.then not in worker.ready:
        worker.ready = {batch.then: now + wait + load + fetching(batch.then, wanted)}
    sums.bases += held is None or held[0] != wanted[0]
    sums.loras += wanted[1] is not None and held != wanted
    sums.waiting += wait
    sums.loading += load
    sums.drawing += draw
    worker.weights = wanted
    return wait + load + draw
