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

What it may have besides: `close()`, called when there is nothing more to ask (a `prepare` may follow all the same);
`runs_here = False`, if the answers are computed on another machine, whose time is then not counted as device seconds;
`keep_in(folder)`, called before `prepare` with the run's folder, for a journal of its own; and `plan_batch`, how many
inputs it wants at once, where its time depends on that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from chatgenbench.benchmark import Catalog
from chatgenbench.errors import InfraError, UserError
from chatgenbench.schema import Costs, Demonstration, Failure, FreestyleInput, Plan


@dataclass(frozen=True)
class Answered:
    """An answer with what it cost, and the `seconds` it took where it was timed by itself.

    `note` is one line that the run's report counts, such as which part of the answer is a stand-in.
    """

    answer: Plan | Failure
    costs: Costs = Costs()  # noqa: RUF009  (frozen)
    seconds: float | None = None
    note: str = ""


class StopRun(Exception):
    """What a system's `plan` raises when it can answer nothing more; the run ends with `error`, and can go on later."""

    def __init__(self, error: UserError | InfraError) -> None:
        super().__init__(str(error))
        self.error = error


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

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterable[Plan | Failure | Answered]:
        """One answer per input, in the order of the inputs.  `FreestyleInput.id` is the item's id."""
