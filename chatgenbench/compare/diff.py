"""diff.html: two runs on one page that opens offline."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from chatgenbench.compare import fairness, fault
from chatgenbench.compare.differences import Difference, differences, number_format, p_text, standardised
from chatgenbench.compare.page import write_diff_page
from chatgenbench.compare.pairing import Match, Pair
from chatgenbench.evaluate.rows import Row
from chatgenbench.report import notes, numbers
from chatgenbench.report.cards import plan_rows, why_no_picture
from chatgenbench.report.data import RunData, benchmark_picture
from chatgenbench.report.pictures import Album
from chatgenbench.schema import Message, Outcome

#: Rows whose pictures a page holds; the others are in its table without.
PICTURE_BUDGET = 200
NOT_EMBEDDED = "not embedded: this page holds no more pictures"
#: Metrics of whole sets of pictures: not of rows, so no paired test is made of them here.
SET_METRICS = ("fid", "unified")


def write_diff(match: Match, path: Path, budget: int = PICTURE_BUDGET) -> tuple[Path, list[Difference]]:
    """Write the page and return it with the differences of the headline metrics.

    Raises:
        InfraError: the disk refuses the page.
    """
    headline = differences(match, match.headline)
    others = differences(match, [m for m in match.metrics if m not in match.headline])
    rows = row_data(match, budget)
    write_diff_page(
        path, heading=f"{match.names[0]} against {match.names[1]}", names=match.names,
        label=notes.label(match.a.summary), facts=facts(match), unfair=fairness.unfair(*match.runs),
        also=fairness.also_different(*match.runs), left_out=_left_out(match),
        headline=[view(match, d) for d in headline], others=[view(match, d) for d in others],
        sets=set_rows(match), data=rows, margin=fault.MARGIN, sentences=sentences(match, match.first),
        first=numbers.title(match.first, match.a.entry(match.first)),
    )  # fmt: skip
    return path, headline


def facts(match: Match) -> list[str]:
    """The sentences under the title."""
    shared = len(match.pairs)
    alone = [(side, len(run.rows) - shared) for side, run in zip("AB", match.runs, strict=True)]
    more = "".join(f"; {side} has {count} more, not used here" for side, count in alone if count)
    source = notes.text_source(match.a.summary)
    lines = [
        f"A is {match.names[0]}, B is {match.names[1]}; benchmark {notes.benchmark(match.a.summary)}",
        f"{shared} shared rows of {len(set(match.clusters))} demonstrations{more}",
        source[:1].upper() + source[1:],
    ]
    if shared < notes.FEW:
        lines.append(f"With fewer than {notes.FEW} rows intervals are rough, often too narrow")
    return lines


def _left_out(match: Match) -> list[str]:
    titles = {m: numbers.title(m, match.a.entry(m)) for m in match.left_out}
    return [f"{titles[m]}: {why}" for m, why in match.left_out.items()]


def view(match: Match, found: Difference) -> dict[str, Any]:
    """A metric's line in the table, as texts."""
    style = number_format(match, found)
    return asdict(found) | {
        "a_text": style.number(found.a) + style.suffix, "b_text": style.number(found.b) + style.suffix,
        "difference_text": _signed(style, found.difference),
        "interval": f"[{style.number(found.low)}, {style.number(found.high)}]",
        "p_text": p_text(found.p_value), "p_holm_text": p_text(found.p_holm),
        "verdict": {"a": "A better", "b": "B better", None: "not told apart"}[found.better], "better": found.better,
    }  # fmt: skip


def _signed(style: numbers.Format, value: float) -> str:
    """A difference with its sign; that of two shares is in percentage points."""
    text = style.number(value) + (" pp" if style.suffix else "")
    return f"+{text}" if value > 0 and style.number(value).strip("0.") else text


def set_rows(match: Match) -> list[dict[str, str]]:
    """FID and unified of the whole runs, only where both scored the same rows."""
    if not all(len(run.rows) == len(match.pairs) for run in match.runs):
        return []
    rows = []
    for metric in SET_METRICS:
        entries = [run.entry(metric) for run in match.runs]
        if metric not in match.left_out and all(e is not None for e in entries):
            style = numbers.format_for(entries)
            a, b = (style.both(entry) for entry in entries)
            rows.append({"title": numbers.heading(metric, entries[0]), "a": a, "b": b})
    return rows


def sentences(match: Match, metric: str) -> list[str]:
    """What the stages at fault were in the rows that each run loses on a metric."""
    lost = lost_rows(match, metric)
    return [fault.sentence(name, fault.blame(lost[side])) for side, name in zip("ab", match.names, strict=True)]


def lost_rows(match: Match, metric: str) -> dict[str, list[tuple[fault.Stage, ...]]]:
    """For A and for B: the stages at fault of each row it loses."""
    signed = standardised_or_sign(match, metric)
    lost: dict[str, list[tuple[fault.Stage, ...]]] = {"a": [], "b": []}
    for pair, value in zip(match.pairs, signed, strict=True):
        if value:
            side = "a" if value < 0 else "b"
            lost[side].append(fault.of_metric(metric, fault.faults(match, pair)[side]))
    return lost


def standardised_or_sign(match: Match, metric: str) -> list[float]:
    """How far A is better than B (positive) or worse in each row, in standard deviations of the difference over rows.

    Where every row differs alike there is no deviation: then 1 or -1.
    """
    a, b = match.values(metric)
    found = standardised(a, b)
    if not found.any():
        found = np.sign(a - b)
    return [float(value) * match.sign(metric) for value in found]


def row_data(match: Match, budget: int) -> dict[str, Any]:
    """Everything diff.js reads: `metrics`, `rows`, `pictures`, the names, and how many rows have their `pictured`."""
    shown = [*match.headline, *(m for m in match.metrics if m not in match.headline)]
    ahead = {m: standardised_or_sign(match, m) for m in shown}
    values = {m: match.values(m) for m in shown}
    styles = {m: _style(match, m) for m in shown}
    strongest = sorted(range(len(match.pairs)), key=lambda i: (-abs(ahead[match.first][i]), i))
    embedded, album = set(strongest[:budget]), Album()
    rows = []
    for i, pair in enumerate(match.pairs):
        row = _row(match, pair, album if i in embedded else None)
        row["ahead"] = [round(ahead[m][i], 4) for m in shown]
        row["values"] = [[styles[m].number(float(v[i])) for v in values[m]] for m in shown]
        rows.append(row)
    return {
        "names": list(match.names), "label": notes.label(match.a.summary), "stages": list(fault.STAGES),
        "metrics": [_metric(match, m, styles[m]) for m in shown], "first": shown.index(match.first),
        "headline": len(match.headline), "rows": rows, "pictures": album.entries, "pictured": len(embedded),
        "drew": [run.pictured for run in match.runs],
    }  # fmt: skip


def _metric(match: Match, metric: str, style: numbers.Format) -> dict[str, Any]:
    entry = match.a.entry(metric)
    return {
        "name": metric, "title": numbers.title(metric, entry), "arrow": numbers.arrow(entry), "suffix": style.suffix,
        "stage": fault.own_stage(metric),
    }  # fmt: skip


def _style(match: Match, metric: str) -> numbers.Format:
    """Values of rows: percent without a digit, else as the metric's own interval is written."""
    entry = match.a.entry(metric)
    if entry is not None and entry["unit"] == "share":
        return numbers.Format(100.0, 0, "%")
    return numbers.format_for([entry])


def _row(match: Match, pair: Pair, album: Album | None) -> dict[str, Any]:
    stages = fault.faults(match, pair)
    sides = [_side(match, run, row, album) for run, row in zip(match.runs, (pair.a, pair.b), strict=True)]
    return {
        "id": pair.item.id, "kind": pair.item.input.kind, "split": pair.item.split,
        "slices": sorted(f"{k}: {v}" for k, v in pair.a.slices.items() if k not in ("split", "kind")),
        "messages": [_message(match, m, album) for m in pair.item.input.messages],
        "gold": None if album is None else album.add(benchmark_picture(match.benchmark, pair.a.gold.picture)),
        "plan": _plan(match, pair), "sides": sides, "embedded": album is not None,
        "faults": [list(stages["a"]), list(stages["b"])],
    }  # fmt: skip


def _side(match: Match, run: RunData, row: Row, album: Album | None) -> dict[str, Any]:
    drawn = None if album is None else album.add(run.drawn(row))
    absent = None
    if drawn is None and (run.pictured or row.outcome is not Outcome.OK):
        absent = NOT_EMBEDDED if album is None and row.image_sha256 is not None else why_no_picture(row)
    return {"outcome": str(row.outcome), "drawn": drawn, "absent": absent}


def _plan(match: Match, pair: Pair) -> list[dict[str, Any]]:
    """The demonstration's plan and both runs', part by part; what differs from the demonstration is marked."""
    a = plan_rows(pair.a, match.benchmark, match.a.scores[pair.item.id])
    b = plan_rows(pair.b, match.benchmark, match.b.scores[pair.item.id])
    return [
        {"name": x["name"], "gold": "".join(text for text, _ in x["gold"]), "sides": [x["own"], y["own"]]}
        for x, y in zip(a, b, strict=True)
    ]


def _message(match: Match, message: Message, album: Album | None) -> dict[str, Any]:
    paths = [benchmark_picture(match.benchmark, name) for name in message.images]
    pictures = [] if album is None else [n for path in paths if (n := album.add(path)) is not None]
    unseen = len(message.images) - len(pictures)
    return {"role": message.role, "text": message.text, "pictures": pictures, "unseen": unseen}
