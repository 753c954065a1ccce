"""Sampling arguments: how many of the five are exactly those of the human record?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from t2imetrics._card import MetricCard
from t2imetrics._scorer import Floats, Scorer, Setting, choose, same_length
from t2imetrics.errors import InputError, shorten

KEYS = ("sampler", "steps", "cfg_scale", "width", "height")
#: Two CFG scales this close are the same number.
CFG_TOLERANCE = 1e-6
#: How far a tolerated number may be from the gold one, as a share of the larger; our own choice, written on the card.
NEAR_SHARE = 0.25
#: Ends of sampler names, without case and space, that name the noise schedule; an end of another stands after it.
SCHEDULES = (
    "karras", "polyexponential", "exponential", "sgmuniform", "uniform", "beta", "simple", "normal", "kloptimal",
    "alignyoursteps",
)  # fmt: skip


def same_argument(key: str, answer: Any, gold: Any) -> bool:
    """Whether two values of one key agree after normalisation (rules on the metric's page)."""
    if key == "sampler":
        names = _sampler(answer), _sampler(gold)
        return names[0] is not None and names[0] == names[1]
    numbers = _number(answer), _number(gold)
    if numbers[0] is None or numbers[1] is None:
        return False
    return abs(numbers[0] - numbers[1]) <= (CFG_TOLERANCE if key == "cfg_scale" else 0.0)


def near_argument(key: str, answer: Any, gold: Any) -> bool:
    """Whether a value would draw much the same picture as the gold one (rules on the metric's page).

    Samplers agree whatever their noise schedule; steps, CFG scale, width and height may differ by a quarter of the
    larger of both.  What agrees exactly is always near, and the relation is symmetric.
    """
    if same_argument(key, answer, gold):
        return True
    if key == "sampler":
        names = _family(answer), _family(gold)
        return names[0] is not None and names[0] == names[1]
    numbers = _number(answer), _number(gold)
    if numbers[0] is None or numbers[1] is None:
        return False
    return abs(numbers[0] - numbers[1]) <= NEAR_SHARE * max(abs(numbers[0]), abs(numbers[1]))


def tolerant(answers: Sequence[Mapping[str, Any] | None], golds: Sequence[Mapping[str, Any]]) -> dict[str, Floats]:
    """Like `per_key`, with `near_argument` in the place of `same_argument`."""
    return _table(answers, golds, near_argument)


def per_key(answers: Sequence[Mapping[str, Any] | None], golds: Sequence[Mapping[str, Any]]) -> dict[str, Floats]:
    """For each key 1 where it agrees, else 0, each of shape (n,); and `joint`: 1 where all five agree.

    A missing answer or key is wrong.

    Raises:
        InputError: a gold record lacks one of the five keys or states what no answer could meet (a number that is
            none, a sampler without a name); an answer that is no mapping.
    """
    return _table(answers, golds, same_argument)


def _table(
    answers: Sequence[Mapping[str, Any] | None],
    golds: Sequence[Mapping[str, Any]],
    agree: Callable[[str, Any, Any], bool],
) -> dict[str, Floats]:
    n = same_length(answers, golds)
    right = np.zeros((len(KEYS), n))
    for row, (answer, gold) in enumerate(zip(answers, golds, strict=True)):
        if not isinstance(gold, Mapping) or not isinstance(answer, Mapping | None):
            what = "answered" if isinstance(gold, Mapping) else "gold"
            kind = type(answer if isinstance(gold, Mapping) else gold).__name__
            raise InputError(f"row {row}: the {what} arguments are a mapping of the five keys, got {kind}")
        for place, key in enumerate(KEYS):
            if gold.get(key) is None:
                raise InputError(f"row {row}: the gold arguments have no '{key}'")
            if (_sampler if key == "sampler" else _number)(gold[key]) is None:
                kind = "name" if key == "sampler" else "number"
                raise InputError(f"row {row}: the gold '{key}' is no {kind}: {shorten(repr(gold[key]), 40)}")
            right[place, row] = agree(key, (answer or {}).get(key), gold[key])
    return {**dict(zip(KEYS, right, strict=True)), "joint": right.min(axis=0)}


class Arguments(Scorer):
    """Mean over the five keys of agreement.

    Args:
        setting: not used; there are no weights.
        rule: `exact`, or `tolerant` for values that would draw much the same picture.
    """

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

    def __init__(self, setting: Setting, rule: str = "exact") -> None:
        self.agree = {"exact": same_argument, "tolerant": near_argument}[choose("rule", rule, ("exact", "tolerant"))]
        note = self.card.note if rule == "exact" else "within a quarter; samplers whatever their schedule"
        self.card = replace(self.card, note=note)

    def score(self, rows: Sequence[Mapping[str, Any] | None], against: Sequence[Mapping[str, Any]]) -> Floats:
        """Answered arguments against gold arguments; mean over keys, shape (n,)."""
        table = self.score_all(rows, against)
        return np.asarray(np.mean([table[key] for key in KEYS], axis=0), np.float64)

    def score_all(
        self, rows: Sequence[Mapping[str, Any] | None], against: Sequence[Mapping[str, Any]]
    ) -> dict[str, Floats]:
        """Every key on its own, and `joint`; each of shape (n,)."""
        return _table(rows, against, self.agree)


def _sampler(value: Any) -> str | None:
    """Sampler name without case and space; None when there is none."""
    return "".join(value.split()).casefold() or None if isinstance(value, str) else None


def _family(value: Any) -> str | None:
    """Sampler name without its noise schedule."""
    name = _sampler(value)
    while name is not None and (end := next((s for s in SCHEDULES if name.endswith(s) and name != s), None)):
        name = name.removesuffix(end)
    return name


def _number(value: Any) -> float | None:
    """A finite number of whatever type, or text that spells one; None otherwise (also for True, False and 3_0)."""
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal, str)):
        return None
    if isinstance(value, str) and "_" in value:  # Python's own way to write thousands
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
