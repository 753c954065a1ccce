"""report.html: one run on one page that opens offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chatgenbench.benchmark import Benchmark
from chatgenbench.evaluate.ladder import read_ladder
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.evaluate.summary import HEADLINE, SET_SLICES, SLICES
from chatgenbench.report import links, notes, numbers
from chatgenbench.report.cards import EMBEDDED, gallery, sources
from chatgenbench.report.certificate import certificate_view
from chatgenbench.report.charts import interval_chart
from chatgenbench.report.cost import cost
from chatgenbench.report.data import PictureOf, RunData, read_run
from chatgenbench.report.failures import failure_rows, kind_rows
from chatgenbench.report.index import index, parts
from chatgenbench.report.page import write_page
from chatgenbench.report.rungs import derived, ladder_view
from chatgenbench.report.thumbnails import Shelf

#: Slices drawn into the charts of a run, below its own line.
CHARTED = ("split", "kind")
#: Metrics of all pictures together, which no row has.
SETS = ("fid", "unified")
ALL_ROWS = links.rows(("page", "1"))


def write_report(
    folder: RunFolder, benchmark: Benchmark, picture_of: PictureOf, path: Path | None = None,
    embedded: int = EMBEDDED,
) -> Path:  # fmt: skip
    """Write a finished run's page and return where it is (`report.html` in the folder unless `path` says else).

    A run of more than `embedded` rows gets its pictures in a folder beside the page (`report_files`).

    Args:
        picture_of: pool name of a picture -> its file.

    Raises:
        RunFolderError, BenchmarkError, InfraError: the run cannot be read, or the disk refuses the page.
    """
    run = read_run(folder, benchmark, picture_of)
    page = path or folder.report
    beside = len(run.rows) > embedded
    cards = gallery(run, benchmark, _shelf(page, run, benchmark) if beside else None)
    ladder, fresh = read_ladder(folder, run.summary)
    known = ladder if fresh else None
    rows = index(run, benchmark, cards, derived(known) if known else ())
    return write_page(
        page, "report.html.j2", "gallery.js", pictures_beside=beside,
        heading=f"{run.name} on {notes.benchmark(run.summary)}", run=run, label=notes.label(run.summary),
        facts=facts(run.summary), troubles=notes.troubles(run.summary), metrics=metric_views(run),
        every=every_metric(run), slices=slice_tables(run), failures=failure_rows(run), kinds=kind_rows(run),
        pictured=run.pictured,
        index=rows, parts=parts(cards), choices=filter_choices(rows), beside=beside,
        ladder=known and ladder_view(run, known), stale=ladder is not None and not fresh,
        cost=cost(run, benchmark), ledger=ledger_rows(run),
        certificate=certificate_view(run),
        provenance=provenance(run), weights=weight_rows(run), versions=run.manifest["versions"],
    )  # fmt: skip


def _shelf(page: Path, run: RunData, benchmark: Benchmark) -> Shelf:
    shelf = Shelf(page.parent / f"{page.stem}_files")
    shelf.fill(sources(run, benchmark))
    return shelf


def facts(summary: notes.Summary) -> list[str]:
    """The sentences under a page's title."""
    texts = (notes.items(summary), notes.text_source(summary), notes.intervals(summary))
    return [text[:1].upper() + text[1:] for text in texts]


def metric_views(run: RunData) -> list[dict[str, Any]]:
    """One view per headline metric: texts and a chart of the run, its splits and kinds."""
    views = []
    for metric in HEADLINE:
        entry = run.entry(metric)
        if entry is None:
            continue
        parts = [
            (where.partition("=")[2], run.entry(metric, where), False)
            for name in CHARTED for where in run.summary["slices"] if where.startswith(f"{name}=")
        ]  # fmt: skip
        style = numbers.format_for([entry, *(e for _, e, _ in parts)])
        chart = interval_chart([("all rows", entry, True), *parts], style)
        views.append(_texts(metric, entry, style) | {"chart": chart})
    return views


def every_metric(run: RunData) -> list[dict[str, Any]]:
    """Texts of every metric in the summary, headline first."""
    order = [*HEADLINE, *(m for m in run.summary["metrics"] if m not in HEADLINE)]
    known = [(m, entry) for m in order if (entry := run.entry(m)) is not None]
    return [_texts(m, entry, numbers.format_for([entry])) | {"right_wrong": right_wrong(run, m)} for m, entry in known]


def right_wrong(run: RunData, metric: str) -> list[tuple[str, str]]:
    """(text, link) of the rows behind a share that each row has whole or not at all; empty for other metrics."""
    values = [v for row in run.rows if (v := run.scores.get(row.item.id, {}).get(metric)) is not None]
    entry = run.entry(metric)
    if entry is None or entry["unit"] != "share" or not set(values) <= {0.0, 1.0}:
        return []
    counts = {"right": values.count(1.0), "wrong": values.count(0.0)}
    return [
        (f"{counts[name]} {name}", links.rows((metric, value)))
        for name, value in (("right", "1"), ("wrong", "0")) if counts[name]
    ]  # fmt: skip


def _texts(metric: str, entry: dict[str, Any], style: numbers.Format) -> dict[str, Any]:
    return {
        "name": metric, "title": numbers.title(metric, entry), "arrow": numbers.arrow(entry),
        "direction": numbers.direction(entry), "unit": numbers.unit(entry), "value": style.value(entry),
        "interval": style.interval(entry), "n": entry["n"], "clusters": entry["clusters"],
        "rows": ALL_ROWS if metric in SETS else links.worst_first(metric, entry["higher_is_better"]),
        "of_set": metric in SETS,
    }  # fmt: skip


def slice_tables(run: RunData) -> list[dict[str, Any]]:
    """One table per slice name: its metrics that have values there, and a row per slice value."""
    tables = []
    for name in SLICES:
        places = [where for where in run.summary["slices"] if where.startswith(f"{name}=")]
        metrics = [m for m in HEADLINE if any(run.entry(m, where) for where in places)]
        if not places or not metrics:
            continue
        styles = {m: numbers.format_for([run.entry(m, where) for where in places]) for m in metrics}
        tables.append({
            "name": name, "sets": name in SET_SLICES,
            "columns": [(numbers.title(m, e), numbers.arrow(e)) for m in metrics for e in [_first(run, m, places)]],
            "rows": [_slice_row(run, where, metrics, styles) for where in places],
        })  # fmt: skip
    return tables


def _first(run: RunData, metric: str, places: list[str]) -> numbers.Entry | None:
    return next((e for where in places if (e := run.entry(metric, where)) is not None), None)


def _slice_row(run: RunData, where: str, metrics: list[str], styles: dict[str, numbers.Format]) -> dict[str, Any]:
    entries = [(styles[m], run.entry(m, where)) for m in metrics]
    name, _, value = where.partition("=")
    return {
        "value": value,
        "n": next((e["n"] for _, e in entries if e is not None), 0),
        "link": links.rows((name, value)),
        "cells": [(style.value(entry), style.interval(entry)) for style, entry in entries],
    }


def filter_choices(rows: dict[str, Any]) -> list[dict[str, Any]]:
    """The select boxes above the gallery: only those with something to choose."""
    return [f for f in rows["facets"] if len(f["values"]) + (-1 in f["codes"]) > 1]


def ledger_rows(run: RunData) -> list[dict[str, str]]:
    """The truncation ledger as texts."""
    return [
        {
            "metric": numbers.title(metric, run.entry(metric)), "limit": f"{cut['limit']:.0f}",
            "tokens": f"{cut['tokens']:.0f}", "unseen": f"{cut['unseen']:.0f}",
            "share": f"{cut['share_unseen']:.1%}", "rows": f"{cut['rows_cut']:.0f}",
            "whole": f"{cut['rows_whole']:.0f}", "mean": _whole(metric, run),
            "all": numbers.format_for([run.entry(metric)]).value(run.entry(metric)),
        }
        for metric, cut in run.summary["truncation"].items()
    ]  # fmt: skip


def _whole(metric: str, run: RunData) -> str:
    """Mean over the rows a metric read whole, written like the metric itself."""
    return numbers.format_for([run.entry(metric)]).number(run.summary["truncation"][metric]["mean_whole"])


def provenance(run: RunData) -> list[tuple[str, str]]:
    """What made the numbers."""
    identity = run.manifest["identity"]
    pairs = {
        "System": f"{identity['system_spec']}, revision {identity['system_revision']}",
        "Benchmark": f"{identity['benchmark']}, hash {identity['benchmark_hash']}",
        "Seed": identity["seed"],
        "Metric weights": identity["weights"],
        "Device": run.manifest.get("device", "not recorded"),
        "Started": run.manifest["created"],
        **(_drawing(run) if run.pictured else {"Drawing": "none: only the plans are scored"}),
    }
    return [(name, str(value)) for name, value in pairs.items()]


def _drawing(run: RunData) -> dict[str, Any]:
    settings = run.manifest["settings"]
    return {
        "Engine": _flat(run.manifest.get("engine", "not recorded")),
        "Executor": " ".join(map(str, (settings.get("executor", "inline"), settings.get("workers") or ""))).strip(),
        "Batch size": settings["batch_size"],
    }


def _flat(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def weight_rows(run: RunData) -> list[dict[str, str]]:
    """Metric, name, revision and sha256 of the weights behind each number."""
    keys = ("name", "revision", "sha256")
    return [
        {"metric": numbers.title(metric, run.entry(metric)), **{k: str(w[k] or numbers.MISSING) for k in keys}}
        for metric, w in run.summary["run"]["weights"].items()
    ]
