"""Model selection: was the gold model chosen?  Ids are compared as given; resolving aliases is the caller's job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from t2imetrics._card import MetricCard
from t2imetrics._scorer import Floats, Scorer, Setting, same_length
from t2imetrics.errors import OptionError


def top1(chosen: Sequence[str | None], gold: Sequence[str]) -> Floats:
    """1 where the chosen id is the gold id, else 0; None (no answer) is 0; shape (n,)."""
    same_length(chosen, gold)
    return np.array([float(a is not None and a == b) for a, b in zip(chosen, gold, strict=True)])


def topk(rankings: Sequence[Sequence[str] | None], gold: Sequence[str], k: int) -> Floats:
    """1 where the gold id is among the first `k` of the ranking, else 0; shape (n,)."""
    same_length(rankings, gold)
    if k < 1:
        raise OptionError(f"k must be at least 1, got {k}")
    return np.array([float(right in (list(ranked or ())[:k])) for ranked, right in zip(rankings, gold, strict=True)])


def base_model(chosen: Sequence[str | None], gold: Sequence[str], bases: Mapping[str, str]) -> Floats:
    """1 where chosen and gold id share a base model (`bases`: id -> base model), else 0; shape (n,).

    An id that is not in `bases` shares a base with nothing.
    """
    same_length(chosen, gold)
    pairs = zip(chosen, gold, strict=True)
    return np.array([float(a is not None and bases.get(a, a) == bases.get(b, b)) for a, b in pairs])


class Selection(Scorer):
    """Accuracy of the chosen model.

    Args:
        setting: not used; there are no weights.
        k: 1 compares the chosen ids; more looks for the gold id in the first `k` of a ranking.
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

    def __init__(self, setting: Setting, k: int = 1) -> None:
        if k < 1:
            raise OptionError(f"k must be at least 1, got {k}")
        self.k = k
        self.card = replace(self.card, note=f"top-{k}")

    def score(self, rows: Sequence[Any], against: Sequence[str]) -> Floats:
        """Chosen ids (or, for k > 1, rankings) against gold ids; shape (n,)."""
        return top1(rows, against) if self.k == 1 else topk(rows, against, self.k)
