"""A whole system as a stage: it answers the chat, and its part of the plan is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from chatgenbench.benchmark import Catalog
from chatgenbench.schema import Arguments, Demonstration, Failure, FreestyleInput, Plan
from chatgenbench.systems.guard import ask
from chatgenbench.systems.protocol import System
from chatgenbench.systems.stages.protocol import Draft, Words

T = TypeVar("T")


class Borrowed:
    """Plays every role; answers to the batch at hand are kept, so that a system in two places is asked once."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._prepared = False
        self._answers: dict[str, Plan | Failure] = {}

    @property
    def revision(self) -> str:
        return self._system.revision

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        self._catalog = catalog
        if not self._prepared:
            self._system.prepare(catalog, train)
            self._prepared = True

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
        self._answers |= {chat.id: answer for chat, answer, _ in ask(self._system, new, self._catalog, len(new))}
