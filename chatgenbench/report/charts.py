"""Interval charts as inline SVG: a dot for the value, a whisker for its interval, one axis per metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chatgenbench.report.numbers import Entry, Format, has_interval

WIDTH, ROW, TOP, AXIS = 360, 24, 6, 36
LABEL, RIGHT = 122, 344
#: Characters of a line's label, and the room at both ends of an axis as a share of what it spans.
LABEL_LENGTH, ROOM = 12, 0.04
#: Letters that tell one stage from another.
FIRST = 4
#: Differences below this share of a value are rounding.
SAME = 1e-5


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
    bounds = (known[0][1].get("lower"), known[0][1].get("upper"))
    start, end, ticks = axis([e["low"] for _, e, _ in known], [e["high"] for _, e, _ in known], bounds)

    def x(value: float) -> float:
        return round(LABEL + (value - start) / (end - start) * (RIGHT - LABEL), 2)

    short = told_apart([label for label, _, _ in known])
    marks = tuple(
        Mark(
            label=short[i], tip=f"{label}: {style.both(e)}", y=TOP + ROW * (i + 0.5),
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


def told_apart(labels: Sequence[str]) -> list[str]:
    """Each label as `fit` gives it; of stages (`a | b | c`) only those in which the labels differ."""
    staged = {label: label.split(" | ") for label in labels if " | " in label}
    if len(staged) < 2 or len({len(parts) for parts in staged.values()}) > 1:
        return [fit(label) for label in labels]
    differ = [len(set(column)) > 1 for column in zip(*staged.values(), strict=True)]
    kept = {
        label: _cut([part for part, own in zip(parts, differ, strict=True) if own]) for label, parts in staged.items()
    }
    return [kept.get(label) or fit(label) for label in labels]


def _cut(stages: Sequence[str]) -> str:
    """Stages in the room of a label: the first letters of all but the last, and most of that."""
    flat = " ".join([*(stage[:FIRST] for stage in stages[:-1]), stages[-1]])
    return flat if len(flat) <= LABEL_LENGTH else f"{flat[: LABEL_LENGTH - 3]}…{flat[-2:]}"


def fit(label: str) -> str:
    """`label` on one line, its middle left out where it is longer than a chart has room for."""
    flat = " ".join(label.split())
    return flat if len(flat) <= LABEL_LENGTH else f"{flat[:5]}…{flat[6 - LABEL_LENGTH :]}"


def axis(
    lows: Sequence[float], highs: Sequence[float], bounds: tuple[float | None, float | None] = (None, None)
) -> tuple[float, float, list[float]]:
    """Start and end of an axis that holds all of `lows` and `highs` with some room, and two to six round ticks.

    Values that are all but equal get a wider axis, which keeps within `bounds`, the range of the metric.
    """
    low, high = min(lows), max(highs)
    if not high - low > SAME * max(abs(low), abs(high)):
        half = abs(low) * 0.1 or 0.5
        lower, upper = (math.inf if bound is None else bound for bound in bounds)
        shift = min(0.0, upper - (high + half)) or (max(0.0, lower - (low - half)) if math.isfinite(lower) else 0.0)
        low, high = low - half + shift, high + half + shift
    span = high - low
    step = _round_step(span / 5)
    start, end = low - ROOM * span, high + ROOM * span
    return start, end, [k * step for k in range(math.ceil(start / step), math.floor(end / step) + 1)]


def _round_step(rough: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if rough <= factor * power * (1 + 1e-9))


def _digits(step: float) -> int:
    return max(0, -math.floor(math.log10(step) + 1e-9))
