"""Several drawing processes at once: who draws what, and what becomes of the batch of one that dies.

An executor that has such processes says only where they may be, how one is begun, heard and ended; the rest is here.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from chatgenbench.errors import InfraError
from chatgenbench.render.backlog import DEATHS, Backlog, Batch, Weights
from chatgenbench.render.costs import Costs, Even
from chatgenbench.render.executor import Picture, Undrawn
from chatgenbench.render.leases import Lease
from chatgenbench.render.pool import Pool
from chatgenbench.render.worker import Fault, Free, Unfit, Word
from chatgenbench.schema import Failure, Outcome

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gone:
    """A process ended without a word; `how` says what is known of its end, e.g. "exit code -9"."""

    how: str


@dataclass(eq=False, kw_only=True)
class Worker(ABC):
    """One drawing process as the program sees it: where it is, what it holds, and what it is at."""

    place: str
    started: bool = False
    weights: Weights | None = None
    batch: Batch | None = None
    told: set[str] = field(default_factory=set)
    loaded: int = 0

    @property
    def free(self) -> bool:
        return self.started and self.batch is None

    @abstractmethod
    def say(self, batch: Batch) -> None:
        """Give it a batch; one that has just died says so when it is heard."""

    @abstractmethod
    def dismiss(self) -> None:
        """Ask a free one to end by itself."""

    @abstractmethod
    def end(self) -> None:
        """End it now, and wait until it is gone where that can be seen."""


W = TypeVar("W", bound=Worker)


class Crew(ABC, Generic[W]):
    """Keeps the contract of `Executor` with one process per place.

    A worker that dies is replaced, and its batch is drawn again with the same members; a picture that it had put
    into the pool is not.  A batch over which DEATHS workers died is drawn picture by picture, and a picture that
    cost as many again ends `infra-failed`.  A place where nothing can be drawn (`Unfit`) is left alone.

    Args:
        pool: where pictures go.
        batch_size: pictures per pipeline call, at least 1.
    """

    #: What to type when processes end before they begin.
    HINT = "try --executor inline"

    def __init__(self, pool: Pool, batch_size: int) -> None:
        self.pool, self.batch_size = pool, batch_size
        self._crew: list[W] = []
        self._unfit: dict[str, str] = {}
        self._stillborn = 0

    @abstractmethod
    def _places(self) -> Sequence[str]:
        """Where workers may be at this moment, one for each entry; a place may be there several times."""

    @abstractmethod
    def _begin(self, place: str) -> W:
        """Begin a worker; what it says first is Free, Unfit or Fault."""

    @abstractmethod
    def _wait(self) -> Iterable[tuple[W, Word | Gone]]:
        """Words of workers, as soon as there are any; none from time to time where `_places` may change."""

    def _costs(self) -> Costs:
        """What loading and drawing take where the workers are."""
        return Even()

    @property
    def loaded(self) -> int:
        """Loads from disk, of living workers."""
        return sum(worker.loaded for worker in self._crew)

    def run(self, leases: Iterable[Lease]) -> Iterator[Picture | Undrawn]:
        """Draw every request; see `Executor.run`."""
        backlog = Backlog(leases, self.batch_size, self._costs())
        try:
            while len(backlog) or any(worker.batch for worker in self._crew):
                self._hire(len(backlog))
                self._hand_out(backlog)
                for worker, word in self._wait():
                    yield from self._hear(worker, word, backlog)
        finally:
            self._drop_busy()

    def close(self) -> None:
        """End every process; a batch that is being drawn is given up."""
        for worker in self._crew:
            if worker.free:
                worker.dismiss()
        for worker in self._crew:
            worker.end()
        self._crew.clear()

    def _drop_busy(self) -> None:
        """End what a broken-off run left at work: its results belong to nobody."""
        for worker in [worker for worker in self._crew if worker.batch is not None]:
            self._dismiss(worker)

    def _hire(self, waiting: int) -> None:
        """Begin workers until there is one per place, or one per batch where there are fewer."""
        places = [place for place in self._places() if place not in self._unfit]
        if not places and not self._crew and self._unfit:
            raise InfraError(next(iter(self._unfit.values())))
        busy = sum(worker.batch is not None for worker in self._crew)
        missing = min(len(places), busy + waiting) - len(self._crew)
        unmanned = Counter(places) - Counter(worker.place for worker in self._crew)
        for place in list(unmanned.elements())[: max(0, missing)]:
            self._crew.append(self._begin(place))

    def _hand_out(self, backlog: Backlog) -> None:
        for worker in self._crew:
            if not worker.free:
                continue
            others = [other.weights for other in self._crew if other is not worker and other.weights]
            worker.batch = backlog.take(worker.weights, others)
            if worker.batch is not None:
                worker.weights, worker.told = worker.batch.weights, set()
                worker.say(worker.batch)

    def _hear(self, worker: W, word: Word | Gone, backlog: Backlog) -> Iterator[Picture | Undrawn]:
        if isinstance(word, Gone):
            yield from self._replace(worker, word.how, backlog)
        elif isinstance(word, Fault):
            raise InfraError(word.reason)
        elif isinstance(word, Unfit):
            self._leave_alone(worker, word.reason)
        elif isinstance(word, Free):
            self._stillborn = 0
            worker.started, worker.batch, worker.loaded = True, None, word.loaded
        else:
            worker.told.add(word.digest)
            yield word

    def _leave_alone(self, worker: W, reason: str) -> None:
        if worker.place not in self._unfit:
            log.warning("%s", reason)
        self._unfit[worker.place] = reason
        self._dismiss(worker)

    def _dismiss(self, worker: W) -> None:
        self._crew.remove(worker)
        worker.end()

    def _replace(self, worker: W, how: str, backlog: Backlog) -> Iterator[Picture | Undrawn]:
        """Put back what a dead worker was at; what it had finished without a word is in the pool."""
        self._dismiss(worker)
        if not worker.started:
            self._stillborn += 1
            if self._stillborn >= max(DEATHS, len(self._crew)):
                raise InfraError(f"{self._stillborn} drawing processes ended before they began ({how}): {self.HINT}")
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
        reason = f"{DEATHS} drawing processes ended over it ({how})"
        for request in backlog.died(worker.batch, missing):
            yield Undrawn(request.digest, Failure(outcome=Outcome.INFRA_FAILED, reason=reason))
