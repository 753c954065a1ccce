"""comparison.html: several systems on one page."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import UserError
from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.evaluate.summary import HEADLINE
from chatgenbench.report import notes, numbers
from chatgenbench.report.cards import why_no_picture
from chatgenbench.report.charts import interval_chart
from chatgenbench.report.choosing import choices
from chatgenbench.report.cost import COUNTED, per_answer
from chatgenbench.report.data import PictureOf, RunData, benchmark_picture, read_run, stratified
from chatgenbench.report.html import facts
from chatgenbench.report.page import write_page
from chatgenbench.report.pictures import Album

#: Items on the picture wall.
WALL = 24


def write_comparison(
    folders: Sequence[RunFolder], benchmark: Benchmark, pictures_of: Sequence[PictureOf], path: Path
) -> Path:
    """Write the page of several finished runs of one benchmark to `path`, and return it.

    Args:
        pictures_of: for each run, pool name of a picture -> its file.

    Raises:
        UserError: no run was given.
        RunFolderError, BenchmarkError, InfraError: a run cannot be read, or the disk refuses the page.
    """
    if not folders:
        raise UserError("nothing to compare: give at least one finished run")
    runs = [read_run(f, benchmark, p) for f, p in zip(folders, pictures_of, strict=True)]
    names = unique_names(runs)
    named = [(name, run.summary) for name, run in zip(names, runs, strict=True)]
    links = [_link(run.folder.report, path) for run in runs]
    places = sorted({where for run in runs for where in run.summary["slices"] if where.startswith("split=")})
    first = runs[0].summary
    return write_page(
        path, "comparison.html.j2", "sort.js",
        heading=f"{len(runs)} systems on {notes.benchmark(first)}", label=notes.label(first), facts=facts(first),
        choices=choices(runs), cost_columns=["Time", *(name.removesuffix(" of the answers") for name, _, _ in COUNTED)],
        costs=[(name, per_answer(run)) for name, run in zip(names, runs, strict=True)],
        mismatches=notes.mismatches(named),
        troubles=[f"{name}: {line}" for name, summary in named for line in notes.troubles(summary)],
        systems=list(zip(names, links, strict=True)), table=metric_table(names, links, runs),
        charts=charts(names, runs), wall=wall(names, runs, benchmark), pictured=any(run.pictured for run in runs),
        splits=[(where.partition("=")[2], metric_table(names, links, runs, where)) for where in places],
    )  # fmt: skip


def unique_names(runs: Sequence[RunData]) -> list[str]:
    """Each run's system, with its folder's name where two runs have the same system."""
    often = Counter(run.name for run in runs)
    return [run.name if often[run.name] == 1 else f"{run.name} ({run.folder.path.name})" for run in runs]


def _link(report: Path, page: Path) -> str:
    return quote(Path(os.path.relpath(report, page.parent)).as_posix())


def metric_table(
    names: Sequence[str], links: Sequence[str], runs: Sequence[RunData], where: str | None = None
) -> dict[str, Any]:
    """Columns and rows of a sortable table of the headline metrics, of whole runs or of one slice."""
    metrics = [m for m in HEADLINE if any(run.entry(m, where) for run in runs)]
    columns = [[run.entry(m, where) for run in runs] for m in metrics]
    cells = [_cells(entries) for entries in columns]
    heads = [next(e for e in entries if e is not None) for entries in columns]
    pairs = zip(metrics, heads, strict=True)
    return {
        "columns": [(numbers.title(m, e), numbers.arrow(e), numbers.direction(e)) for m, e in pairs],
        "rows": [
            {"name": name, "link": links[i], "cells": [column[i] for column in cells], **_counts(runs[i], where)}
            for i, name in enumerate(names)
        ],
    }


def _cells(entries: Sequence[dict[str, Any] | None]) -> list[dict[str, Any]]:
    style, best = numbers.format_for(entries), numbers.best(entries)
    many = sum(e is not None for e in entries) > 1
    return [
        {
            "value": style.value(e), "interval": style.interval(e), "sort": None if e is None else e["value"],
            "best": many and e is not None and e["value"] is not None and e["value"] == best,
        }
        for e in entries
    ]  # fmt: skip


def _counts(run: RunData, where: str | None) -> dict[str, int]:
    name, _, value = (where or "").partition("=")
    rows = [row for row in run.rows if where is None or row.slices.get(name) == value]
    outcomes = Counter(str(row.outcome) for row in rows)
    return {
        "n": len(rows) - outcomes["infra-failed"],
        "failed": outcomes["system-failed"] + outcomes["blocked"],
    }


def charts(names: Sequence[str], runs: Sequence[RunData]) -> list[dict[str, Any]]:
    """One chart per headline metric with every system on the same axis."""
    views = []
    for metric in HEADLINE:
        entries = [run.entry(metric) for run in runs]
        style = numbers.format_for(entries)
        chart = interval_chart([(name, e, True) for name, e in zip(names, entries, strict=True)], style)
        head = next((e for e in entries if e is not None), None)
        if chart is not None and head is not None:
            views.append({
                "title": numbers.title(metric, head), "arrow": numbers.arrow(head),
                "direction": numbers.direction(head), "unit": numbers.unit(head), "chart": chart,
            })  # fmt: skip
    return views


def wall(
    names: Sequence[str], runs: Sequence[RunData], benchmark: Benchmark, limit: int = WALL
) -> list[dict[str, Any]]:
    """Stratified items that every run has: the chat, the demonstration and each system's picture or prompt."""
    by_item = [{row.item.id: row for row in run.rows} for run in runs]
    shared = [row for row in runs[0].rows if all(row.item.id in rows for rows in by_item)]
    chosen = stratified(benchmark, shared, limit)
    album = Album()
    return [
        {
            "id": row.item.id, "split": row.item.split, "kind": row.item.input.kind,
            "messages": [
                {"role": m.role, "text": m.text, "pictures": [
                    p for name in m.images if (p := album.get(benchmark_picture(benchmark, name))) is not None
                ]}
                for m in row.item.input.messages
            ],
            "gold": album.get(benchmark_picture(benchmark, row.gold.picture)),
            "gold_model": row.gold.plan.model,
            "gold_prompt": row.gold.plan.prompt,
            "answers": [
                _answer(name, run, rows[row.item.id], album, benchmark)
                for name, run, rows in zip(names, runs, by_item, strict=True)
            ],
        }
        for row in shared if row.item.id in chosen
    ]  # fmt: skip


def _answer(name: str, run: RunData, row: Row, album: Album, benchmark: Benchmark) -> dict[str, Any]:
    picture = album.get(run.drawn(row))
    said = row.plan.prompt if row.plan and not run.pictured else None
    metric = "clipscore" if run.pictured else "bertscore"
    entry, score = run.entry(metric), run.scores.get(row.item.id, {}).get(metric)
    record = benchmark.catalog.find(row.plan.model) if row.plan else None
    own = record.id if record else row.plan.model if row.plan else "no plan"
    wanted = benchmark.catalog.find(row.gold.plan.model)
    return {
        "name": name,
        "picture": picture,
        "absent": None if picture or said is not None else why_no_picture(row),
        "said": said,
        "model": own,
        "right": wanted is not None and own == wanted.id,
        "score": numbers.format_for([entry]).number(score),
        "title": numbers.title(metric, entry),
    }
