"""Plans made elsewhere, read from a CSV or JSONL file."""

from __future__ import annotations

from chatgenbench.systems.predictions.system import SUFFIXES, Predictions

__all__ = ["SUFFIXES", "Predictions"]
