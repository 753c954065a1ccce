"""The gallery's cards: one plain dict per item, ready to be embedded as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from chatgenbench.benchmark import Benchmark
from chatgenbench.evaluate.rows import Row
from chatgenbench.report.data import RunData, benchmark_picture
from chatgenbench.report.pictures import Album, Pictures
from chatgenbench.report.thumbnails import Source
from chatgenbench.schema import ARGUMENT_KEYS, Message, Outcome, Plan

#: Pages of at most this many rows hold their pictures; those of more rows have them in a folder beside them.
EMBEDDED = 400
#: Longer prompts are not compared word by word (the comparison's time grows with the square).
DIFF_WORDS = 400

#: A piece of text and whether it differs from the other side's.
Piece = tuple[str, bool]


def gallery(run: RunData, benchmark: Benchmark, album: Pictures | None = None) -> dict[str, Any]:
    """A card per row (`items`) and the `pictures` they name by number.

    `drew` is false for a run without pictures, whose demonstrations may have none either.
    """
    album = album or Album()
    items = [_card(row, run, benchmark, album) for row in run.rows]
    return {"items": items, "pictures": album.entries, "drew": run.pictured, "system": run.name}


def sources(run: RunData, benchmark: Benchmark) -> Iterator[Source]:
    """Every picture that the cards may show."""
    for row in run.rows:
        found = [
            (run.drawn(row), row.image_sha256),
            (benchmark_picture(benchmark, row.gold.picture), row.gold.picture_sha256 or None),
            *((benchmark_picture(benchmark, name), None) for name in row.item.input.images),
        ]
        yield from ((path, digest) for path, digest in found if path is not None)


def _card(row: Row, run: RunData, benchmark: Benchmark, album: Pictures) -> dict[str, Any]:
    drawn = album.add(run.drawn(row))
    return {
        "id": row.item.id,
        "outcome": str(row.outcome),
        "messages": [_message(m, benchmark, album) for m in row.item.input.messages],
        "plan": plan_rows(row, benchmark, run.scores.get(row.item.id, {})),
        "drawn": drawn,
        "gold": album.add(benchmark_picture(benchmark, row.gold.picture)),
        "absent": _absent(row, run, drawn),
    }


def _message(message: Message, benchmark: Benchmark, album: Pictures) -> dict[str, Any]:
    pictures = [album.add(benchmark_picture(benchmark, name)) for name in message.images]
    return {
        "role": message.role,
        "text": message.text,
        "pictures": [p for p in pictures if p is not None],
        "unseen": sum(p is None for p in pictures),
    }


def _absent(row: Row, run: RunData, drawn: int | None) -> str | None:
    """What stands in the place of the drawn picture; None where there is one or none was to be drawn."""
    if drawn is not None or (not run.pictured and row.outcome is Outcome.OK):
        return None
    return why_no_picture(row)


def why_no_picture(row: Row) -> str:
    """What stands in a picture's place."""
    if row.image_sha256 is None:
        return f"{row.outcome}: {row.reason or 'no picture was drawn'}"
    return "the picture is no longer in the pool"


def plan_rows(row: Row, benchmark: Benchmark, scores: Mapping[str, float]) -> list[dict[str, Any]]:
    """The system's plan beside the gold plan: name, `own` and `gold` pieces (own is None without a plan)."""
    gold, plan = row.gold.plan, row.plan
    rows = []
    for name in ("prompt", "negative_prompt"):
        own, wanted = compare_words(getattr(plan, name) if plan else "", getattr(gold, name))
        rows.append(_pair(name.replace("_", " "), own if plan else None, wanted))
    same = plan is not None and model_of(plan, benchmark) == model_of(gold, benchmark)
    own_model = [(model_of(plan, benchmark), not same)] if plan else None
    rows.append(_pair("model", own_model, [(model_of(gold, benchmark), not same)]))
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


def model_of(plan: Plan, benchmark: Benchmark) -> str:
    """The catalog's id of the plan's model, or what the plan says if the catalog has no such model."""
    record = benchmark.catalog.find(plan.model)
    return record.id if record else plan.model


def compare_words(own: str, gold: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts cut into pieces, those that the other one lacks marked True."""
    if own == gold:
        return _whole(own, False), _whole(gold, False)
    left, right = _words(own), _words(gold)
    if len(left) > DIFF_WORDS or len(right) > DIFF_WORDS:
        return _whole(own, True), _whole(gold, True)
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


def packed(card: Mapping[str, Any]) -> dict[str, Any]:
    """A card as it lies in the page: pieces by turns, unmarked and marked, and nothing that the index knows."""
    plan = [[_by_turns(row["own"]), _by_turns(row["gold"])] for row in card["plan"]]
    return {key: value for key, value in card.items() if key not in ("id", "outcome")} | {"plan": plan}


def _by_turns(pieces: Iterable[Piece] | None) -> list[str] | None:
    """`["same ", "other ", "same"]`: every second text is marked; an empty one keeps the turn."""
    if pieces is None:
        return None
    texts: list[str] = []
    for text, marked in pieces:
        if len(texts) % 2 != marked:
            texts.append("")
        texts.append(text)
    return texts
