"""Sampling arguments: how many of the five are exactly those of the human record?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from t2imetrics._card import MetricCard
from t2imetrics._scorer import Floats, Scorer, same_length
from t2imetrics.errors import InputError

KEYS = ("sampler", "steps", "cfg_scale", "width", "height")
#: Two CFG scales this close are the same number.
CFG_TOLERANCE = 1e-6


def same_argument(key: str, answer: Any, gold: Any) -> bool:
    """Whether two values of one key agree after normalisation (rules on the metric's page)."""
    if key == "sampler":
        names = _sampler(answer), _sampler(gold)
        return names[0] is not None and names[0] == names[1]
    numbers = _number(answer), _number(gold)
    if numbers[0] is None or numbers[1] is None:
        return False
    return abs(numbers[0] - numbers[1]) <= (CFG_TOLERANCE if key == "cfg_scale" else 0.0)


def per_key(answers: Sequence[Mapping[str, Any] | None], golds: Sequence[Mapping[str, Any]]) -> dict[str, Floats]:
    """For each key 1 where it agrees, else 0, each of shape (n,); and `joint`: 1 where all five agree.

    A missing answer or key is wrong.

    Raises:
        InputError: a gold record lacks one of the five keys.
    """
    n = same_length(answers, golds)
    right = np.zeros((len(KEYS), n))
    for row, (answer, gold) in enumerate(zip(answers, golds, strict=True)):
        for place, key in enumerate(KEYS):
            if gold.get(key) is None:
                raise InputError(f"row {row}: the gold arguments have no '{key}'")
            right[place, row] = same_argument(key, (answer or {}).get(key), gold[key])
    return {**dict(zip(KEYS, right, strict=True)), "joint": right.min(axis=0)}


class Arguments(Scorer):
    """Mean over the five keys of exact agreement."""

    card = MetricCard(
        name="arguments",
        title="argument accuracy",
        unit="share of the five keys",
        lower=0.0,
        upper=1.0,
        higher_is_better=True,
        reads="plan",
        text_limit=None,
        reduction="mean",
        failed_value=0.0,
        source="Jia et al., ChatGen, arXiv 2411.17176, results tables (the per-key mean is our reading)",
        note="exact after normalisation",
    )

    def score(self, rows: Sequence[Mapping[str, Any] | None], against: Sequence[Mapping[str, Any]]) -> Floats:
        """Answered arguments against gold arguments; mean over keys, shape (n,)."""
        table = self.score_all(rows, against)
        return np.asarray(np.mean([table[key] for key in KEYS], axis=0), np.float64)

    def score_all(
        self, rows: Sequence[Mapping[str, Any] | None], against: Sequence[Mapping[str, Any]]
    ) -> dict[str, Floats]:
        """Every key on its own, and `joint`; each of shape (n,)."""
        return per_key(rows, against)


def _sampler(value: Any) -> str | None:
    """Sampler name without case and space; None when there is none."""
    return "".join(value.split()).casefold() or None if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    """A finite number, or text that spells one; None otherwise (also for True and False)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
