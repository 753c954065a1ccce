"""From scores to summary.json: every metric with its interval, for all rows and for every slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from t2imetrics.fid import Moments, fid_of
from t2imetrics.unified import Unified, unified

from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.score import SCORING, Scored
from chatgenbench.schema import Outcome
from chatgenbench.statistics import (
    SET_RESAMPLES,
    Array,
    Clusters,
    Interval,
    centred,
    mean_interval,
    set_interval,
    weighted_means,
)

#: What is printed first, in the order of the paper's tables.
HEADLINE = (
    "bertscore", "selection_top1", "arguments_mean", "fid", "clipscore", "hpsv2", "imagereward", "unified",
)  # fmt: skip

#: Slices along which a run is broken down; FID needs many pictures of one split, so it is kept to the splits.
SLICES = ("split", "kind", "style", "group")
SET_SLICES = ("split",)

#: Columns that are shares of rows.
_SHARES: Mapping[str, str] = {
    "selection_top1": "Model top-1", "selection_top5": "Model top-5", "selection_mrr": "Model MRR",
    "selection_base": "Base model", "selection_family": "Model or near-twin",
    "arguments_sampler": "Sampler", "arguments_steps": "Steps", "arguments_cfg_scale": "CFG scale",
    "arguments_width": "Width", "arguments_height": "Height", "arguments_mean": "Arguments",
    "arguments_joint": "Arguments, all five", "arguments_tolerant": "Arguments, tolerant",
}  # fmt: skip


def summarise(
    rows: Sequence[Row], scored: Scored, seed: int, tick: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """The content of summary.json (see DESIGN, "Contracts that outsiders rely on").

    `tick(done, total)` tells how many of the run's slices have their intervals.  Infra-failed rows have no value yet:
    they are left out of the numbers and named in `incomplete`.
    """
    known = np.array([row.outcome is not Outcome.INFRA_FAILED for row in rows])
    whole = _metrics(rows, scored, known, seed, with_sets=True) if known.any() else {}
    slices = {}
    places = [(n, v) for n in SLICES for v in sorted({row.slices[n] for row in rows if n in row.slices})]
    for done, (name, value) in enumerate(places, 1):
        tick(done, len(places) + 1)
        mask = known & np.array([row.slices.get(name) == value for row in rows])
        if mask.any():
            slices[f"{name}={value}"] = _metrics(rows, scored, mask, seed, with_sets=name in SET_SLICES)
    tick(len(places) + 1, len(places) + 1)
    sets = {"set_resamples": SET_RESAMPLES} if scored.features.shape[1] else {}
    return {
        "scoring": SCORING,
        "rows": len(rows),
        "incomplete": int((~known).sum()),
        "outcomes": dict(Counter(str(row.outcome) for row in rows)),
        "notes": dict(Counter(row.planned.note for row in rows if row.planned.note).most_common(50)),
        "failures": dict(Counter(row.failure for row in rows if row.failure).most_common()),
        "reasons": dict(Counter(row.reason for row in rows if row.reason).most_common(50)),
        "approximated_samplers": dict(Counter(r.drawn.approximated for r in rows if r.drawn and r.drawn.approximated)),
        "metrics": whole,
        "slices": slices,
        "truncation": scored.ledger,
        "seconds_per_plan": float(np.mean([row.planned.latency for row in rows])) if rows else 0.0,
        "costs": costs(rows),
        "interval": {"level": 0.95, "method": "bootstrap clustered by demonstration", **sets},
    }


#: What `costs` tells, beside the seconds that every row has.
COUNTED = ("prompt_tokens", "completion_tokens", "tokens", "device_seconds", "usd")


def costs(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """name -> `rows` for which it was counted, their `total` and `mean`; names that nobody counted are left out."""
    found = {}
    for name in COUNTED:
        known = [value for row in rows if (value := getattr(row.planned, name)) is not None]
        if known:
            found[name] = {"rows": len(known), "total": float(np.sum(known)), "mean": float(np.mean(known))}
    return found


def describe(metric: str, cards: Mapping[str, Any]) -> dict[str, Any]:
    """title, unit, direction and range of a column of the table."""
    if metric in _SHARES:
        return {"title": _SHARES[metric], "unit": "share", "higher_is_better": True, "lower": 0.0, "upper": 1.0}
    card = Unified.card if metric == "unified" else cards[metric]
    return {
        "title": card.title, "unit": card.unit, "higher_is_better": card.higher_is_better,
        "lower": card.lower, "upper": card.upper,
    }  # fmt: skip


def _metrics(rows: Sequence[Row], scored: Scored, mask: np.ndarray, seed: int, with_sets: bool) -> dict[str, Any]:
    clusters = Clusters([row.gold.id for row, use in zip(rows, mask, strict=True) if use], seed)
    columns = {c: values[mask] for c, values in scored.values.items()}
    intervals = {c: mean_interval(v, clusters) for c, v in columns.items()}
    if with_sets and mask.sum() >= 2 and scored.features.shape[1]:
        intervals |= _sets(columns, scored.features[mask], scored.reference[mask], clusters)
    return {c: _entry(i, describe(c, scored.cards)) for c, i in intervals.items()}


def _sets(columns: Mapping[str, Array], drawn: Array, gold: Array, clusters: Clusters) -> dict[str, Interval]:
    distance, draws = set_interval(lambda w: fid_of(_moments(drawn, w), _moments(gold, w)), clusters)
    parts = {m: weighted_means(columns[m], clusters, SET_RESAMPLES) for m in ("clipscore", "hpsv2", "imagereward")}
    value = unified(distance.value, *(float(columns[m].mean()) for m in parts))
    resampled = [unified(*draw) for draw in zip(draws, *parts.values(), strict=True)]
    return {"fid": distance, "unified": centred(value, np.array(resampled), clusters)}


def _moments(features: Array, counts: Array) -> Moments:
    """Moments of the rows of `features` (n, d), row i taken counts[i] times."""
    weighted = features * counts[:, None]
    return Moments(int(counts.sum()), weighted.sum(axis=0), weighted.T @ features)


def _entry(interval: Interval, about: dict[str, Any]) -> dict[str, Any]:
    """One metric of summary.json.  A resampled bound cannot leave the metric's range; no bound is null."""
    inside = {"low": max(interval.low, about["lower"]), "high": min(interval.high, about["upper"])}
    entry = asdict(interval) | inside | about
    return {k: (None if isinstance(v, float) and not np.isfinite(v) else v) for k, v in entry.items()}
