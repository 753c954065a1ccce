"""Majority vote: the chat as prompt, on the model that most people of the training split used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.schema import Demonstration, FreestyleInput, Plan
from chatgenbench.systems.declare import builtin
from chatgenbench.systems.training import chat_prompt, common_arguments, most_common, require


@builtin("popular", "the chat as prompt, on the most frequent training model with its usual arguments")
class Popular:
    """The best answer that ignores the chat when it chooses model and arguments."""

    name = "popular"
    revision = "1"
    #: Added to every prompt.
    tail = ""

    def __init__(self, benchmark: Benchmark, seed: int) -> None:
        pass

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        require(train, self.name)
        used = {d.id: catalog.get(d.plan.model).id for d in train}
        self._model = most_common(used.values())
        self._arguments = common_arguments(d for d in train if used[d.id] == self._model)

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Plan]:
        for chat in inputs:
            yield Plan(prompt=chat_prompt(chat, self.tail), model=self._model, arguments=self._arguments)
