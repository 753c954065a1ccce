"""Rows without a result: how they ended, why, how many, and what they count as."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.summary import HEADLINE
from chatgenbench.report import links, numbers
from chatgenbench.report.data import RunData
from chatgenbench.report.index import reason_of
from chatgenbench.systems.answers import KINDS, OTHER_KINDS

#: Items named in the table; the link leads to all.
EXAMPLES = 3


def failure_rows(run: RunData) -> list[dict[str, Any]]:
    """One entry per outcome and reason, most frequent first: count, link to the rows, what they score, examples."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in run.rows:
        if (reason := reason_of(row)) is not None:
            groups[str(row.outcome), reason].append(row)
    ordered = sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return [
        {
            "outcome": outcome, "reason": reason, "count": len(rows), "scored": scored_as(run, rows),
            "link": links.rows(("outcome", outcome), ("reason", reason)),
            "examples": links.items([row.item.id for row in rows[:EXAMPLES]]),
        }
        for (outcome, reason), rows in ordered
    ]  # fmt: skip


def kind_rows(run: RunData) -> list[dict[str, Any]]:
    """One entry per kind of failure, most frequent first: what it means, count, link to the rows, an example."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in run.rows:
        if row.failure is not None:
            groups[row.failure].append(row)
    meanings = KINDS | OTHER_KINDS
    return [
        {
            "kind": kind, "meaning": meanings[kind], "count": len(rows), "link": links.rows(("failure", kind)),
            "example": links.items([rows[0].item.id])[0],
        }
        for kind, rows in sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    ]  # fmt: skip


def scored_as(run: RunData, rows: Sequence[Row]) -> str:
    """What these rows put into the means of the headline metrics, or that they are left out of them."""
    texts = []
    for metric in (m for m in HEADLINE if m in run.columns):
        values = [v for row in rows if (v := run.scores.get(row.item.id, {}).get(metric)) is not None]
        if not values:
            continue
        entry = run.entry(metric)
        style = numbers.format_for([entry])
        mean = style.number(sum(values) / len(values)) + style.suffix
        texts.append(f"{numbers.title(metric, entry)} {mean}{' on average' if min(values) != max(values) else ''}")
    return ", ".join(texts) or "left out until it is run again"
