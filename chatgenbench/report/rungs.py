"""The oracle ladder and the regret of the chosen models, as tables and charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chatgenbench.evaluate.ladder import CHOICES, RUNGS
from chatgenbench.report import links, numbers
from chatgenbench.report.charts import interval_chart
from chatgenbench.report.data import RunData
from chatgenbench.report.index import Derived

#: rung -> what it is called in a table.
TITLES = {"gold-prompt": "prompt", "gold-model": "model", "gold-arguments": "arguments", "gold": "all three"}

#: Metrics with a chart, where a run has them; those of the plan alone only where nothing was drawn.
CHARTED = ("clipscore", "hpsv2", "imagereward", "clip_image")
CHARTED_PLANS = ("bertscore", "selection_top1", "arguments_mean")


REGRET = "regret_"


def derived(ladder: Mapping[str, Any]) -> list[Derived]:
    """What each row lost on each rung, as columns of the gallery; on `gold-model` that is the regret."""
    regret = ladder["regret"]
    found = [
        Derived(lost_key(name, metric), f"Lost by {TITLES[name]}", metric, _of(metric, rung["rows"]))
        for name, rung in ladder["rungs"].items() if name != "gold-model"
        for metric in regret["metrics"]
    ]  # fmt: skip
    return [*(Derived(REGRET + m, "Regret", m, _of(m, regret["rows"])) for m in regret["metrics"]), *found]


def _of(metric: str, rows: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {item: values[metric] for item, values in rows.items()}


def lost_key(rung: str, metric: str) -> str:
    return REGRET + metric if rung == "gold-model" else f"lost_{rung}_{metric}"


def ladder_view(run: RunData, ladder: Mapping[str, Any]) -> dict[str, Any]:
    """Heads, a row per metric, charts, and the regret's tables, of a ladder of this run."""
    rungs: Mapping[str, Any] = ladder["rungs"]
    metrics = list(next(iter(rungs.values()))["metrics"])
    return {
        "heads": [name.replace("-", " ") if name != "gold" else "gold plan" for name in RUNGS],
        "rows": [_row(run, metric, rungs, metric in ladder["regret"]["metrics"]) for metric in metrics],
        "charts": [
            chart for m in (CHARTED if run.pictured else CHARTED_PLANS) if m in metrics if (chart := _chart(m, rungs))
        ],
        "unplanned": sum(row.plan is None for row in run.rows),
        "unplanned_link": links.rows(("choice", "no plan")),
        "regret": regret_view(run, ladder["regret"]),
    }


def _row(run: RunData, metric: str, rungs: Mapping[str, Any], by_row: bool) -> dict[str, Any]:
    entries = {name: rungs[name]["metrics"][metric] for name in RUNGS}
    first = entries["gold"]
    style = numbers.format_for([*(_lost(entry) for entry in entries.values()), run.entry(metric)])
    return {
        "title": numbers.title(metric, first), "arrow": numbers.arrow(first),
        "run": style.value({"value": first["run"]}),
        "cells": [
            {
                "value": style.value(e), "lost": signed(style, e["lost"]["value"]),
                "interval": interval(style, e["lost"]),
                "link": links.rows(("sort", lost_key(name, metric)), ("order", "high")) if by_row else "",
            }
            for name, e in entries.items()
        ],
    }  # fmt: skip


def _lost(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**entry["lost"], "unit": entry["unit"], "higher_is_better": True, "lower": None, "upper": None}


def _chart(metric: str, rungs: Mapping[str, Any]) -> dict[str, Any] | None:
    entries = {name: rungs[name]["metrics"][metric] for name in RUNGS}
    lines = [(TITLES[name], _lost(entry), name == "gold") for name, entry in entries.items()]
    style = numbers.format_for([entry for _, entry, _ in lines])
    chart = interval_chart(lines, style)
    if chart is None:
        return None
    title = numbers.title(metric, entries["gold"])
    unit = "percentage points" if style.suffix else numbers.unit(entries["gold"])
    return {
        "title": title, "unit": unit, "direction": "points lost, to the right of 0",
        "chart": replace(chart, better="more lost →"),
    }  # fmt: skip


def signed(style: numbers.Format, value: float | None) -> str:
    """A difference with its sign; percentage points have no suffix."""
    text = style.number(value)
    return text if text == numbers.MISSING or text.startswith("-") or float(text) == 0 else f"+{text}"


def interval(style: numbers.Format, entry: Mapping[str, Any]) -> str:
    if not numbers.has_interval(entry):
        return ""
    return f"[{signed(style, entry['low'])}, {signed(style, entry['high'])}]"


def regret_view(run: RunData, regret: Mapping[str, Any]) -> dict[str, Any] | None:
    """Regret by choice and the costliest models; None for a run without pictures, which no model changes."""
    metrics: list[str] = regret["metrics"]
    if not metrics or not regret["all"]:
        return None
    known = {m: [regret["all"][m], *(part[m] for part in regret["choices"].values())] for m in metrics}
    styles = {m: numbers.format_for([{**e, "unit": ""} for e in known[m]]) for m in metrics}
    order = ("order", "high")
    choices = [(kind, regret["choices"][kind]) for kind in CHOICES if kind in regret["choices"]]
    rows = [("all rows with a plan", regret["all"] | {"n": len(regret["rows"])}, tuple(("choice", k) for k in CHOICES))]
    rows += [(kind, part, (("choice", kind),)) for kind, part in choices]
    main = regret["metric"]
    by_regret = ("sort", REGRET + main)
    return {
        "columns": [numbers.title(m, run.entry(m)) for m in metrics],
        "rows": [
            {
                "name": name, "n": part["n"], "link": links.rows(*filters, by_regret, order),
                "cells": [(signed(styles[m], part[m]["value"]), interval(styles[m], part[m])) for m in metrics],
            }
            for name, part, filters in rows
        ],
        "main": numbers.title(main, run.entry(main)),
        "models": [
            {
                "model": entry["model"], "rows": entry["rows"],
                "total": signed(styles[main], entry["total"]), "mean": signed(styles[main], entry["mean"]),
                "link": links.rows(
                    ("model", entry["model"]), ("choice", "near-twin"), ("choice", "wrong"), by_regret, order
                ),
            }
            for entry in regret["models"]
        ],
    }  # fmt: skip
