"""The results table as Markdown, for a README, a data card or an issue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatgenbench.evaluate.summary import HEADLINE
from chatgenbench.report import notes


def markdown_table(summaries: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """What the numbers are, then one line a system, each headline metric as `value [low, high]`."""
    first = dict(summaries[0][1])
    about = (notes.label(first), notes.items(first), notes.text_source(first), notes.intervals(first))
    facts = "; ".join(f"**{part}**" if i == 0 else part for i, part in enumerate(about))
    troubles = [f"{name}: {line}" for name, summary in summaries for line in notes.troubles(dict(summary))]
    warnings = [*notes.mismatches([(name, dict(summary)) for name, summary in summaries]), *troubles]
    return "\n".join(
        [facts + ".", "", *_table(summaries), *(["", *(f"- {line}" for line in warnings)] if warnings else [])]
    )


def _table(summaries: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    known = [m for m in HEADLINE if any(m in s["metrics"] for _, s in summaries)]
    heads = [_head(m, summaries) for m in known]
    lines = ["| system | " + " | ".join(heads) + " |", "|---" * (len(known) + 1) + "|"]
    for name, summary in summaries:
        cells = [_cell(summary["metrics"].get(m)) for m in known]
        plain = name.replace("|", r"\|")  # systems made of stages are named with it
        lines.append(f"| {plain} | " + " | ".join(cells) + " |")
    return lines


def _head(metric: str, summaries: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    entry = next(s["metrics"][metric] for _, s in summaries if metric in s["metrics"])
    return f"{entry['title']} {'↑' if entry['higher_is_better'] else '↓'}"


def _cell(entry: Mapping[str, Any] | None) -> str:
    if entry is None or entry["value"] is None:
        return "-"
    digits = 3 if abs(entry["upper"] or 100) <= 1 or max(abs(entry[k]) for k in ("value", "low", "high")) < 5 else 1
    return f"{entry['value']:.{digits}f} [{entry['low']:.{digits}f}, {entry['high']:.{digits}f}]"
