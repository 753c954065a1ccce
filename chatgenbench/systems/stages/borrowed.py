"""A whole system as a stage: it answers the chat, and its part of the plan is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from chatgenbench.benchmark import Catalog
from chatgenbench.errors import InfraError, UserError
from chatgenbench.schema import Arguments, Costs, Demonstration, Failure, FreestyleInput, Plan
from chatgenbench.systems.guard import ask, done, keep
from chatgenbench.systems.protocol import StopRun, System
from chatgenbench.systems.stages.protocol import Draft, Words

T = TypeVar("T")


class Borrowed:
    """Plays every role; answers to the batch at hand are kept, so that a system in two places is asked once.

    Attributes:
        costs: what the answers to the batch at hand cost, by input id.
        runs_here: whether the system computes on this machine.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._prepared = False
        self._answers: dict[str, Plan | Failure] = {}
        self.costs: dict[str, Costs] = {}
        self.runs_here = bool(getattr(system, "runs_here", True))

    @property
    def revision(self) -> str:
        return self._system.revision

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        self._catalog = catalog
        if not self._prepared:
            self._system.prepare(catalog, train)
            self._prepared = True

    def keep_in(self, folder: Path) -> None:
        """Show the system the run's folder."""
        keep(self._system, folder)

    def close(self) -> None:
        """There is nothing more to ask; a `prepare` may follow all the same."""
        done(self._system)
        self._prepared = False

    def write(self, chats: Sequence[FreestyleInput]) -> list[Words | Failure]:
        return self._part(chats, lambda plan: Words(plan.prompt, plan.negative_prompt))

    def choose(self, drafts: Sequence[Draft]) -> list[tuple[str, ...] | Failure]:
        return self._part([draft.chat for draft in drafts], lambda plan: plan.ranking or (plan.model,))

    def argue(self, drafts: Sequence[Draft]) -> list[Arguments | Failure]:
        return self._part([draft.chat for draft in drafts], lambda plan: plan.arguments)

    def _part(self, chats: Sequence[FreestyleInput], part: Callable[[Plan], T]) -> list[T | Failure]:
        self._ask(chats)
        answers = [self._answers[chat.id] for chat in chats]
        return [answer if isinstance(answer, Failure) else part(answer) for answer in answers]

    def _ask(self, chats: Sequence[FreestyleInput]) -> None:
        new = [chat for chat in chats if chat.id not in self._answers]
        if not new:
            return
        # a later stage sees a part of the batch that the first one saw, never an earlier batch
        self._answers = {chat.id: self._answers[chat.id] for chat in chats if chat.id in self._answers}
        self.costs = {id: costs for id, costs in self.costs.items() if id in self._answers}
        try:
            for chat, answer, spent in ask(self._system, new, self._catalog, len(new)):
                self._answers[chat.id], self.costs[chat.id] = answer, spent.costs
        except (UserError, InfraError) as error:
            raise StopRun(error) from None
