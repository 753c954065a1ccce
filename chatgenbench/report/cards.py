"""The gallery's data: one plain dict per item, ready to be embedded as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from chatgenbench.benchmark import Benchmark
from chatgenbench.evaluate.rows import Row
from chatgenbench.report import numbers
from chatgenbench.report.data import RunData, benchmark_picture, stratified
from chatgenbench.report.pictures import Album
from chatgenbench.schema import ARGUMENT_KEYS, Message, Outcome, Plan

#: A page holds the pictures of at most this many items; the others are listed without.
PICTURE_BUDGET = 400
#: Longer prompts are not compared word by word (the comparison's time grows with the square).
DIFF_WORDS = 400

#: Scores on a card, in order; those a run does not have are left out.
CARD_SCORES = (
    "clipscore", "imagereward", "hpsv2", "bertscore",
    "selection_top1", "selection_top5", "arguments_mean", "arguments_joint",
)  # fmt: skip

#: A piece of text and whether it differs from the other side's.
Piece = tuple[str, bool]


def gallery(run: RunData, benchmark: Benchmark, budget: int = PICTURE_BUDGET) -> dict[str, Any]:
    """Everything gallery.js reads: `columns`, `items`, `pictures`, and how many items have their `pictured`.

    `drew` is false for a run without pictures, whose demonstrations may have none either.
    """
    album = Album()
    pictured = stratified(benchmark, run.rows, budget)
    columns = [c for c in CARD_SCORES if c in run.columns]
    items = [_card(row, run, benchmark, columns, album if row.item.id in pictured else None) for row in run.rows]
    return {
        "columns": [_column(run, c) for c in columns],
        "items": items,
        "pictures": album.entries,
        "pictured": len(pictured),
        "drew": run.pictured,
        "system": run.name,
    }


def _column(run: RunData, metric: str) -> dict[str, str]:
    entry = run.entry(metric)
    return {"key": metric, "title": numbers.title(metric, entry), "arrow": numbers.arrow(entry)}


def _card(row: Row, run: RunData, benchmark: Benchmark, columns: list[str], album: Album | None) -> dict[str, Any]:
    scores = run.scores.get(row.item.id, {})
    drawn = None if album is None else album.add(run.drawn(row))
    return {
        "id": row.item.id,
        "kind": row.item.input.kind,
        "split": row.item.split,
        "slices": sorted(f"{k}: {v}" for k, v in row.slices.items() if k not in ("split", "kind")),
        "outcome": str(row.outcome),
        "approximated": row.drawn.approximated if row.drawn else None,
        "messages": [_message(m, benchmark, album) for m in row.item.input.messages],
        "plan": plan_rows(row, benchmark, scores),
        "model": _model(row.plan, benchmark) if row.plan else "no plan",
        "drawn": drawn,
        "gold": None if album is None else album.add(benchmark_picture(benchmark, row.gold.picture)),
        "absent": _absent(row, run, drawn, embedded=album is not None),
        "scores": [scores.get(c) for c in columns],
        "texts": [_score_text(c, scores, run) for c in columns],
    }


def _message(message: Message, benchmark: Benchmark, album: Album | None) -> dict[str, Any]:
    pictures = [album.add(benchmark_picture(benchmark, name)) for name in message.images] if album else []
    return {
        "role": message.role,
        "text": message.text,
        "pictures": [p for p in pictures if p is not None],
        "unseen": len(message.images) - sum(p is not None for p in pictures),
    }


def _absent(row: Row, run: RunData, drawn: int | None, embedded: bool) -> str | None:
    """What stands in the place of the drawn picture; None where there is one or none was to be drawn."""
    if drawn is not None or (not run.pictured and row.outcome is Outcome.OK):
        return None
    return why_no_picture(row, embedded)


def why_no_picture(row: Row, embedded: bool = True) -> str:
    """What stands in a picture's place."""
    if row.image_sha256 is None:
        return f"{row.outcome}: {row.reason or 'no picture was drawn'}"
    return "the picture is no longer in the pool" if embedded else "not embedded: this page holds no more pictures"


def _score_text(metric: str, scores: Mapping[str, float], run: RunData) -> str:
    entry = run.entry(metric)
    if entry is not None and entry["unit"] == "share":
        value = scores.get(metric)
        return numbers.MISSING if value is None else f"{value:.0%}"
    return numbers.format_for([entry]).number(scores.get(metric))


def plan_rows(row: Row, benchmark: Benchmark, scores: Mapping[str, float]) -> list[dict[str, Any]]:
    """The system's plan beside the gold plan: name, `own` and `gold` pieces (own is None without a plan)."""
    gold, plan = row.gold.plan, row.plan
    rows = []
    for name in ("prompt", "negative_prompt"):
        own, wanted = compare_words(getattr(plan, name) if plan else "", getattr(gold, name))
        rows.append(_pair(name.replace("_", " "), own if plan else None, wanted))
    same = plan is not None and _model(plan, benchmark) == _model(gold, benchmark)
    own_model = [(_model(plan, benchmark), not same)] if plan else None
    rows.append(_pair("model", own_model, [(_model(gold, benchmark), not same)]))
    for key in ARGUMENT_KEYS:
        wanted_value = getattr(gold.arguments, key)
        value = getattr(plan.arguments, key) if plan else None
        differs = scores.get(f"arguments_{key}", float(value == wanted_value)) < 1
        rows.append(_pair(
            key.replace("_", " "), [(_plain(value), differs)] if plan else None, [(_plain(wanted_value), differs)]
        ))  # fmt: skip
    return rows


def _pair(name: str, own: list[Piece] | None, gold: list[Piece]) -> dict[str, Any]:
    return {"name": name, "own": own, "gold": gold}


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _model(plan: Plan, benchmark: Benchmark) -> str:
    """The catalog's id of the plan's model, or what the plan says if the catalog has no such model."""
    record = benchmark.catalog.find(plan.model)
    return record.id if record else plan.model


def compare_words(own: str, gold: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts cut into pieces, those that the other one lacks marked True."""
    left, right = _words(own), _words(gold)
    if len(left) > DIFF_WORDS or len(right) > DIFF_WORDS:
        return _whole(own, own != gold), _whole(gold, own != gold)
    ours: list[Piece] = []
    theirs: list[Piece] = []
    for tag, a, b, c, d in SequenceMatcher(None, _keys(left), _keys(right), autojunk=False).get_opcodes():
        ours += _whole("".join(left[a:b]), tag != "equal")
        theirs += _whole("".join(right[c:d]), tag != "equal")
    return ours, theirs


def _words(text: str) -> list[str]:
    """Words with the spaces and commas that follow them; joined they are the text again."""
    return re.findall(r"^[\s,]+|[^\s,]+[\s,]*", text)


def _keys(words: list[str]) -> list[str]:
    """Words as they are compared: without case, spaces and commas."""
    return [word.casefold().strip(" ,\n\t") for word in words]


def _whole(text: str, differs: bool) -> list[Piece]:
    return [(text, differs)] if text else []
