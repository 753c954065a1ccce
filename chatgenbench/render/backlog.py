"""Which batch a worker draws next: pure bookkeeping, shared by every executor with more than one process.

A worker stays with the weights it holds as long as there is work for them, then takes a base that nobody holds, and
only then helps out with another worker's base.  Batches are cut where an inline run cuts them and keep their members
when a worker dies, so the pictures are those of an inline run, bit by bit.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from chatgenbench.render.leases import Lease
from chatgenbench.schema import RenderRequest

#: (sha256 of the base, sha256 of the LoRA on it or None)
Weights = tuple[str, str | None]

#: Batches left of a base that another worker holds for which loading it once more is worth the while.
WORTH_A_LOAD = 2
#: Workers that may die over one batch.  Then its members are drawn alone, and the same again ends one for good.
DEATHS = 3


@dataclass(frozen=True)
class Batch:
    """Requests that one pipeline call draws together."""

    requests: tuple[RenderRequest, ...]

    @property
    def weights(self) -> Weights:
        """What a worker must hold to draw it."""
        return self.requests[0].checkpoint, self.requests[0].lora


class Backlog:
    """Batches that wait, by base and LoRA in the order of the leases.

    Args:
        leases: what is to be drawn.
        batch_size: pictures per pipeline call, at least 1.
    """

    def __init__(self, leases: Iterable[Lease], batch_size: int) -> None:
        self._bases: dict[str, dict[Weights, deque[Batch]]] = {}
        self._left: Counter[str] = Counter()
        self._deaths: Counter[tuple[str, ...]] = Counter()
        for lease in leases:
            for start in range(0, len(lease.requests), batch_size):
                self._add(Batch(lease.requests[start : start + batch_size]), last=True)

    def __len__(self) -> int:
        """Batches that wait."""
        return self._left.total()

    def take(self, mine: Weights | None, others: Collection[Weights]) -> Batch | None:
        """The next batch for a worker that holds `mine` (None: nothing yet) while the others hold `others`.

        None when nothing waits that would be worth a load.
        """
        base = self._base(mine, {held[0] for held in others})
        if base is None:
            return None
        waiting = self._bases[base]
        if mine is not None and mine in waiting:
            return self._pop(mine)
        return self._pop(min(waiting, key=lambda pair: (pair in others, -len(waiting[pair]))))

    def died(self, batch: Batch, missing: Sequence[RenderRequest]) -> tuple[RenderRequest, ...]:
        """A worker died over `batch`, of which `missing` have no picture: they wait again.

        Returns those that have cost too many workers and are given up.
        """
        if not missing:
            return ()
        again = Batch(tuple(missing))
        name = tuple(request.digest for request in missing)
        self._deaths[name] += 1
        if self._deaths[name] < DEATHS:
            self._add(again, last=False)
        elif len(missing) > 1:
            for request in reversed(missing):
                self._add(Batch((request,)), last=False)
        else:
            return again.requests
        return ()

    def _base(self, mine: Weights | None, held: Collection[str]) -> str | None:
        if mine is not None and mine[0] in self._bases:
            return mine[0]
        free = max((base for base in self._bases if base not in held), key=self._left.__getitem__, default=None)
        if free is not None:
            return free
        most = max(self._bases, key=self._left.__getitem__, default=None)
        return most if most is not None and self._left[most] >= WORTH_A_LOAD else None

    def _add(self, batch: Batch, last: bool) -> None:
        base = batch.weights[0]
        waiting = self._bases.setdefault(base, {}).setdefault(batch.weights, deque())
        (waiting.append if last else waiting.appendleft)(batch)
        self._left[base] += 1

    def _pop(self, weights: Weights) -> Batch:
        base = weights[0]
        batch = self._bases[base][weights].popleft()
        self._left[base] -= 1
        if not self._bases[base][weights]:
            del self._bases[base][weights]
        if not self._bases[base]:
            del self._bases[base], self._left[base]
        return batch
