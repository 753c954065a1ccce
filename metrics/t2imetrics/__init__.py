"""Metrics for text-to-image systems: one file a metric, one card a metric.

    import t2imetrics
    scorer = t2imetrics.load("clipscore", weights="miniature")
    values = scorer.score(["cat.png"], ["a cat on a chair"])   # float64, shape (1,)

Importing this package loads neither torch nor any weights.
"""

from __future__ import annotations

from t2imetrics import errors
from t2imetrics._card import MetricCard, Weights
from t2imetrics._registry import card, card_text, load
from t2imetrics._registry import names as list
from t2imetrics._scorer import Scorer, Setting

__all__ = ["MetricCard", "Scorer", "Setting", "Weights", "card", "card_text", "errors", "list", "load"]
