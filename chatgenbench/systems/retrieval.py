"""Nearest neighbour: answers with the training demonstration that is most like the chat.

    score(chat, demonstration) = cos(chat, its prompt) + cos(chat, description of its model)

The first term finds the thing asked for, the second the look.  The answer is the best demonstration's plan without
its seed; `ranking` orders the models by their best demonstration.  Sentences are embedded by all-MiniLM-L6-v2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.schema import Demonstration, FreestyleInput, Plan
from chatgenbench.systems.declare import builtin
from chatgenbench.systems.ranking.corpus import newest_first
from chatgenbench.systems.training import require

if TYPE_CHECKING:
    import torch

#: Models named in a ranking.
HEAD = 10


@builtin("retrieval", "the plan of the training demonstration nearest to the chat (sentence embeddings)")
class Retrieval:
    """Needs no training, only the training split: the bar that a trained system has to clear."""

    name = "retrieval"
    revision = "1+all-MiniLM-L6-v2"

    def __init__(self, benchmark: Benchmark, seed: int) -> None:
        pass

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        require(train, self.name)
        from chatgenbench.systems.sentences import SentenceEncoder

        self._train = sorted(train, key=lambda d: d.id)
        self._models = [catalog.get(d.plan.model).id for d in self._train]
        used = {model: row for row, model in enumerate(sorted(set(self._models)))}
        self._encoder = SentenceEncoder()
        prompts = self._encoder.encode([d.plan.prompt for d in self._train])
        looks = self._encoder.encode([catalog.records[model].description for model in used])
        # cos(c, p) + cos(c, d) = c . (p + d): one matrix holds both terms
        self._index = prompts + looks[[used[model] for model in self._models]]

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Plan]:
        scores = self._encoder.encode([newest_first(chat) for chat in inputs]) @ self._index.T
        for row in scores:
            yield self._answer(row)

    def _answer(self, scores: torch.Tensor) -> Plan:
        """The answer for one chat; `scores` (n training demonstrations,) lie in -2..2."""
        order: list[int] = scores.argsort(descending=True, stable=True).tolist()
        ranking = tuple(dict.fromkeys(self._models[i] for i in order))[:HEAD]
        best = self._train[order[0]].plan
        arguments = best.arguments.model_copy(update={"seed": None})
        return best.model_copy(update={"model": ranking[0], "arguments": arguments, "ranking": ranking})
