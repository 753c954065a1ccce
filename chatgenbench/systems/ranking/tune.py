"""Choose the number of neighbours and the weights of a fusion on the training split, and on nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from chatgenbench.systems.ranking.evidence import NEIGHBOURS, Evidence, fuse
from chatgenbench.systems.ranking.text import Array

NEIGHBOUR_GRID = (1, 3, 5, 10, 20, 40)
#: Weights are multiples of 1 / STEPS that sum to 1.
STEPS = 4
#: Queries that are enough to tune on.
QUERIES = 2_000


@dataclass(frozen=True)
class Question:
    """A query whose answer is known: `gold` is the model's column, `hidden` the demonstration it was made from."""

    text: str
    gold: int
    hidden: int | None


@dataclass(frozen=True)
class Tuned:
    """Weights by kind of evidence, neighbours that vote, and the mean reciprocal rank they reached on train."""

    weights: dict[str, float]
    neighbours: int
    reciprocal_rank: float


def tune(evidence: Evidence, questions: Sequence[Question]) -> Tuned:
    """The best setting on `questions`, each asked without its own demonstration.

    Of equals the one with the most even weights wins, then the first.  Without questions: even weights.
    """
    kinds = evidence.kinds
    if not questions:
        return Tuned(dict.fromkeys(kinds, 1 / len(kinds)), NEIGHBOURS, float("nan"))
    asked = _spread(questions)
    raw = evidence.raw([q.text for q in asked], [q.hidden for q in asked])
    gold = np.asarray([q.gold for q in asked])
    best: tuple[float, float] | None = None
    chosen = Tuned({}, NEIGHBOURS, 0.0)
    for neighbours in NEIGHBOUR_GRID if "knn" in kinds else (NEIGHBOURS,):
        scores = evidence.of_models(raw, neighbours)
        for weights in _simplex(len(kinds)):
            named = dict(zip(kinds, weights, strict=True))
            reached = reciprocal_rank(fuse(scores, named), gold)
            key = (round(reached, 6), -sum(w * w for w in weights))
            if best is None or key > best:
                best, chosen = key, Tuned(named, neighbours, reached)
    return chosen


def reciprocal_rank(scores: Array, gold: Array | np.ndarray[tuple[int], np.dtype[np.intp]]) -> float:
    """Mean of 1 / rank of the gold column (queries,); columns that tie share the worst of their ranks."""
    own = scores[np.arange(len(scores)), gold][:, None]
    return float((1.0 / (scores >= own).sum(axis=1)).mean())


def _spread(questions: Sequence[Question]) -> list[Question]:
    """At most QUERIES of them, evenly from the whole list."""
    if len(questions) <= QUERIES:
        return list(questions)
    return [questions[int(at)] for at in np.linspace(0, len(questions) - 1, QUERIES)]


def _simplex(parts: int) -> Iterator[tuple[float, ...]]:
    """Every way to share STEPS equal pieces among `parts`."""
    for bars in itertools.combinations(range(STEPS + parts - 1), parts - 1):
        edges = (-1, *bars, STEPS + parts - 1)
        yield tuple((right - left - 1) / STEPS for left, right in itertools.pairwise(edges))
