"""Scores of the plan itself: the chosen model and the arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from t2imetrics import arguments, selection

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.evaluate.rows import Row
from chatgenbench.schema import ARGUMENT_KEYS, Plan
from chatgenbench.statistics import Array

TOP_K = 5

#: Columns this module fills, in table order.
COLUMNS = (
    "selection_top1", "selection_top5", "selection_mrr", "selection_family", "selection_base",
    *(f"arguments_{key}" for key in ARGUMENT_KEYS), "arguments_mean", "arguments_joint", "arguments_tolerant",
)  # fmt: skip


def score_plans(rows: Sequence[Row], benchmark: Benchmark) -> dict[str, Array]:
    """COLUMNS, each (n,) in row order; a row without a plan scores 0 everywhere.

    A plan without a ranking is taken to rank its own model alone.
    """
    catalog = benchmark.catalog
    chosen = [None if row.plan is None else _id(catalog, row.plan.model) for row in rows]
    gold = [_id(catalog, row.gold.plan.model) for row in rows]
    rankings = [None if row.plan is None else _ranking(catalog, row.plan) for row in rows]
    answers = [None if row.plan is None else _scored(row.plan) for row in rows]
    wanted = [_scored(row.gold.plan) for row in rows]
    keys, tolerant = arguments.per_key(answers, wanted), arguments.tolerant(answers, wanted)
    columns = {
        "selection_top1": selection.top1(chosen, gold),
        "selection_top5": selection.topk(rankings, gold, TOP_K),
        "selection_mrr": selection.reciprocal_rank(rankings, gold),
        "selection_family": selection.family(chosen, gold, {r.id: r.near_twins for r in catalog}),
        "selection_base": selection.base_model(chosen, gold, {r.id: r.base_model for r in catalog}),
        **{f"arguments_{key}": keys[key] for key in ARGUMENT_KEYS},
        "arguments_mean": np.mean([keys[key] for key in ARGUMENT_KEYS], axis=0),
        "arguments_tolerant": np.mean([tolerant[key] for key in ARGUMENT_KEYS], axis=0),
        "arguments_joint": keys["joint"],
    }
    return {name: columns[name] for name in COLUMNS}


def _scored(plan: Plan) -> dict[str, Any]:
    return {key: getattr(plan.arguments, key) for key in ARGUMENT_KEYS}


def _ranking(catalog: Catalog, plan: Plan) -> list[str]:
    return [_id(catalog, name) for name in (plan.ranking or (plan.model,))]


def _id(catalog: Catalog, name: str) -> str:
    record = catalog.find(name)
    return record.id if record else name
