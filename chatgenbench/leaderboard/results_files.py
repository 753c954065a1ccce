"""results.csv and results.json: what ranking found, for spreadsheets and for programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from chatgenbench.evaluate.run import write_bytes
from chatgenbench.leaderboard import columns
from chatgenbench.leaderboard.results import Cell, Results


def write_results(results: Results, folder: Path) -> tuple[Path, Path]:
    """Write results.csv (one line an entry) and results.json (all of it) to `folder`; equal results, equal bytes.

    Raises:
        InfraError: the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table, whole = folder / "results.csv", folder / "results.json"
    write_bytes(table, _csv(results).encode())
    write_bytes(whole, (results.model_dump_json(indent=1) + "\n").encode())
    return table, whole


def _csv(results: Results) -> str:
    out = io.StringIO(newline="")
    lines = csv.writer(out, lineterminator="\n")
    parts = ("", "_low", "_high", "_tie", "_p_next")
    lines.writerow((
        "rank_low", "rank_high", "system", "revision", "level", "reference", "attempt", "attempts", "created", "slug",
        "seconds", "tokens", "usd", *(f"{head.name}{part}" for head in results.heads for part in parts),
    ))  # fmt: skip
    for entry in results.entries:
        main = entry.cells.get(results.primary)
        cost = entry.cost
        lines.writerow((
            "" if main is None else main.rank_low, "" if main is None else main.rank_high,
            columns.text(entry.system), columns.text(entry.revision), entry.level, "yes" if entry.reference else "no",
            entry.attempt, entry.attempts, entry.created, entry.slug,
            *(columns.number(value) for value in (cost.seconds, cost.tokens, cost.usd)),
            *(cell for head in results.heads for cell in _spelt(entry.cells.get(head.name))),
        ))  # fmt: skip
    return out.getvalue()


def _spelt(cell: Cell | None) -> list[Any]:
    if cell is None:
        return [""] * 5
    numbers = [columns.number(value) for value in (cell.value, cell.low, cell.high)]
    return [*numbers, cell.tie, columns.number(cell.p_next)]
