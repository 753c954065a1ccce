"""Which batch a worker draws next: pure bookkeeping, shared by every executor with more than one process.

A worker stays with the weights it holds as long as there is work for them, then takes the base that nobody holds and
that will take longest (longest processing time first, so that what is left at the end is short), and only then helps
out with another worker's base, if loading it once more ends sooner than leaving it alone.  Batches are cut where an
inline run cuts them and keep their members when a worker dies, so the pictures are those of an inline run, bit by bit,
whatever the costs say.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from chatgenbench.render.costs import Costs, Even
from chatgenbench.render.costs import Weights as Weights
from chatgenbench.render.leases import Lease
from chatgenbench.schema import RenderRequest

#: Workers that may die over one batch.  Then its members are drawn alone, and the same again ends one for good.
DEATHS = 3
#: The next base is made ready when what is left of the present one takes less than so many loads of it.
AHEAD = 1.5


@dataclass(frozen=True)
class Batch:
    """Requests that one pipeline call draws together.

    `then` is what its worker will probably need next, to be made ready meanwhile; None: nothing new.
    """

    requests: tuple[RenderRequest, ...]
    then: Weights | None = field(default=None, compare=False)

    @property
    def weights(self) -> Weights:
        """What a worker must hold to draw it."""
        return self.requests[0].checkpoint, self.requests[0].lora


class Backlog:
    """Batches that wait, by base and LoRA in the order of the leases.

    Args:
        leases: what is to be drawn.
        batch_size: pictures per pipeline call, at least 1.
        costs: what drawing and loading take; None: every batch and every base the same.
    """

    def __init__(self, leases: Iterable[Lease], batch_size: int, costs: Costs | None = None) -> None:
        self._costs: Costs = costs or Even()
        self._bases: dict[str, dict[Weights, deque[Batch]]] = {}
        self._left: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}
        self._promised: dict[str, str] = {}
        self._deaths: Counter[tuple[str, ...]] = Counter()
        for lease in leases:
            for start in range(0, len(lease.requests), batch_size):
                self._add(Batch(lease.requests[start : start + batch_size]), last=True)
        self._longest = [(-self._whole(base), at, base) for at, base in enumerate(self._bases)]
        heapq.heapify(self._longest)

    def __len__(self) -> int:
        """Batches that wait."""
        return self._left.total()

    def take(self, mine: Weights | None, others: Collection[Weights]) -> Batch | None:
        """The next batch for a worker that holds `mine` (None: nothing yet) while the others hold `others`.

        None when nothing waits that would be worth a load.
        """
        held = Counter(weights[0] for weights in others)
        base = self._base(mine, held)
        if base is None:
            return None
        batch = self._pop(self._pair(base, mine, others))
        return replace(batch, then=self._after(batch.weights, others, held))

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
            self._again(again)
        elif len(missing) > 1:
            for request in reversed(missing):
                self._again(Batch((request,)))
        else:
            return again.requests
        return ()

    def _base(self, mine: Weights | None, held: Counter[str]) -> str | None:
        if mine is not None and mine[0] in self._bases:
            return mine[0]
        free = self._free(mine[0] if mine else None, held)
        if free is not None:
            return free
        helped = max(self._bases, key=lambda base: self._seconds[base] / max(1, held[base]), default=None)
        return helped if helped is not None and self._is_worth_a_load(helped, mine, held[helped]) else None

    def _is_worth_a_load(self, base: str, mine: Weights | None, holders: int) -> bool:
        """Whether a newcomer ends a first batch before those who hold the base would end all that waits."""
        pair = self._pair(base, mine, ())
        first = self._costs.loading(pair, mine) + self._costs.drawing(self._bases[base][pair][0].requests)
        return first <= self._seconds[base] / max(1, holders)

    def _free(self, mine: str | None, held: Counter[str]) -> str | None:
        """The base promised to the holder of `mine`, or the longest that nobody holds, promised ones last."""
        promised = self._promised.get(mine) if mine else None
        if promised in self._bases and not held[promised]:
            return promised
        spoken_for = set(self._promised.values())
        return self._first(lambda base: not held[base] and base not in spoken_for) or self._first(
            lambda base: not held[base]
        )

    def _first(self, suits: Callable[[str], bool]) -> str | None:
        """The longest base that waits and suits; those that are done leave the heap here."""
        aside, found = [], None
        while self._longest and found is None:
            entry = heapq.heappop(self._longest)
            if entry[2] not in self._bases:
                continue
            aside.append(entry)
            found = entry[2] if suits(entry[2]) else None
        for entry in aside:
            heapq.heappush(self._longest, entry)
        return found

    def _after(self, now: Weights, others: Collection[Weights], held: Counter[str]) -> Weights | None:
        """What a worker that holds `now` will need next, if it is time to make it ready."""
        waiting = self._bases.get(now[0], {})
        rest = [pair for pair in waiting if pair != now]
        if rest:
            return self._longest_pair(now[0], rest, others)
        base = self._free(now[0], held + Counter([now[0]]))
        if base is None:
            return None
        pair = self._pair(base, None, ())
        if self._seconds.get(now[0], 0.0) > AHEAD * self._costs.loading(pair, now):
            return None
        self._promised[now[0]] = base
        return pair

    def _pair(self, base: str, mine: Weights | None, others: Collection[Weights]) -> Weights:
        waiting = self._bases[base]
        return mine if mine is not None and mine in waiting else self._longest_pair(base, waiting, others)

    def _longest_pair(self, base: str, pairs: Iterable[Weights], others: Collection[Weights]) -> Weights:
        """The LoRA with the most batches, better one that nobody draws with."""
        return min(pairs, key=lambda pair: (pair in others, -len(self._bases[base][pair])))

    def _whole(self, base: str) -> float:
        return self._seconds[base] + self._costs.loading((base, None), None)

    def _again(self, batch: Batch) -> None:
        self._add(batch, last=False)
        base = batch.weights[0]
        heapq.heappush(self._longest, (-self._whole(base), len(self._longest), base))

    def _add(self, batch: Batch, last: bool) -> None:
        base = batch.weights[0]
        waiting = self._bases.setdefault(base, {}).setdefault(batch.weights, deque())
        (waiting.append if last else waiting.appendleft)(batch)
        self._left[base] += 1
        self._seconds[base] = self._seconds.get(base, 0.0) + self._costs.drawing(batch.requests)

    def _pop(self, weights: Weights) -> Batch:
        base = weights[0]
        batch = self._bases[base][weights].popleft()
        self._left[base] -= 1
        self._seconds[base] -= self._costs.drawing(batch.requests)
        if not self._bases[base][weights]:
            del self._bases[base][weights]
        if not self._bases[base]:
            del self._bases[base], self._left[base], self._seconds[base]
        for holder in [holder for holder, promised in self._promised.items() if promised == base]:
            del self._promised[holder]
        return batch
