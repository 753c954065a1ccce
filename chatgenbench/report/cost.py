"""What a run cost: time to plan, tokens, time to draw, and what was shared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from chatgenbench.benchmark import Benchmark
from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.summary import costs
from chatgenbench.report import links
from chatgenbench.report.cards import model_of
from chatgenbench.report.data import RunData
from chatgenbench.report.index import SECONDS

Lines = list[tuple[str, str]]


def dollars(value: float) -> str:
    """`US$ 1.25`, and three digits of what is less than a cent."""
    return f"US$ {value:,.2f}" if value >= 0.1 or value == 0 else f"US$ {value:.3g}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


#: Line of the table, field of a row and how it is written.
COUNTED: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("Tokens", "tokens", _count),
    ("Tokens read", "prompt_tokens", _count),
    ("Tokens written", "completion_tokens", _count),
    ("Device seconds", "device_seconds", lambda value: duration(value)),
    ("Price of the answers", "usd", dollars),
)


def cost(run: RunData, benchmark: Benchmark) -> dict[str, Any]:
    """`lines` (name, text), `checkpoints` with their rows, `approximated` notes with theirs, and a link."""
    planning = sum(row.planned.latency for row in run.rows)
    drawn = _by_picture(run)
    drawing = sum(drawn.values())
    lines = [*_planning(run, planning), *(_drawing(run, drawn) if run.pictured else [])]
    total = f"{duration(planning + drawing)} of planning{' and drawing' if run.pictured else ''}; scoring is not timed"
    return {
        "lines": [*lines, ("Total", total)],
        "slowest": links.worst_first(SECONDS, higher_is_better=False),
        "checkpoints": checkpoints(run, benchmark) if run.pictured else [],
        "approximated": approximated(run),
    }


def _planning(run: RunData, total: float) -> Lines:
    seconds = np.array([row.planned.latency for row in run.rows])
    middle, slow = np.quantile(seconds, [0.5, 0.95]) if len(seconds) else (0.0, 0.0)
    average = duration(float(seconds.mean())) if len(seconds) else duration(0.0)
    times = f"{average} on average, half within {duration(middle)}, 95% within {duration(slow)}"
    return [
        ("Seconds per plan", times),
        ("Planning", f"{duration(total)} for {len(run.rows)} rows"),
        *((name, _told(run, field, amount)) for name, field, amount in COUNTED),
    ]


def _told(run: RunData, field: str, amount: Callable[[float], str]) -> str:
    """What was counted over the rows it was counted for, and a row's share."""
    known = costs(run.rows).get(field)
    if known is None:
        return "not told"
    rows = f"{known['rows']} rows" if known["rows"] == len(run.rows) else f"{known['rows']} of {len(run.rows)} rows"
    return f"{amount(known['total'])} over {rows}, {amount(known['mean'])} a row"


def per_answer(run: RunData) -> list[str]:
    """What one answer of a run took and cost on average: seconds, then the counts of `COUNTED`; – where nobody counted.

    A mean over some of the rows only says over how many.
    """
    seconds = [row.planned.latency for row in run.rows]
    known = costs(run.rows)
    cells = [duration(sum(seconds) / len(seconds)) if seconds else "–"]
    for _, field, amount in COUNTED:
        told = known.get(field)
        some = "" if told is None or told["rows"] == len(run.rows) else f" ({told['rows']} of {len(run.rows)} rows)"
        cells.append("–" if told is None else amount(told["mean"]) + some)
    return cells


def _by_picture(run: RunData) -> dict[str, float]:
    """Seconds of each different picture of the run; 0 where it lay in the pool already."""
    rows = [row.drawn for row in run.rows if row.drawn is not None and row.image_sha256 is not None]
    return {str(row.picture): row.seconds for row in rows}


def _drawing(run: RunData, drawn: dict[str, float]) -> Lines:
    own = sum(seconds > 0 for seconds in drawn.values())
    rows = sum(row.image_sha256 is not None for row in run.rows)
    each = f", {duration(sum(drawn.values()) / own)} each" if own else ""
    return [
        (
            "Pictures",
            f"{rows} rows share {len(drawn)} different pictures: {own} drawn, {len(drawn) - own} from the pool",
        ),
        ("Drawing", f"{duration(sum(drawn.values()))}{each}"),
        ("Scheduling", f"batches of at most {run.manifest['settings']['batch_size']}, grouped by checkpoint and size"),
    ]


def checkpoints(run: RunData, benchmark: Benchmark) -> list[dict[str, Any]]:
    """Models that drew, with the checkpoint each sits on, most rows first."""
    counts = Counter(model_of(row.plan, benchmark) for row in run.rows if row.plan and row.image_sha256)
    return [
        {
            "model": model,
            "base": _base(model, benchmark),
            "rows": n,
            "link": links.rows(("model", model), ("outcome", "ok")),
        }
        for model, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def _base(model: str, benchmark: Benchmark) -> str:
    record = benchmark.catalog.find(model)
    return "" if record is None else benchmark.catalog.base_of(record).id


def approximated(run: RunData) -> list[dict[str, Any]]:
    """Samplers without an exact equivalent: what drew instead, and for how many rows."""
    notes = Counter(_note(row) for row in run.rows if _note(row))
    return [
        {"note": note, "rows": n, "link": links.rows(("approximated", str(note)))} for note, n in notes.most_common()
    ]


def _note(row: Row) -> str | None:
    return row.drawn.approximated if row.drawn else None


def duration(seconds: float) -> str:
    """`12 ms`, `3.4 s`, `5 min 20 s`, `2 h 5 min`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
