"""Draw with several processes of this machine: one per GPU, or a few on a CPU."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from chatgenbench.benchmark import Benchmark
from chatgenbench.render.backlog import Batch
from chatgenbench.render.checkpoints import LIMIT
from chatgenbench.render.costs import Costs, known_costs
from chatgenbench.render.crew import Crew, Gone, Worker
from chatgenbench.render.pool import Pool
from chatgenbench.render.worker import Duty, Word, work

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

#: Drawing processes on a machine without a GPU, unless told otherwise.
CPU_WORKERS = 2
#: Seconds that a worker gets to end by itself.
PATIENCE = 5.0


@dataclass(eq=False, kw_only=True)
class _Process(Worker):
    """A worker that is a process of this machine; its place is its device."""

    process: SpawnProcess
    channel: Connection[Any, Any]

    def say(self, batch: Batch | None) -> None:
        with contextlib.suppress(OSError):  # one that has just died is seen when its pipe is read
            self.channel.send(batch)

    def dismiss(self) -> None:
        self.say(None)

    def end(self) -> None:
        if self.free:
            self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()
        self.channel.close()


class LocalExecutor(Crew[_Process]):
    """Keeps the contract of `Executor` with one process per entry of `devices`; see `Crew` for those that die.

    Args:
        benchmark: catalog and weights.
        pool: where pictures go.
        batch_size: pictures per pipeline call, at least 1.
        devices: one process for each, e.g. ("cuda:0", "cuda:1") or ("cpu", "cpu").
        limit: bytes of weights that each process keeps warm.
    """

    HINT = "try --executor inline, or fewer --workers"

    def __init__(
        self, benchmark: Benchmark, pool: Pool, batch_size: int, devices: Sequence[str], limit: int = LIMIT
    ) -> None:
        super().__init__(pool, batch_size)
        self.devices = tuple(devices)
        self._benchmark, self._limit = benchmark, limit

    def _costs(self) -> Costs:
        return known_costs(self._benchmark, self.devices[0])

    def _places(self) -> Sequence[str]:
        return self.devices

    def _begin(self, place: str) -> _Process:
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        threads = max(1, (os.cpu_count() or 1) // len(self.devices))
        duty = Duty(self._benchmark, self.pool.spec, self.batch_size, place, self._limit, threads)
        process = spawn.Process(target=work, args=(theirs, duty), daemon=True, name=f"chatgenbench-draw-{place}")
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        return _Process(place=place, process=process, channel=ours)

    def _wait(self) -> Iterator[tuple[_Process, Word | Gone]]:
        by_channel: dict[Any, _Process] = {worker.channel: worker for worker in self._crew}
        for channel in connection.wait(list(by_channel)):
            worker = by_channel[channel]
            yield worker, _heard(worker)


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


def _heard(worker: _Process) -> Word | Gone:
    try:
        word: Word = worker.channel.recv()
    except (EOFError, OSError):
        worker.process.kill()
        worker.process.join()
        return Gone(f"exit code {worker.process.exitcode}")
    return word
