"""Truncation ledger: what share of the texts each metric never saw, and what the rows score that it read whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.run import TextSource
from chatgenbench.statistics import Array

Entry = dict[str, float | None]


def ledger(rows: Sequence[Row], values: Mapping[str, Array], scorers: Any, text: TextSource) -> dict[str, Entry]:
    """One entry per metric that reads text with a limit.

    Args:
        values: metric -> (n,) scores in row order, NaN for infra-failed rows.
        scorers: metric -> its scorer.

    Returns:
        metric -> `limit` (tokens it reads), `tokens` given and `unseen` among them, `share_unseen` (0..1),
        `rows_cut`, and `rows_whole` with `mean_whole`, the mean over rows that were read whole (None without any).
    """
    entries = {}
    for metric, column in values.items():
        card = getattr(_scorer(scorers, metric), "card", None)
        if card is None or card.text_limit is None:
            continue
        lengths = [np.asarray(scorers[metric].tokens(t), np.float64) for t in _texts(card.reads, rows, text)]
        unseen = [np.maximum(n - card.text_limit, 0) for n in lengths]
        entries[metric] = _entry(card.text_limit, lengths, unseen, column)
    return entries


def _entry(limit: int, lengths: Sequence[Array], unseen: Sequence[Array], column: Array) -> Entry:
    tokens, lost = float(np.sum(lengths)), float(np.sum(unseen))
    cut = np.sum(unseen, axis=0) > 0
    whole = column[~cut & np.isfinite(column)]
    return {
        "limit": float(limit), "tokens": tokens, "unseen": lost, "share_unseen": lost / max(tokens, 1.0),
        "rows_cut": float(cut.sum()), "rows_whole": float(len(whole)),
        "mean_whole": float(whole.mean()) if len(whole) else None,
    }  # fmt: skip


def _scorer(scorers: Any, metric: str) -> Any:
    try:
        return scorers[metric]
    except KeyError:  # a column of the plan itself
        return None


def _texts(reads: str, rows: Sequence[Row], text: TextSource) -> list[list[str]]:
    """The texts a metric read of each row: two prompts, or the one that stands for the request."""
    if reads == "texts":
        return [[r.gold.plan.prompt for r in rows], [r.plan.prompt if r.plan else "" for r in rows]]
    return [[r.text(text) for r in rows]]
