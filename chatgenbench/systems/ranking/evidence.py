"""Evidence for each model of a catalog: how well its card, its nearest demonstration or its neighbours' vote fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from chatgenbench.systems.ranking.corpus import Corpus
from chatgenbench.systems.ranking.text import Array, Dense, Lexical

#: The kinds of evidence there are.
KINDS = ("bm25-cards", "dense-cards", "bm25-demos", "dense-demos", "knn")
#: Votes of a query, unless tuned.
NEIGHBOURS = 10


class Evidence:
    """Scores of every model for a query, by kind; what several kinds need is computed once a call.

    Args:
        corpus: what is searched.
        kinds: which of KINDS are wanted.
        neighbours: demonstrations that vote in `knn`.
    """

    def __init__(self, corpus: Corpus, kinds: Sequence[str], neighbours: int = NEIGHBOURS) -> None:
        self.corpus, self.kinds, self.neighbours = corpus, tuple(kinds), neighbours
        self._owners = np.asarray(corpus.owners, dtype=np.intp)
        wanted = set(kinds)
        self._matchers = {
            name: make(documents)
            for name, make, documents, used in (
                ("bm25-cards", Lexical, corpus.cards, {"bm25-cards"}),
                ("dense-cards", Dense, corpus.cards, {"dense-cards"}),
                ("bm25-demos", Lexical, corpus.prompts, {"bm25-demos"}),
                ("dense-demos", Dense, corpus.prompts, {"dense-demos", "knn"}),
            )
            if wanted & used
        }

    def raw(self, queries: Sequence[str], without: Sequence[int | None] | None = None) -> dict[str, Array]:
        """Scores by matcher: (queries, models) for cards, (queries, demonstrations) for demonstrations.

        Args:
            without: for each query the demonstration (its place in the corpus) that must not speak.
        """
        found = {name: matcher.scores(queries) for name, matcher in self._matchers.items()}
        for row, hidden in enumerate(without or ()):
            if hidden is not None:
                for name in found.keys() & {"bm25-demos", "dense-demos"}:
                    found[name][row, hidden] = -np.inf
        return found

    def of_models(self, raw: Mapping[str, Array], neighbours: int | None = None) -> dict[str, Array]:
        """(queries, models) for every kind, from what `raw` gave."""
        count = neighbours or self.neighbours
        made: dict[str, Callable[[], Array]] = {
            "bm25-cards": lambda: raw["bm25-cards"],
            "dense-cards": lambda: raw["dense-cards"],
            "bm25-demos": lambda: self._nearest(raw["bm25-demos"]),
            "dense-demos": lambda: self._nearest(raw["dense-demos"]),
            "knn": lambda: self._votes(raw["dense-demos"], count),
        }
        return {kind: made[kind]() for kind in self.kinds}

    def _nearest(self, scores: Array) -> Array:
        """The best demonstration of each model; a model without any scores below all others."""
        floor = float(scores[np.isfinite(scores)].min(initial=0.0)) - 1.0
        found = np.full((len(self.corpus.models), len(scores)), floor, np.float32)
        np.maximum.at(found, self._owners, scores.T)
        return found.T

    def _votes(self, scores: Array, count: int) -> Array:
        """The summed similarity (at least 0) of a model's demonstrations among the `count` nearest."""
        votes = np.zeros((len(scores), len(self.corpus.models)), np.float32)
        count = min(count, scores.shape[1])
        for row, near in enumerate(scores):
            top = np.argsort(-near, kind="stable")[:count]
            np.add.at(votes[row], self._owners[top], np.maximum(near[top], 0.0))
        return votes


def fuse(scores: Mapping[str, Array], weights: Mapping[str, float]) -> Array:
    """Weighted sum of the scores (queries, models), each scaled to mean 0 and deviation 1 within its query."""
    total = np.zeros_like(next(iter(scores.values())))
    for kind, weight in weights.items():
        if weight:
            table = scores[kind]
            spread = table.std(axis=1, keepdims=True)
            centred = table - table.mean(axis=1, keepdims=True)
            total += weight * np.divide(centred, spread, out=np.zeros_like(table), where=spread > 1e-9)
    return total
