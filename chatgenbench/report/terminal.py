"""The table that ends `eval`: one row per system, every number with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chatgenbench.evaluate.summary import HEADLINE
from chatgenbench.report import notes, numbers
from chatgenbench.report.notes import Named

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

PICTURE_METRICS = ("fid", "clipscore", "hpsv2", "imagereward", "unified")
PLAN_METRICS = tuple(m for m in HEADLINE if m not in PICTURE_METRICS)


def print_table(summaries: Sequence[Named], console: Console) -> None:
    """Print the headline metrics of some runs, each value above its interval.

    Args:
        summaries: (system name, content of summary.json), in the order of the rows.

    A console too narrow for one table gets two, the plan's metrics above the picture's.
    """
    if not summaries:
        return
    title = _title(summaries[0][1])
    for table in _layout(summaries, console):
        console.print(title)  # above each table: none of them may be quoted without its label
        console.print(table)
        console.print()
    for line in _caption(summaries):
        console.print(line, highlight=False)


def _title(summary: notes.Summary) -> Text:
    from rich.text import Text

    name = notes.benchmark(summary)
    label = notes.label(summary).removeprefix(f"{name}: ")  # the miniature's label starts with its name
    return Text.assemble((name, "bold"), " · ", (label, "yellow"))


def _layout(summaries: Sequence[Named], console: Console) -> list[Table]:
    """One table if it fits, else the plan's metrics above the picture's, else these cut in halves."""
    metrics = notes.headline(summaries)
    whole = _table(summaries, metrics, console)
    if _fits(whole, console):
        return [whole]
    pictures = tuple(m for m in metrics if m not in PLAN_METRICS)
    plans = tuple(m for m in PLAN_METRICS if m in metrics)
    return [table for group in (plans, pictures) if group for table in _halved(summaries, group, console)]


def _halved(summaries: Sequence[Named], metrics: Sequence[str], console: Console) -> list[Table]:
    table = _table(summaries, metrics, console)
    if len(metrics) == 1 or _fits(table, console):
        return [table]
    middle = (len(metrics) + 1) // 2
    return [t for half in (metrics[:middle], metrics[middle:]) for t in _halved(summaries, half, console)]


def _fits(table: Table, console: Console) -> bool:
    from rich.measure import Measurement

    unbounded = console.options.update(width=10_000)
    return Measurement.get(console, unbounded, table).maximum <= console.width


def _table(summaries: Sequence[Named], metrics: Sequence[str], console: Console) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("system", overflow="fold", max_width=max(14, console.width // 7))
    columns = [_column(summaries, metric) for metric in metrics]
    for metric, entries in zip(metrics, columns, strict=True):
        known = next((e for e in entries if e is not None), None)
        table.add_column(numbers.heading(metric, known), justify="right", no_wrap=True)
    counts = metrics[0] == HEADLINE[0]  # once, in the first table
    if counts:
        table.add_column("n", justify="right", no_wrap=True)
        table.add_column("failed", justify="right", no_wrap=True)
    cells = [_cells(entries, mark_best=len(summaries) > 1) for entries in columns]
    for i, (name, summary) in enumerate(summaries):
        tail = _counts(summary) if counts else []
        table.add_row(Text(name), *(column[i] for column in cells), *tail)
    return table


def _column(summaries: Sequence[Named], metric: str) -> list[numbers.Entry | None]:
    return [summary["metrics"].get(metric) for _, summary in summaries]


def _cells(entries: Sequence[numbers.Entry | None], mark_best: bool) -> list[Text]:
    from rich.text import Text

    style, best = numbers.format_for(entries), numbers.best(entries)
    cells = []
    for entry in entries:
        bold = mark_best and entry is not None and entry["value"] is not None and entry["value"] == best
        cell = Text(style.value(entry), style="bold" if bold else "")
        if interval := style.interval(entry):
            cell = Text.assemble(cell, "\n", (interval, "dim not bold"))
        cells.append(cell)
    return cells


def _counts(summary: notes.Summary) -> list[Text]:
    from rich.text import Text

    failed, rows = notes.failed(summary), summary["rows"] - summary["incomplete"]
    return [Text(str(rows)), Text(str(failed), style="red" if failed else "")]


def _caption(summaries: Sequence[Named]) -> list[Text]:
    from rich.text import Text

    first = summaries[0][1]
    best = " Bold: best value; close values may be a tie." if len(summaries) > 1 else ""
    facts = f"{_sentence(notes.items(first))}; {notes.text_source(first)}. {notes.intervals(first)}.{best}"
    lines = [Text(facts, style="dim")]
    lines += [Text(line, style="bold red") for line in notes.mismatches(summaries)]
    for name, summary in summaries:
        lines += [Text(f"{name}: {line}", style="yellow") for line in notes.troubles(summary)]
    return lines


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
