"""What the pages show, ready to print: numbers as text, places, badges, and the data that the script sorts by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chatgenbench.leaderboard.results import LEVELS, Cell, Entry, Head, Picture, Results
from chatgenbench.report.numbers import MISSING, Format, arrow, format_for, title, unit

#: Metrics of the index; the pages of the entries show all.
SHOWN = (
    "bertscore", "sbert", "selection_top1", "arguments_mean", "arguments_joint", "unified", "fid", "clipscore", "hpsv2",
    "imagereward", "clip_image",
)  # fmt: skip
TABS = (("step-wise", "Plans (step-wise)"), ("image", "Pictures"))
#: Slices of the index, by what they begin with.
SLICES = ("split=", "kind=")
COSTS = (("seconds", "seconds per item"), ("tokens", "tokens per item"), ("usd", "US$ per item"))
LEVEL_TEXT = {
    "claimed": "the submitter's own numbers; the file is whole and signed",
    "checked": "scores of all plans computed again by a maintainer, and the same",
    "spot-rerun": "checked, and pictures of rows drawn by lot rendered again, and the same",
    "reproduced": "checked, and every picture rendered again, FID and unified score with them",
}


class Shown(NamedTuple):
    """A picture of a gallery: its file in the site (None: not what was signed), and its size in pixels."""

    picture: Picture
    file: str | None
    width: int
    height: int


class Told(NamedTuple):
    """A metric's column."""

    name: str
    title: str
    arrow: str
    unit: str
    group: str
    higher: bool
    style: Format


def index_view(results: Results, others: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """Values of index.html.j2; `others` are (benchmark, version, file name) of further boards."""
    told = [column for column in columns(results) if column.name in SHOWN]
    told.sort(key=lambda column: SHOWN.index(column.name))
    tabs = [_tab(results, name, text, [c for c in told if c.group == name]) for name, text in TABS]
    tabs = [tab for tab in tabs if tab["columns"]]
    tabs.sort(key=lambda tab: tab["id"] != _group(results))
    return {
        "results": results, "others": others, "tabs": tabs, "levels": [(n, LEVEL_TEXT[n]) for n in LEVELS],
        "slices": slices(results), "metrics": told, "costs": _costs(results), "data": _data(results, told),
        "flagged": any(cell.reached_by for entry in results.entries for cell in entry.cells.values()),
        "title": f"{results.benchmark} {results.version}", "detectable": _detectable(results, told),
    }  # fmt: skip


def entry_view(results: Results, entry: Entry, shown: Sequence[Shown], index: str) -> dict[str, Any]:
    """Values of entry.html.j2; `shown` is the gallery."""
    told = columns(results)
    having = [column for column in told if column.name in entry.cells]
    groups = [(text, [(c, _line(c, entry)) for c in having if c.group == name]) for name, text in TABS]
    headline = [column for column in told if column.name in SHOWN]
    return {
        "results": results, "entry": entry, "groups": [group for group in groups if group[1]], "index": index,
        "shown": shown, "headline": headline, "sliced": _sliced(entry, headline), "level_text": LEVEL_TEXT[entry.level],
        "place": place(entry.cells.get(results.primary)), "costs": _cost_lines(entry),
        "primary": next(column for column in told if column.name == results.primary),
        "others": [o for o in results.entries if o.system.casefold() == entry.system.casefold() and o is not entry],
    }  # fmt: skip


def columns(results: Results) -> list[Told]:
    """Every metric of the board, each with one format for all its values."""
    return [
        Told(
            head.name, title(head.name, _number(head, None)), arrow(_number(head, None)), unit(_number(head, None)),
            head.group, head.higher_is_better,
            format_for(_number(head, entry.cells.get(head.name)) for entry in results.entries),
        )
        for head in results.heads
    ]  # fmt: skip


def place(cell: Cell | None) -> str:
    """`1`, or `2–4` where a tie group shares places."""
    if cell is None or cell.rank_low is None:
        return MISSING
    return f"{cell.rank_low}" if cell.rank_low == cell.rank_high else f"{cell.rank_low}–{cell.rank_high}"


def slices(results: Results) -> list[str]:
    """Slices that the index offers, in order."""
    found = {name for entry in results.entries for name in entry.slices if name.startswith(SLICES)}
    return sorted(found, key=lambda name: (not name.startswith(SLICES[0]), name))


def _group(results: Results) -> str:
    return next(head.group for head in results.heads if head.name == results.primary)


def _tab(results: Results, name: str, text: str, told: Sequence[Told]) -> dict[str, Any]:
    """One table: entries in the order of the board's metric, or of the tab's first where that is another tab's."""
    chief = next((column for column in told if column.name == results.primary), told[0] if told else None)
    by = "" if chief is None else chief.name
    entries = list(enumerate(results.entries))
    if chief is not None:
        sign = -1 if chief.higher else 1
        having = [pair for pair in entries if by in pair[1].cells]
        having.sort(key=lambda pair: sign * pair[1].cells[by].value)
        entries = [*having, *(pair for pair in entries if by not in pair[1].cells)]
    rows = [
        {
            "at": at, "entry": entry, "place": place(entry.cells.get(by)),
            "cells": [(c.name, *_texts(c, entry.cells.get(c.name)), _flags(entry.cells.get(c.name))) for c in told],
        }
        for at, entry in entries
    ]  # fmt: skip
    return {"id": name, "text": text, "columns": told, "rows": rows, "by": by}


def _texts(column: Told, cell: Cell | None) -> tuple[str, str]:
    if cell is None:
        return MISSING, ""
    entry = cell.model_dump(include={"value", "low", "high"})
    return column.style.value(entry), column.style.interval(entry)


def _flags(cell: Cell | None) -> str:
    return "" if cell is None or not cell.reached_by else f"reached by {', '.join(cell.reached_by)}"


def _line(column: Told, entry: Entry) -> dict[str, str]:
    cell = entry.cells[column.name]
    value, interval = _texts(column, cell)
    following = MISSING if cell.p_next is None else "<0.001" if cell.p_next < 0.001 else f"{cell.p_next:.3f}"
    return {
        "value": value, "interval": interval, "place": place(cell), "p": following, "flags": _flags(cell),
        "n": f"{cell.n:,}",
    }  # fmt: skip


def _sliced(entry: Entry, told: Sequence[Told]) -> list[tuple[str, int, list[tuple[str, str]]]]:
    """(slice, rows, a text and interval for each headline metric)."""
    found = []
    for name, cells in entry.slices.items():
        rows = max((cell.n for cell in cells.values()), default=0)
        found.append((name, rows, [_texts(column, cells.get(column.name)) for column in told]))
    return found


def _costs(results: Results) -> list[tuple[str, str]]:
    """Costs that two entries at least state: with fewer there is nothing to compare."""
    return [
        (name, text) for name, text in COSTS
        if sum(getattr(entry.cost, name) is not None for entry in results.entries) > 1
    ]  # fmt: skip


def _cost_lines(entry: Entry) -> list[tuple[str, str]]:
    stated = [(text, getattr(entry.cost, name)) for name, text in COSTS]
    return [(text, MISSING if value is None else f"{value:.3g}") for text, value in stated]


def _detectable(results: Results, told: Sequence[Told]) -> list[tuple[Told, str]]:
    """(metric, smallest difference that this benchmark can show) where rows say so."""
    by_name = {head.name: head.detectable for head in results.heads}
    found = []
    for column in told:
        value = by_name[column.name]
        if value is not None and value > 0:
            text = f"{value * column.style.scale:.2g}" + (" points" if column.style.suffix else "")
            found.append((column, text))
    return found


def _data(results: Results, told: Sequence[Told]) -> dict[str, Any]:
    """What the script sorts, filters and draws: numbers in display units, as they are printed."""
    return {
        "metrics": {
            c.name: [c.title, c.higher, c.style.digits, c.style.suffix, c.unit] for c in told
        },
        "entries": [
            {
                "name": entry.system, "revision": entry.revision, "slug": entry.slug, "reference": entry.reference,
                "oracle": entry.reference and entry.system.casefold() == "oracle",
                "authors": " ".join(entry.authors)[:200],
                "level": entry.level, "cost": [getattr(entry.cost, name) for name, _ in COSTS],
                "place": {c.name: place(entry.cells[c.name]) for c in told if c.name in entry.cells},
                "cells": {
                    "": {c.name: _rounded(c, entry.cells[c.name]) for c in told if c.name in entry.cells},
                    **{
                        name: {c.name: _rounded(c, cells[c.name]) for c in told if c.name in cells}
                        for name, cells in entry.slices.items() if name.startswith(SLICES)
                    },
                },
            }
            for entry in results.entries
        ],
    }  # fmt: skip


def _rounded(column: Told, cell: Cell) -> list[float | None]:
    style = column.style
    return [
        None if value is None else round(value * style.scale, style.digits)
        for value in (cell.value, cell.low, cell.high)
    ]  # fmt: skip


def _number(head: Head, cell: Cell | None) -> Mapping[str, Any]:
    """A metric's value in the form that reports print."""
    return {
        "value": None if cell is None else cell.value, "low": None if cell is None else cell.low,
        "high": None if cell is None else cell.high, "n": 0 if cell is None else cell.n, "title": head.title,
        "unit": head.unit, "higher_is_better": head.higher_is_better,
    }  # fmt: skip
