"""Check of metrics with their weights: values of the golden rows, compared with what is shipped or was recorded here.

Values are filed under metric, sha256 of the weights and options.  Those of the miniature are shipped (`values.json`);
those of any other weights are recorded where they are first seen (`records.py`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from t2imetrics import _golden
from t2imetrics._registry import BUILTIN, card
from t2imetrics._scorer import Scorer
from t2imetrics.errors import MetricError, WeightsError

#: How far rounding may move a value: a share of half the range, or of the unit where there is no range.
SHARE_OF_RANGE, SHARE_OF_UNIT = 1e-4, 1e-3
#: Half precision moves a value this many times as far as float32 does.
HALF = 20.0
State = Literal["ok", "failed", "recorded", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """What comparing gave, and one line about it."""

    state: State
    detail: str


@dataclass(frozen=True)
class Rules:
    """How one metric is compared.

    Args:
        cheap: only the first golden row.
        must_be_shipped: weights and options without shipped values are a fault.
        may_record: values of unknown weights are recorded; not while preparation or tokenizers are known to be wrong.
    """

    cheap: bool = False
    must_be_shipped: bool = False
    may_record: bool = True


@dataclass(frozen=True)
class Measured:
    """Golden rows of one metric: values by row, and tokens before truncation by prompt where it reads text."""

    values: dict[str, float]
    tokens: dict[str, int]

    def __str__(self) -> str:
        return f"{len(self.values)} row{'' if len(self.values) == 1 else 's'}"


def weighted() -> tuple[str, ...]:
    """Built-in metrics that have weights, in table order; one that cannot be imported counts, so that it is told."""
    return tuple(name for name in BUILTIN if _has_weights(name))


def _has_weights(name: str) -> bool:
    try:
        return card(name).weights is not None
    except Exception:  # whatever a broken library raises; loading the metric says what it was
        return True


# --- shipped values --------------------------------------------------------------------------------------------


def shipped(name: str) -> dict[str, Any]:
    """The shipped entries of a metric: sha256 -> options -> entry."""
    found: dict[str, Any] = _golden.read("values").get("values", {}).get(name, {})
    return found


def compare(scorer: Scorer, rules: Rules) -> Outcome:
    """Score the golden rows and hold them to the shipped or the recorded values."""
    from t2imetrics._golden import records

    weights = scorer.card.weights
    if weights is None or weights.sha256 is None:
        return Outcome("skipped", "its weights have no sha256 to file golden values under")
    if scorer.card.reads in ("plan", "scores"):
        return Outcome("skipped", f"it reads {scorer.card.reads}, which golden rows do not have")
    known = shipped(scorer.card.name)
    stored = known.get(weights.sha256, {}).get(options(scorer))
    if stored is None:
        fault = _stranger(scorer, known, rules.must_be_shipped)
        return Outcome("failed", fault) if fault else records.compare(scorer, rules)
    fault, found = held(scorer, rules.cheap, stored, _golden.read("values")["versions"], "golden")
    return Outcome("failed", fault) if fault else Outcome("ok", f"{found} equal to the shipped values")


def held(
    scorer: Scorer, cheap: bool, stored: dict[str, Any], versions: dict[str, str], word: str
) -> tuple[str, Measured]:
    """What differs from stored values, in one line, empty where nothing does; and what was measured.

    Args:
        stored: `values` by row and `tokens` by prompt; rows it does not have are not compared.
        versions: libraries the stored values were measured with.
        word: what the line calls them, `golden` or `recorded on DATE`.
    """
    tokens = read(scorer)
    for prompt, count in tokens.items():
        if count != stored["tokens"].get(prompt, count):
            fault = f"prompt '{prompt}' has {count} tokens, {word} {stored['tokens'][prompt]}: another tokenizer, "
            return f"{fault}vocabulary or cleaning of text ({_golden.changed(versions)})", Measured({}, tokens)
    found = measure(scorer, cheap)
    return _difference(scorer, found.values, stored["values"], versions, word), found


def _stranger(scorer: Scorer, known: dict[str, Any], must_be_shipped: bool) -> str:
    """Why weights without a shipped entry cannot be right; empty where they may be a user's own."""
    assert scorer.card.weights is not None
    name, digest = scorer.card.weights.name, str(scorer.card.weights.sha256)
    called = {entry["weights"] for kept in known.values() for entry in kept.values()}
    if digest not in known and name in called:
        return (
            f"these are not the shipped weights '{name}' (sha256 {digest[:12]}…): install the package again, or give "
            "weights of your own a name of their own in weights.json"
        )
    if must_be_shipped:
        return f"no golden values are shipped for {name} with these options: measure them with metrics/make_golden.py"
    return ""


# --- measuring -------------------------------------------------------------------------------------------------


def rows(reads: str, reduction: str) -> tuple[list[str], list[Any], list[Any]]:
    """Labels of the golden rows, the most telling first, and the two lists `score` is given."""
    pictures, prompts = list(_golden.PICTURES), list(_golden.prompts())
    files, words = _golden.pictures(), list(_golden.prompts().values())
    if reduction == "set":
        return ["first three + other three"], list(files[:3]), list(files[3:])
    if reads == "images":
        return pictures, list(files), list(files)
    if reads == "images+images":
        return _pairs(pictures, _turned(pictures)), list(files), _turned(files)
    if reads == "texts":
        return _pairs(prompts, _turned(prompts)), words, _turned(words)
    places = [row % len(files) for row in range(len(words))]
    return _pairs([pictures[place] for place in places], prompts), [files[place] for place in places], words


def _pairs(first: list[str], second: list[str]) -> list[str]:
    return [f"{a} + {b}" for a, b in zip(first, second, strict=True)]


def _turned(items: list[Any]) -> list[Any]:
    """`items` by one place, so that each meets another."""
    return items[1:] + items[:1]


def measure(scorer: Scorer, cheap: bool = False) -> Measured:
    """Golden rows, only the first if `cheap`; WeightsError for a value that is not a number."""
    labels, first, second = rows(scorer.card.reads, scorer.card.reduction)
    if cheap and scorer.card.reduction != "set":
        labels, first, second = labels[:1], first[:1], second[:1]
    values = np.asarray(scorer.score(first, second), float)
    if values.shape != (len(labels),):
        raise MetricError(f"it gave values of shape {values.shape} for {len(labels)} golden rows")
    if not np.isfinite(values).all():
        raise WeightsError("it gave a value that is not a number: its weights are damaged, fetch them again")
    return Measured(dict(zip(labels, map(float, values), strict=True)), read(scorer))


def read(scorer: Scorer) -> dict[str, int]:
    """Tokens of each golden prompt before truncation; empty where the metric reads no text."""
    if scorer.card.text_limit is None or scorer.card.reads not in ("images+text", "texts"):
        return {}
    counts = scorer.tokens(list(_golden.prompts().values()))
    return dict(zip(_golden.prompts(), map(int, counts), strict=True))


def entry(scorer: Scorer, found: Measured) -> dict[str, Any]:
    """What is stored of one metric."""
    weights = scorer.card.weights.name if scorer.card.weights else ""
    about = {"weights": weights, "unit": scorer.card.unit, "note": scorer.card.note}
    values = {label: round(value, 6) for label, value in found.values.items()}
    return {**about, "values": values, "tokens": found.tokens}


# --- comparing -------------------------------------------------------------------------------------------------


def options(scorer: Scorer) -> str:
    """Short name of how the metric was loaded: its options, which its card describes, and half precision."""
    described = f"{scorer.card.unit}; {scorer.card.note}"
    return hashlib.sha256(described.encode()).hexdigest()[:8] + ("-half" if _half(scorer) else "")


def _half(scorer: Scorer) -> bool:
    return getattr(getattr(scorer, "setting", None), "precision", "float32") != "float32"


def tolerance(scorer: Scorer, value: float) -> float:
    """How far rounding may move `value`, in the metric's unit."""
    width = (scorer.card.upper - scorer.card.lower) / 2
    plain = SHARE_OF_RANGE * width if np.isfinite(width) else SHARE_OF_UNIT * max(1.0, abs(value))
    return float(plain * (HALF if _half(scorer) else 1.0))


def _difference(
    scorer: Scorer, found: dict[str, float], stored: dict[str, float], versions: dict[str, str], word: str
) -> str:
    far = {row: abs(value - stored[row]) for row, value in found.items() if row in stored}
    wrong = [row for row, distance in far.items() if distance > tolerance(scorer, stored[row])]
    if not wrong:
        return ""
    worst = max(wrong, key=lambda row: far[row])
    return (
        f"{len(wrong)} of {len(far)} rows differ, most '{worst}': {found[worst]:.6g}, {word} {stored[worst]:.6g}, "
        f"tolerance {tolerance(scorer, stored[worst]):.2g}; the weights are the same, so code, a library or the device "
        f"gives other numbers ({_golden.changed(versions)}); mend failed checks of pixels and tokens first"
    )
