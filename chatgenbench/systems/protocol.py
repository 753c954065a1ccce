"""What a system is: something that answers a chat with a plan.

A system of yours needs no import from here, only these four members:

    class Mine:
        name = "mine"
        revision = "2025-01"

        def prepare(self, catalog, train):
            self.model = train[0].plan.model

        def plan(self, inputs):
            for chat in inputs:
                yield Plan(prompt=chat.text, model=self.model, arguments=...)

and is evaluated with `--system my_module:Mine`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from chatgenbench.benchmark import Catalog
from chatgenbench.schema import Demonstration, Failure, FreestyleInput, Plan


@runtime_checkable
class System(Protocol):
    """Answers freestyle inputs, batch first."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def revision(self) -> str:
        """Changes whenever its answers may change: a version, a commit, a digest."""

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        """Called once, before any `plan`: the models to choose from and the demonstrations to learn from."""

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterable[Plan | Failure]:
        """One answer per input, in the order of the inputs.  `FreestyleInput.id` is the item's id."""
