"""Interval charts as inline SVG: a dot for the value, a whisker for its interval, one axis per metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chatgenbench.errors import shorten
from chatgenbench.report.numbers import Entry, Format, has_interval

WIDTH, ROW, TOP, AXIS = 360, 24, 6, 36
LABEL, RIGHT = 112, 346


@dataclass(frozen=True)
class Mark:
    """One line of a chart, in SVG user units; `strong` draws it heavier."""

    label: str
    tip: str
    y: float
    x: float
    low: float
    high: float
    strong: bool


@dataclass(frozen=True)
class Tick:
    x: float
    text: str


@dataclass(frozen=True)
class Chart:
    """What `interval_chart` of macros.html.j2 draws."""

    height: int
    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]
    better: str
    description: str


def interval_chart(lines: Sequence[tuple[str, Entry | None, bool]], style: Format) -> Chart | None:
    """Chart of (label, entry, strong) lines on one axis that spans all their intervals.

    Lines without an interval are left out; None if none is left.
    """
    known = [(label, entry, strong) for label, entry, strong in lines if entry is not None and has_interval(entry)]
    if not known:
        return None
    ticks = axis([e["low"] for _, e, _ in known], [e["high"] for _, e, _ in known])
    start, end = ticks[0], ticks[-1]

    def x(value: float) -> float:
        return round(LABEL + (min(max(value, start), end) - start) / (end - start) * (RIGHT - LABEL), 2)

    marks = tuple(
        Mark(
            label=shorten(label, 17), tip=f"{label}: {style.both(e)}", y=TOP + ROW * (i + 0.5),
            x=x(e["value"]), low=x(e["low"]), high=x(e["high"]), strong=strong,
        )
        for i, (label, e, strong) in enumerate(known)
    )  # fmt: skip
    higher = bool(known[0][1]["higher_is_better"])
    digits = _digits((ticks[1] - ticks[0]) * style.scale)
    labels = Format(style.scale, digits, style.suffix)
    return Chart(
        height=TOP + ROW * len(marks) + AXIS,
        marks=marks,
        ticks=tuple(Tick(x(t), labels.number(t) + labels.suffix) for t in ticks),
        better="better →" if higher else "← better",
        description="; ".join(mark.tip for mark in marks),
    )


def axis(lows: Sequence[float], highs: Sequence[float]) -> list[float]:
    """Three to six round tick values, the first and last enclosing all of `lows` and `highs`."""
    low, high = min(lows), max(highs)
    if not high > low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    step = _round_step((high - low) / 3)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 2)
    return [k * step for k in range(first, last + 1)]


def _round_step(rough: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if rough <= factor * power * (1 + 1e-9))


def _digits(step: float) -> int:
    return max(0, -math.floor(math.log10(step) + 1e-9))
