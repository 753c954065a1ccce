"""submission.csv and scores.parquet: the two tables that leave a run."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from chatgenbench.errors import printable
from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.run import RunFolder, write_bytes
from chatgenbench.evaluate.score import Scored
from chatgenbench.schema import ARGUMENT_KEYS

PLAN_COLUMNS = ("prompt", "negative_prompt", "model", *ARGUMENT_KEYS, "seed")


def write_tables(folder: RunFolder, rows: Sequence[Row], scored: Scored) -> None:
    """Write both tables, each in one step; one line an item, in benchmark order."""
    _write_parquet(folder, rows, scored)
    _write_submission(folder, rows, scored)


def _write_parquet(folder: RunFolder, rows: Sequence[Row], scored: Scored) -> None:
    import pandas as pd

    frame = pd.DataFrame({
        "item": [r.item.id for r in rows],
        "kind": [r.item.input.kind for r in rows],
        "split": [r.item.split for r in rows],
        "outcome": [str(r.outcome) for r in rows],
        "reason": [r.reason for r in rows],
        "image_sha256": [r.image_sha256 for r in rows],
        **scored.values,
    }).astype(dict.fromkeys(("item", "kind", "split", "outcome", "reason", "image_sha256"), "string"))  # fmt: skip
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    write_bytes(folder.scores, buffer.getvalue())


def _write_submission(folder: RunFolder, rows: Sequence[Row], scored: Scored) -> None:
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(("id", "outcome", "reason", *PLAN_COLUMNS, "image_sha256", *scored.values))
    for i, row in enumerate(rows):
        scores = [_number(column[i]) for column in scored.values.values()]
        table.writerow((row.item.id, row.outcome, _cell(row.reason), *_plan(row), row.image_sha256 or "", *scores))
    write_bytes(folder.submission, out.getvalue().encode())


def _plan(row: Row) -> list[Any]:
    if row.plan is None:
        return [""] * len(PLAN_COLUMNS)
    arguments = row.plan.arguments
    return [
        _cell(row.plan.prompt), _cell(row.plan.negative_prompt), _cell(row.plan.model),
        *(_cell(value) if isinstance(value := getattr(arguments, key), str) else value for key in ARGUMENT_KEYS),
        "" if arguments.seed is None else arguments.seed,
    ]  # fmt: skip


def _number(value: float) -> str:
    return "" if value != value else f"{value:.9g}"


def _cell(text: str | None) -> str:
    """A spreadsheet takes a leading = + - @ for a formula; an apostrophe keeps it text."""
    text = printable((text or "").replace("\r", " "))
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text
