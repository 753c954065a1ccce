"""What there is to search: a card for each model, and the prompts of the training demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatgenbench.benchmark import Catalog
from chatgenbench.schema import Demonstration, FreestyleInput, ModelRecord


@dataclass(frozen=True)
class Corpus:
    """The catalog's models in the order of their ids, and the demonstrations in the order of theirs.

    Attributes:
        models: catalog ids; every score matrix has one column for each.
        cards: a text for each model.
        demonstrations: ids of the training demonstrations.
        prompts: their prompts.
        owners: for each demonstration, the column of its model.
    """

    models: tuple[str, ...]
    cards: tuple[str, ...]
    demonstrations: tuple[str, ...]
    prompts: tuple[str, ...]
    owners: tuple[int, ...]


def corpus_of(catalog: Catalog, train: Sequence[Demonstration]) -> Corpus:
    """The corpus of a benchmark; the order of `train` does not matter."""
    models = tuple(sorted(catalog.records))
    column = {model: at for at, model in enumerate(models)}
    shown = sorted(train, key=lambda d: d.id)
    return Corpus(
        models, tuple(card_text(catalog.records[model]) for model in models), tuple(d.id for d in shown),
        tuple(d.plan.prompt for d in shown), tuple(column[catalog.get(d.plan.model).id] for d in shown),
    )  # fmt: skip


def card_text(record: ModelRecord) -> str:
    """What a model's card says: description, trigger words, name, base model."""
    return "\n".join(
        filter(None, (record.description, ", ".join(record.trigger_words), record.name, record.base_model))
    )


def newest_first(chat: FreestyleInput) -> str:
    """The person's turns, last one first: should a long chat be cut, it is cut where it matters least."""
    return "\n".join(m.text for m in reversed(chat.messages) if m.role == "user")
