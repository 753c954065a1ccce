"""How the entries of summary.json are titled and written, the same in the terminal and on the pages.

An entry is one metric's dict of summary.json: value, low, high (None where not finite), n, title, unit,
higher_is_better, lower, upper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import t2imetrics

from chatgenbench.evaluate.summary import describe

Entry = Mapping[str, Any]

MISSING = "–"


@dataclass(frozen=True)
class Format:
    """How a metric's values are written: times `scale`, `digits` after the point, then `suffix`."""

    scale: float
    digits: int
    suffix: str

    def number(self, value: float | None) -> str:
        """`value` in display units without its suffix; a dash for None and what is not finite."""
        if value is None or not math.isfinite(value):
            return MISSING
        text = f"{value * self.scale:.{self.digits}f}"
        if self.suffix == "%" and float(text) == 100:
            return "100"
        return text.removeprefix("-") if float(text) == 0 else text

    def value(self, entry: Entry | None) -> str:
        text = MISSING if entry is None else self.number(entry["value"])
        return text if text == MISSING else text + self.suffix

    def interval(self, entry: Entry | None) -> str:
        """`[low, high]`, or nothing where the entry has no interval."""
        if not has_interval(entry):
            return ""
        assert entry is not None
        return f"[{self.number(entry['low'])}, {self.number(entry['high'])}]"

    def both(self, entry: Entry | None) -> str:
        """`value [low, high]`."""
        return f"{self.value(entry)} {self.interval(entry)}".rstrip()


def has_interval(entry: Entry | None) -> bool:
    return entry is not None and None not in (entry["value"], entry["low"], entry["high"])


def format_for(entries: Iterable[Entry | None]) -> Format:
    """One format for all entries of a metric, so that a column lines up.

    Shares are written as percent with one digit.  Other values get as many digits as the narrowest interval
    supports: two significant ones of its width, at least 1 and at most 4.
    """
    known = [e for e in entries if e is not None]
    if any(e["unit"] == "share" for e in known):
        return Format(100.0, 1, "%")
    widths = [e["high"] - e["low"] for e in known if has_interval(e) and e["high"] > e["low"]]
    digits = 1 - math.floor(math.log10(min(widths))) if widths else 3
    return Format(1.0, min(max(digits, 1), 4), "")


def title(metric: str, entry: Entry | None) -> str:
    """What a table prints for a metric; its own name where nothing better is known."""
    text = str(entry["title"]) if entry is not None else metric
    return text[:1].upper() + text[1:]


def heading(metric: str, entry: Entry | None) -> str:
    """A column's heading: title and arrow, also of a metric that has no value here (its card knows both)."""
    if entry is None:
        try:
            entry = describe(metric, {metric: t2imetrics.card(metric)} if metric in t2imetrics.list() else {})
        except (KeyError, t2imetrics.errors.MetricError):  # of a package that is no longer there, or no longer whole
            return title(metric, None)
    return f"{title(metric, entry)} {arrow(entry)}"


def arrow(entry: Entry | None) -> str:
    """The direction in which values get better."""
    if entry is None:
        return ""
    return "↑" if entry["higher_is_better"] else "↓"


def direction(entry: Entry) -> str:
    return "higher is better" if entry["higher_is_better"] else "lower is better"


def unit(entry: Entry) -> str:
    return "% of rows" if entry["unit"] == "share" else str(entry["unit"])


def best(entries: Iterable[Entry | None]) -> float | None:
    """The best value among the entries of one metric, None if none has a value."""
    known = [e for e in entries if e is not None and e["value"] is not None]
    if not known:
        return None
    values = [float(e["value"]) for e in known]
    return max(values) if known[0]["higher_is_better"] else min(values)
