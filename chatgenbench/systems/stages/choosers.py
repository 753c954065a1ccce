"""Choosers: one model for all, or a search of model cards and demonstrations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.schema import Demonstration, Failure
from chatgenbench.systems.ranking.corpus import Corpus, corpus_of, newest_first
from chatgenbench.systems.ranking.evidence import KINDS, Evidence, fuse
from chatgenbench.systems.ranking.tune import Question, tune
from chatgenbench.systems.stages.declare import stage
from chatgenbench.systems.stages.protocol import Draft
from chatgenbench.systems.training import require

#: Models named in a ranking.
HEAD = 20


@stage("fixed", "chooser", "always this model: is choosing among many worth it?", takes="MODEL")
class Fixed:
    """One strong model, whatever is asked for; without a name the benchmark's default model."""

    revision = "1"

    def __init__(self, argument: str | None, benchmark: Benchmark, seed: int) -> None:
        self._model = benchmark.catalog.get(argument or benchmark.manifest.default_model).id

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        """Nothing to learn."""

    def choose(self, drafts: Sequence[Draft]) -> list[tuple[str, ...] | Failure]:
        return [(self._model,) for _ in drafts]


class Search:
    """Ranks every model of the catalog by fused evidence, tuned by leaving one out on the training split.

    The query is the chat, newest turn first, and the prompt where a writer has written another one.
    """

    kinds: tuple[str, ...]
    revision = "1+all-MiniLM-L6-v2"

    def __init__(self, argument: str | None, benchmark: Benchmark, seed: int) -> None:
        self._chats = {one.demonstration: one.input for one in benchmark.train_inputs}

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        require(train, "search")
        corpus = corpus_of(catalog, train)
        self._evidence = Evidence(corpus, self.kinds)
        self.tuned = tune(self._evidence, self._questions(corpus)) if self._needs_tuning else None

    def choose(self, drafts: Sequence[Draft]) -> list[tuple[str, ...] | Failure]:
        raw = self._evidence.raw([query(draft) for draft in drafts])
        if self.tuned is None:
            scores = self._evidence.of_models(raw)[self.kinds[0]]
        else:
            scores = fuse(self._evidence.of_models(raw, self.tuned.neighbours), self.tuned.weights)
        models = self._evidence.corpus.models
        return [tuple(models[at] for at in np.argsort(-row, kind="stable")[:HEAD]) for row in scores]

    @property
    def _needs_tuning(self) -> bool:
        return len(self.kinds) > 1 or self.kinds == ("knn",)

    def _questions(self, corpus: Corpus) -> list[Question]:
        """Training chats where the benchmark has any, else each training prompt, ask for their own model."""
        if self._chats:
            return [
                Question(newest_first(self._chats[id]), corpus.owners[at], at)
                for at, id in enumerate(corpus.demonstrations) if id in self._chats
            ]  # fmt: skip
        rows = zip(corpus.prompts, corpus.owners, strict=True)
        return [Question(prompt, owner, at) for at, (prompt, owner) in enumerate(rows)]


SEARCHES: dict[str, tuple[tuple[str, ...], str]] = {
    "bm25-cards": (("bm25-cards",), "shared words (BM25) with the models' cards"),
    "dense-cards": (("dense-cards",), "sentence embeddings of the models' cards"),
    "bm25-demos": (("bm25-demos",), "the model of the training prompt with most words in common (BM25)"),
    "dense-demos": (("dense-demos",), "the model of the training prompt nearest in meaning"),
    "knn": (("knn",), "a vote of the nearest training prompts, their number tuned on train"),
    "hybrid": (KINDS, "all five searches together, their weights tuned on train"),
}
for _name, (_kinds, _summary) in SEARCHES.items():
    stage(_name, "chooser", _summary)(type(_name, (Search,), {"kinds": _kinds, "__doc__": _summary}))


def query(draft: Draft) -> str:
    """What is searched for: the chat, newest turn first, and the prompt where a writer has written another one."""
    chat = newest_first(draft.chat)
    return f"{chat}\n{draft.words.prompt}" if draft.rewritten else chat
