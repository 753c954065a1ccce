"""Metrics for text-to-image systems: one file a metric, one card a metric.

    import t2imetrics
    scorer = t2imetrics.load("clipscore", weights="miniature")
    values = scorer.score(["cat.png"], ["a cat on a chair"])   # float64, shape (1,)

Importing this package loads neither torch nor any weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from t2imetrics import errors
from t2imetrics._aggregate import Mean
from t2imetrics._card import MetricCard, Weights
from t2imetrics._registry import card, card_text, load
from t2imetrics._registry import names as list
from t2imetrics._scorer import PictureScorer, Scorer, Setting

if TYPE_CHECKING:
    from t2imetrics.suite import Suite

__all__ = [
    "Mean", "MetricCard", "PictureScorer", "Scorer", "Setting", "Suite", "Weights", "card", "card_text", "errors",
    "list", "load",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """`Suite` is imported when it is first asked for."""
    if name == "Suite":
        from t2imetrics.suite import Suite

        return Suite
    raise AttributeError(f"module 't2imetrics' has no attribute '{name}'")
