"""Writers that need no model: the chat as it is, and the chat with quality tags."""

from __future__ import annotations

from collections.abc import Sequence

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.schema import Demonstration, Failure, FreestyleInput
from chatgenbench.systems.stages.declare import stage
from chatgenbench.systems.stages.protocol import Words
from chatgenbench.systems.training import chat_prompt


@stage("chat", "writer", "the chat as it is")
class Chat:
    """What people get who paste their wish into a prompt field."""

    revision = "1"

    def __init__(self, argument: str | None, benchmark: Benchmark, seed: int) -> None:
        pass

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        """Nothing to learn."""

    def write(self, chats: Sequence[FreestyleInput]) -> list[Words | Failure]:
        return [Words(chat_prompt(chat)) for chat in chats]
