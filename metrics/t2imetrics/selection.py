"""Model selection: was the gold model chosen?  Ids are compared as given; resolving aliases is the caller's job."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from t2imetrics._card import MetricCard
from t2imetrics._scorer import Floats, Scorer, Setting, choose, same_length, whole_number
from t2imetrics.errors import InputError, OptionError, shorten


def top1(chosen: Sequence[str | None], gold: Sequence[str]) -> Floats:
    """1 where the chosen id is the gold id, else 0; None (no answer) is 0; shape (n,)."""
    same_length(chosen, gold)
    return np.array([float(a is not None and a == b) for a, b in zip(chosen, gold, strict=True)])


def topk(rankings: Sequence[Sequence[str] | None], gold: Sequence[str], k: int) -> Floats:
    """1 where the gold id is among the first `k` of the ranking, else 0; shape (n,)."""
    same_length(rankings, gold)
    whole_number("k", k, 1)
    pairs = zip(_different(rankings), gold, strict=True)
    return np.array([float(right in ranked[:k]) for ranked, right in pairs])


def reciprocal_rank(rankings: Sequence[Sequence[str] | None], gold: Sequence[str]) -> Floats:
    """1 / place of the gold id in the ranking, counted from 1 over different ids; 0 where it is absent; shape (n,)."""
    same_length(rankings, gold)
    pairs = zip(_different(rankings), gold, strict=True)
    return np.array([1.0 / (ranked.index(right) + 1) if right in ranked else 0.0 for ranked, right in pairs])


def _different(rankings: Sequence[Sequence[str] | None]) -> Iterator[list[str]]:
    """Each ranking without repeats: an id named twice takes one place, its first."""
    for row, ranked in enumerate(rankings):
        if isinstance(ranked, str):  # its letters would be taken for ids
            raise InputError(f"row {row}: a ranking is a list of ids, got the text '{shorten(ranked, 40)}'")
        yield list(dict.fromkeys(ranked or ()))


def family(chosen: Sequence[str | None], gold: Sequence[str], families: Mapping[str, Collection[str]]) -> Floats:
    """1 where the chosen id is the gold id or a near-equivalent of it, else 0; shape (n,).

    `families`: id -> ids that draw nearly the same (another version, a light merge).  The relation is taken in both
    directions, but not further: a twin of a twin is no twin.
    """
    same_length(chosen, gold)
    pairs = zip(chosen, gold, strict=True)
    return np.array([float(a is not None and _near(a, b, families)) for a, b in pairs])


def _near(a: str, b: str, families: Mapping[str, Collection[str]]) -> bool:
    return a == b or a in families.get(b, ()) or b in families.get(a, ())


def base_model(chosen: Sequence[str | None], gold: Sequence[str], bases: Mapping[str, str]) -> Floats:
    """1 where chosen and gold id share a base model (`bases`: id -> base model), else 0; shape (n,).

    An id that is not in `bases` shares a base with nothing but itself.
    """
    same_length(chosen, gold)
    pairs = zip(chosen, gold, strict=True)
    return np.array([float(a is not None and (a == b or (a in bases and bases[a] == bases.get(b)))) for a, b in pairs])


class Selection(Scorer):
    """Accuracy of the chosen model.

    Args:
        setting: not used; there are no weights.
        k: 1 compares the chosen ids; more looks for the gold id in the first `k` of a ranking.
        measure: `top`, or `mrr` for the reciprocal rank of the gold id in a ranking.
    """

    card = MetricCard(
        name="selection",
        title="selection accuracy",
        unit="share of rows",
        lower=0.0,
        upper=1.0,
        higher_is_better=True,
        reads="plan",
        text_limit=None,
        reduction="mean",
        failed_value=0.0,
        source="Jia et al., ChatGen, arXiv 2411.17176, results tables (exact top-1 is our reading)",
        note="top-1",
    )

    def __init__(self, setting: Setting, k: int = 1, measure: str = "top") -> None:
        choose("measure", measure, ("top", "mrr"))
        whole_number("k", k, 1)
        if measure == "mrr" and k > 1:
            raise OptionError(f"measure 'mrr' reads whole rankings: leave out k, got {k}")
        self.k, self.measure = k, measure
        unit = self.card.unit if measure == "top" else "reciprocal rank"
        self.card = replace(self.card, unit=unit, note=f"top-{k}" if measure == "top" else "reciprocal rank")

    def score(self, rows: Sequence[Any], against: Sequence[str]) -> Floats:
        """Chosen ids (or, for k > 1 and `mrr`, rankings) against gold ids; shape (n,)."""
        if self.measure == "mrr":
            return reciprocal_rank(rows, against)
        return top1(rows, against) if self.k == 1 else topk(rows, against, self.k)
