"""Scores of the plan itself: the prompt, the chosen model, the arguments."""

from __future__ import annotations

from collections.abc import Mapping

from t2imetrics import arguments, selection

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.evaluate.rows import Row
from chatgenbench.schema import ARGUMENT_KEYS

TOP_K = 5

#: Columns this module fills, in table order.
COLUMNS = (
    "selection_top1", "selection_top5", "selection_base",
    *(f"arguments_{key}" for key in ARGUMENT_KEYS), "arguments_mean", "arguments_joint",
)  # fmt: skip


def score_plan(row: Row, benchmark: Benchmark) -> dict[str, float]:
    """All step-wise scores of one row but the prompt's; a row without a plan scores 0 everywhere."""
    if row.plan is None:
        return dict.fromkeys(COLUMNS, 0.0)
    catalog, gold = benchmark.catalog, row.gold.plan
    ranking = [_id(catalog, name) for name in (row.plan.ranking or (row.plan.model,))]
    chosen, wanted = _id(catalog, row.plan.model), _id(catalog, gold.model)
    keys = arguments.score(_scored(row.plan.arguments.model_dump()), _scored(gold.arguments.model_dump()))
    return {
        "selection_top1": selection.top1(chosen, wanted),
        "selection_top5": selection.topk(ranking, wanted, TOP_K),
        "selection_base": selection.top1(_base(catalog, chosen), _base(catalog, wanted)),
        **{f"arguments_{key}": keys[key] for key in (*ARGUMENT_KEYS, "mean", "joint")},
    }


def _scored(values: Mapping[str, object]) -> dict[str, object]:
    return {key: values[key] for key in ARGUMENT_KEYS}


def _id(catalog: Catalog, name: str) -> str:
    record = catalog.find(name)
    return record.id if record else name


def _base(catalog: Catalog, name: str) -> str:
    record = catalog.find(name)
    return record.base_model if record else ""
