"""What a stage is.  Every stage works on batches and gives one result or one Failure for each row, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from chatgenbench.benchmark import Catalog
from chatgenbench.schema import Arguments, Demonstration, Failure, FreestyleInput


@dataclass(frozen=True)
class Words:
    """What a writer writes."""

    prompt: str
    negative_prompt: str = ""


@dataclass(frozen=True)
class Draft:
    """What is known of one row so far: `words` after the writer, `ranking` (catalog ids, best first) after the chooser.

    `rewritten` is False where the prompt is the chat itself.
    """

    chat: FreestyleInput
    words: Words
    rewritten: bool
    ranking: tuple[str, ...] = ()


class Stage(Protocol):
    """What every stage has; `prepare` is that of a system, and is called once before anything else."""

    @property
    def revision(self) -> str:
        """Changes whenever the stage's results may change."""

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None: ...


@runtime_checkable
class Writer(Stage, Protocol):
    """Chat -> prompt."""

    def write(self, chats: Sequence[FreestyleInput]) -> list[Words | Failure]: ...


@runtime_checkable
class Chooser(Stage, Protocol):
    """Chat and prompt -> model: catalog ids, best first, at least one."""

    def choose(self, drafts: Sequence[Draft]) -> list[tuple[str, ...] | Failure]: ...


@runtime_checkable
class Arguer(Stage, Protocol):
    """Chat, prompt and model -> sampler, steps, CFG scale, size."""

    def argue(self, drafts: Sequence[Draft]) -> list[Arguments | Failure]: ...
