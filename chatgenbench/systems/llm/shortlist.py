"""Which models and demonstrations a language model is shown: a catalog of thousands fits into no prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from chatgenbench.benchmark import Catalog
from chatgenbench.schema import Demonstration, FreestyleInput, ModelRecord


@dataclass(frozen=True)
class Shown:
    """What is shown with one chat: models, most promising first, and plans that people made for similar wishes."""

    models: tuple[ModelRecord, ...]
    demonstrations: tuple[Demonstration, ...]


class Shortlist:
    """Retrieval by sentence embeddings (all-MiniLM-L6-v2), of models in two ways that take turns.

    By demonstrations, `cos(chat, prompt) + cos(chat, description of its model)`, as the system `retrieval` does; and by
    `cos(chat, name and description)`, so that models which nobody used in training can be chosen as well.

    Args:
        models, demonstrations: how many of each are shown.
    """

    def __init__(self, catalog: Catalog, train: Sequence[Demonstration], models: int, demonstrations: int) -> None:
        from chatgenbench.systems.sentences import SentenceEncoder

        self._models, self._demonstrations = models, demonstrations
        self._records = sorted(catalog, key=lambda record: record.id)
        self._train = sorted(train, key=lambda demonstration: demonstration.id)
        self._encoder = SentenceEncoder()
        self._looks = self._encoder.encode([f"{record.name}. {record.description}" for record in self._records])
        place = {record.id: row for row, record in enumerate(self._records)}
        self._used = [place[catalog.get(d.plan.model).id] for d in self._train]
        prompts = self._encoder.encode([d.plan.prompt for d in self._train])
        self._index = prompts + self._looks[self._used] if self._train else prompts

    def shown(self, chats: Sequence[FreestyleInput]) -> Iterator[Shown]:
        """What to show with each chat."""
        asked = self._encoder.encode([_newest_first(chat) for chat in chats])
        for by_look, by_plan in zip(asked @ self._looks.T, asked @ self._index.T, strict=True):
            looks: list[int] = by_look.argsort(descending=True, stable=True).tolist()
            plans: list[int] = by_plan.argsort(descending=True, stable=True).tolist()
            used = dict.fromkeys(self._used[row] for row in plans)
            turns = (row for row in chain.from_iterable(zip_longest(used, looks)) if row is not None)
            models = list(dict.fromkeys(turns))[: self._models]
            yield Shown(
                tuple(self._records[row] for row in models),
                tuple(self._train[row] for row in plans if self._used[row] in models)[: self._demonstrations],
            )


def _newest_first(chat: FreestyleInput) -> str:
    """The person's turns, last one first: should a long chat be cut, it is cut where it matters least."""
    return "\n".join(message.text for message in reversed(chat.messages) if message.role == "user")
