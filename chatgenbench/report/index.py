"""The gallery's index: what rows are filtered and sorted by, column by column, small enough to be read at once.

The cards themselves lie beside it in parts, which a browser reads when it shows or searches them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatgenbench.benchmark import Benchmark
from chatgenbench.evaluate.ladder import choice_of
from chatgenbench.evaluate.rows import Row
from chatgenbench.report import numbers
from chatgenbench.report.cards import model_of, packed
from chatgenbench.report.data import RunData
from chatgenbench.schema import ARGUMENT_KEYS

#: Cards of one part, and of one page.
PART, PAGE = 200, 24

#: Scores on a card, in order; the others are a click away, and those a run does not have are left out.
CARD_SCORES = (
    "clipscore", "imagereward", "hpsv2", "bertscore",
    "selection_top1", "selection_top5", "arguments_mean", "arguments_joint",
)  # fmt: skip

#: Names of a card's plan rows, in order.
PLAN_NAMES = ("prompt", "negative prompt", "model", *(key.replace("_", " ") for key in ARGUMENT_KEYS))

#: Names that mean something else in a link.
RESERVED = ("item", "text", "sort", "order", "page")

SECONDS = "plan_seconds"


@dataclass(frozen=True)
class Derived:
    """A per-row number that is no score of the run: what a row lost of `metric`; `values` by item."""

    key: str
    title: str
    metric: str
    values: Mapping[str, float]


def index(
    run: RunData, benchmark: Benchmark, cards: Mapping[str, Any], derived: Sequence[Derived] = ()
) -> dict[str, Any]:
    """Everything gallery.js needs to filter, sort and page; `parts` cuts the cards themselves.

    Args:
        derived: columns beside the scores, such as those of the run's ladder.
    """
    return {
        "ids": [row.item.id for row in run.rows],
        "facets": facets(run, benchmark),
        "columns": columns(run, derived),
        "shown": [c for c in CARD_SCORES if c in run.columns],
        "plan": list(PLAN_NAMES),
        "pictures": [[p["src"], p["w"], p["h"], int(p["crisp"])] for p in cards["pictures"]],
        "part": PART,
        "page": PAGE,
        "drew": cards["drew"],
        "system": cards["system"],
    }


def parts(cards: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Packed cards, PART at a time."""
    items = [packed(card) for card in cards["items"]]
    return [items[start : start + PART] for start in range(0, len(items), PART)]


def facets(run: RunData, benchmark: Benchmark) -> list[dict[str, Any]]:
    """key, title, `values` in order, and for each row the number of its value, -1 where it has none."""
    names = dict.fromkeys(name for row in run.rows for name in row.slices if name not in RESERVED)
    readers: dict[str, Callable[[Row], str | None]] = {
        **{name: (lambda row, name=name: row.slices.get(name)) for name in names},  # type: ignore[misc]
        "outcome": lambda row: str(row.outcome),
        "failure": lambda row: row.failure,
        "reason": reason_of,
        "choice": lambda row: choice_of(row, benchmark.catalog),
        "model": lambda row: model_of(row.plan, benchmark) if row.plan else None,
        "gold_model": lambda row: model_of(row.gold.plan, benchmark),
        "approximated": lambda row: row.drawn.approximated if row.drawn else None,
    }
    titles = {"choice": "model choice", "model": "chosen model", "gold_model": "human's model"}
    first = ("split", "kind", "outcome", "failure", "reason", "choice", "model", "gold_model", "approximated")
    order = [*first, *(name for name in names if name not in first)]
    return [
        found for name in order
        if (found := _facet(name, titles.get(name, name), [readers[name](row) for row in run.rows]))["values"]
    ]  # fmt: skip


def reason_of(row: Row) -> str | None:
    """Why a row failed; None for one that did not."""
    return None if row.outcome == "ok" else row.reason or "no reason given"


def _facet(key: str, title: str, column: Sequence[str | None]) -> dict[str, Any]:
    values = sorted({value for value in column if value is not None})
    numbered = {value: k for k, value in enumerate(values)}
    codes = [-1 if value is None else numbered[value] for value in column]
    return {"key": key, "title": title, "values": values, "codes": codes}


def columns(run: RunData, derived: Sequence[Derived]) -> list[dict[str, Any]]:
    """Per-row numbers: every score, what is derived from them, and the time a plan took."""
    found = []
    for key in run.columns:
        values = [run.scores.get(row.item.id, {}).get(key) for row in run.rows]
        found.append(_column(key, numbers.title(key, run.entry(key)), run.entry(key), values))
    for more in derived:
        lost = dict(run.entry(more.metric) or {}) | {"higher_is_better": False}
        title = f"{more.title}, {numbers.title(more.metric, run.entry(more.metric))}"
        found.append(_column(more.key, title, lost, [more.values.get(row.item.id) for row in run.rows]))
    times = [row.planned.latency for row in run.rows]
    seconds = {"value": None, "unit": "s", "low": None, "high": None, "higher_is_better": False}
    return [*found, _column(SECONDS, "Seconds to plan", seconds, times)]


def _column(key: str, title: str, entry: numbers.Entry | None, values: Sequence[float | None]) -> dict[str, Any]:
    style = numbers.format_for([entry])
    return {
        "key": key, "title": title, "arrow": numbers.arrow(entry),
        "scale": style.scale, "digits": 0 if style.suffix else style.digits, "suffix": style.suffix,
        "values": [None if value is None else float(f"{value:.6g}") for value in values],
    }  # fmt: skip
