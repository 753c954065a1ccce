"""The ceiling: answers every chat with the plan of the human whose picture it was written about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.schema import Demonstration, Failure, FreestyleInput, Plan
from chatgenbench.systems.declare import builtin


@builtin("oracle", "the gold plan itself, seed included: the ceiling of every metric")
class Oracle:
    """Looks the answer up; the only system that may."""

    name = "oracle"
    revision = "1"

    def __init__(self, benchmark: Benchmark, seed: int) -> None:
        self._benchmark = benchmark

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        """Nothing to learn."""

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Plan | Failure]:
        for chat in inputs:
            item = self._benchmark.by_id.get(chat.id)
            if item is None:
                yield Failure(reason=f"no item of this benchmark has the id '{chat.id[:80]}'")
            else:
                yield self._benchmark.gold(item).plan
