"""No system at all: the chat as prompt on the benchmark's default model (the "Baseline" rows of ChatGen)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.schema import Demonstration, FreestyleInput, Plan
from chatgenbench.systems.declare import builtin
from chatgenbench.systems.training import chat_prompt, common_arguments, require


@builtin("echo", "the chat as prompt, on the benchmark's default model with the usual arguments")
class Echo:
    """What people get who type their wish into a bare Stable Diffusion."""

    name = "echo"
    revision = "1"

    def __init__(self, benchmark: Benchmark, seed: int) -> None:
        self._default = benchmark.manifest.default_model

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        require(train, self.name)
        self._model = catalog.get(self._default).id
        self._arguments = common_arguments(train)

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Plan]:
        for chat in inputs:
            yield Plan(prompt=chat_prompt(chat), model=self._model, arguments=self._arguments)
