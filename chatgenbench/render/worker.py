"""A drawing process: takes batches from its pipe, draws them inline, and never outlives the program that began it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from typing import TYPE_CHECKING, Any

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import InfraError
from chatgenbench.quiet import quiet
from chatgenbench.render.backlog import Batch
from chatgenbench.render.executor import Picture, Undrawn
from chatgenbench.render.leases import Lease
from chatgenbench.render.pool import Pool

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from chatgenbench.render.inline import InlineExecutor


@dataclass(frozen=True)
class Duty:
    """What a drawing process needs to know; the meaning of each is that of `InlineExecutor`'s arguments."""

    benchmark: Benchmark
    pool: str
    batch_size: int
    device: str
    limit: int
    threads: int


@dataclass(frozen=True)
class Free:
    """The worker waits for a batch; `loaded` counts its loads from disk so far."""

    loaded: int


@dataclass(frozen=True)
class Fault:
    """The machine failed, and would fail every further request: see InfraError."""

    reason: str


@dataclass(frozen=True)
class Unfit:
    """Nothing can be drawn where this worker is, though it may be elsewhere; the reason says how to mend it."""

    reason: str


#: What a worker says: it is free, a result, or why it cannot go on.
Word = Free | Picture | Undrawn | Fault | Unfit


def work(channel: Connection[Any, Any], duty: Duty) -> None:
    """Draw every batch that comes through `channel` until None comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the program says when to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _lock_without_semaphore()
    with quiet():
        executor = painter(duty)
        try:
            channel.send(Free(0))
            while (batch := channel.recv()) is not None:
                for word in words(executor, batch):
                    channel.send(word)
        except (EOFError, OSError):  # nobody listens any more
            return


def painter(duty: Duty) -> InlineExecutor:
    """What draws in this process."""
    from chatgenbench.render.inline import InlineExecutor

    _limit_threads(duty)
    return InlineExecutor(duty.benchmark, Pool(duty.pool), duty.batch_size, duty.device, duty.limit)


def words(executor: InlineExecutor, batch: Batch) -> Iterator[Word]:
    """Draw a batch: a word for each result as soon as it is there, and at last Free, or Fault."""
    try:
        yield from executor.run([Lease(batch.requests)], batch.then)
    except (InfraError, OSError) as error:
        yield Fault(str(error))
    else:
        yield Free(executor.shelf.loaded)


def _lock_without_semaphore() -> None:
    """Progress bars, though off, share a semaphore, of which Python complains where a process that had it is killed."""
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())


def _limit_threads(duty: Duty) -> None:
    import torch

    if duty.device == "cpu":
        torch.set_num_threads(duty.threads)


def _end_with_parent() -> None:
    """A killed program sends no word: its end is seen here, and the pool takes a batch whole or not at all."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
