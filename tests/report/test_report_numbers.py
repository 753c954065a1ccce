"""How numbers and charts are written."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chatgenbench.report import charts, markdown, numbers


def entry(value: float, low: float, high: float, unit: str = "points", higher: bool = True) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "unit": unit, "higher_is_better": higher, "title": "x", "n": 3}


def test_shares_are_percent() -> None:
    e = entry(0.3124, 0.2981, 0.3271, "share")
    assert numbers.format_for([e]).both(e) == "31.2% [29.8, 32.7]"


def test_digits_follow_the_narrowest_interval() -> None:
    wide, narrow = entry(31.234, 25.1, 37.9), entry(30.111, 30.05, 30.16)
    assert numbers.format_for([wide]).both(wide) == "31.2 [25.1, 37.9]"
    assert numbers.format_for([wide, narrow]).value(wide) == "31.23"


def test_what_is_not_finite_is_a_dash() -> None:
    gap = {**entry(0, 0, 0), "value": None, "low": None, "high": None}
    style = numbers.format_for([gap])
    assert (style.value(gap), style.interval(gap), style.value(None)) == ("–", "", "–")
    assert style.number(math.nan) == "–"


def test_no_negative_zero() -> None:
    assert numbers.Format(1, 1, "").number(-0.01) == "0.0"


def test_best_follows_direction() -> None:
    assert numbers.best([entry(1, 0, 2), None, entry(3, 2, 4)]) == 3
    assert numbers.best([entry(1, 0, 2, higher=False), entry(3, 2, 4, higher=False)]) == 1
    assert numbers.best([None]) is None


span = st.tuples(st.floats(-1e5, 1e5), st.floats(0, 1e4)).map(lambda p: (p[0], p[0] + p[1]))


@given(st.lists(span, min_size=1, max_size=8))
def test_charts_hold_every_interval_and_tell_a_scale(spans: list[tuple[float, float]]) -> None:
    lines = [(f"s{i}", entry((low + high) / 2, low, high), True) for i, (low, high) in enumerate(spans)]
    chart = charts.interval_chart(lines, numbers.format_for([e for _, e, _ in lines]))
    assert chart is not None
    assert 1 < len(chart.ticks) < 9
    for mark in chart.marks:
        assert charts.LABEL <= mark.low <= mark.x + 0.011
        assert mark.x <= mark.high + 0.011
        assert mark.high <= charts.RIGHT
    assert all(charts.LABEL <= tick.x <= charts.RIGHT for tick in chart.ticks)


def test_chart_without_any_interval_is_none() -> None:
    assert charts.interval_chart([("a", None, True)], numbers.format_for([])) is None


def test_long_names_keep_both_ends() -> None:
    assert charts.fit("mypackage.agents:First") != charts.fit("mypackage.agents:Second")
    assert len(charts.fit("x" * 80)) == charts.LABEL_LENGTH


def test_labels_of_stages_keep_what_tells_them_apart() -> None:
    labels = ["oracle", *(f"chat | {chooser} | model-args" for chooser in ("hybrid", "bm25-cards", "dense-cards"))]
    assert charts.told_apart(labels) == ["oracle", "hybrid", "bm25-cards", "dense-cards"]
    more = [*labels, "evo1:runs/evo | hybrid | model-args", "chat | fixed:toybox3D_v2 | model-args"]
    short = charts.told_apart(more)
    assert short == ["oracle", "chat hybrid", "chat bm25…ds", "chat dens…ds", "evo1 hybrid", "chat fixe…v2"]
    assert charts.told_apart(["chat | hybrid | model-args"]) == ["chat …l-args"]


def test_the_name_of_a_composed_system_is_one_cell_of_a_markdown_table() -> None:
    score = {"title": "CLIP score", "higher_is_better": True, "value": 45.9, "low": 42.4, "high": 49.3, "upper": None}
    head, _, row = markdown._table([("chat | hybrid | model-args", {"metrics": {"clipscore": score}})])
    assert head == "| system | CLIP score ↑ |"
    assert row == r"| chat \| hybrid \| model-args | 45.9 [42.4, 49.3] |"
