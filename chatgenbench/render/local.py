"""Draw with several processes of this machine: one per GPU, or a few on a CPU."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import InfraError
from chatgenbench.render.backlog import DEATHS, Backlog, Batch, Weights
from chatgenbench.render.checkpoints import LIMIT
from chatgenbench.render.executor import Picture, Undrawn
from chatgenbench.render.leases import Lease
from chatgenbench.render.pool import Pool
from chatgenbench.render.worker import Duty, Fault, Free, Word, work
from chatgenbench.schema import Failure, Outcome

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

#: Drawing processes on a machine without a GPU, unless told otherwise.
CPU_WORKERS = 2
#: Seconds that a worker gets to end by itself.
PATIENCE = 5.0


@dataclass
class _Worker:
    """One process, what it holds, and what it is at."""

    process: SpawnProcess
    channel: Connection[Any, Any]
    device: str
    started: bool = False
    weights: Weights | None = None
    batch: Batch | None = None
    told: set[str] = field(default_factory=set)
    loaded: int = 0

    @property
    def free(self) -> bool:
        return self.started and self.batch is None


class LocalExecutor:
    """Keeps the contract of `Executor` with one process per entry of `devices`.

    A worker that dies is replaced, and its batch is drawn again with the same members; a picture that it had put
    into the pool is not.  A batch over which three workers died is drawn picture by picture, and a picture that
    cost three more ends `infra-failed`.

    Args:
        benchmark: catalog and weights.
        pool: where pictures go.
        batch_size: pictures per pipeline call, at least 1.
        devices: one process for each, e.g. ("cuda:0", "cuda:1") or ("cpu", "cpu").
        limit: bytes of weights that each process keeps warm.
    """

    def __init__(
        self, benchmark: Benchmark, pool: Pool, batch_size: int, devices: Sequence[str], limit: int = LIMIT
    ) -> None:
        self.pool, self.batch_size, self.devices = pool, batch_size, tuple(devices)
        self._benchmark, self._limit = benchmark, limit
        self._crew: list[_Worker] = []
        self._stillborn = 0

    @property
    def loaded(self) -> int:
        """Loads from disk, of living workers."""
        return sum(worker.loaded for worker in self._crew)

    def run(self, leases: Iterable[Lease]) -> Iterator[Picture | Undrawn]:
        """Draw every request; see `Executor.run`."""
        backlog = Backlog(leases, self.batch_size)
        try:
            while len(backlog) or any(worker.batch for worker in self._crew):
                self._hire(len(backlog))
                self._hand_out(backlog)
                for worker in self._wait():
                    yield from self._hear(worker, backlog)
        finally:
            self._drop_busy()

    def close(self) -> None:
        """End every process; a batch that is being drawn is given up."""
        for worker in self._crew:
            if worker.free:
                _say(worker, None)
        for worker in self._crew:
            if worker.free:
                worker.process.join(PATIENCE)
            _end(worker)
        self._crew.clear()

    def _drop_busy(self) -> None:
        """End what a broken-off run left at work: its results belong to nobody."""
        for worker in [worker for worker in self._crew if worker.batch is not None]:
            self._crew.remove(worker)
            _end(worker)

    def _hire(self, waiting: int) -> None:
        """Begin processes until there is one per device, or one per batch where there are fewer."""
        busy = sum(worker.batch is not None for worker in self._crew)
        unmanned = Counter(self.devices) - Counter(worker.device for worker in self._crew)
        for device in list(unmanned.elements())[: max(0, busy + waiting - len(self._crew))]:
            self._crew.append(self._begin(device))

    def _begin(self, device: str) -> _Worker:
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        threads = max(1, (os.cpu_count() or 1) // len(self.devices))
        duty = Duty(self._benchmark, self.pool.spec, self.batch_size, device, self._limit, threads)
        process = spawn.Process(target=work, args=(theirs, duty), daemon=True, name=f"chatgenbench-draw-{device}")
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        return _Worker(process, ours, device)

    def _hand_out(self, backlog: Backlog) -> None:
        for worker in self._crew:
            if not worker.free:
                continue
            others = {other.weights for other in self._crew if other is not worker and other.weights}
            worker.batch = backlog.take(worker.weights, others)
            if worker.batch is not None:
                worker.weights, worker.told = worker.batch.weights, set()
                _say(worker, worker.batch)

    def _wait(self) -> list[_Worker]:
        """Workers that have said something or ended."""
        by_channel: dict[Any, _Worker] = {worker.channel: worker for worker in self._crew}
        return [by_channel[channel] for channel in connection.wait(list(by_channel))]

    def _hear(self, worker: _Worker, backlog: Backlog) -> Iterator[Picture | Undrawn]:
        try:
            word: Word = worker.channel.recv()
        except (EOFError, OSError):
            yield from self._replace(worker, backlog)
            return
        if isinstance(word, Fault):
            raise InfraError(word.reason)
        if isinstance(word, Free):
            self._stillborn = 0
            worker.started, worker.batch, worker.loaded = True, None, word.loaded
            return
        worker.told.add(word.digest)
        yield word

    def _replace(self, worker: _Worker, backlog: Backlog) -> Iterator[Picture | Undrawn]:
        """Put back what a dead worker was at; what it had finished without a word is in the pool."""
        self._crew.remove(worker)
        _end(worker)
        if not worker.started:
            self._stillborn += 1
            if self._stillborn >= DEATHS:
                raise InfraError(
                    f"{DEATHS} drawing processes ended before they began (exit code {worker.process.exitcode}): "
                    "try --executor inline, or fewer --workers"
                )
        if worker.batch is None:
            return
        self.pool.recover()
        missing = []
        for request in worker.batch.requests:
            if request.digest in worker.told:
                continue
            if self.pool.has(request.digest):
                yield Picture(request.digest, self.pool.sha256(request.digest), 0.0)
            else:
                missing.append(request)
        reason = f"{DEATHS} drawing processes ended over it (exit code {worker.process.exitcode})"
        for request in backlog.died(worker.batch, missing):
            yield Undrawn(request.digest, Failure(outcome=Outcome.INFRA_FAILED, reason=reason))


def devices_for(device: str, workers: int | None) -> tuple[str, ...]:
    """The device of each of `workers` processes; None means one per GPU, or CPU_WORKERS on a CPU.

    Args:
        device: "cpu", "cuda" (every GPU in turn) or "cuda:N" (that one).
        workers: at least 1.
    """
    if device != "cuda":
        return (device,) * (workers or (CPU_WORKERS if device == "cpu" else 1))
    import torch

    count = torch.cuda.device_count()
    return tuple(f"cuda:{at % count}" for at in range(workers or count))


def _say(worker: _Worker, word: Batch | None) -> None:
    """Send; a worker that has just died is seen when its pipe is read."""
    with contextlib.suppress(OSError):
        worker.channel.send(word)


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.channel.close()
