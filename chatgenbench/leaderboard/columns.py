"""The columns of submission.csv: what each holds, and how a cell is written so that no spreadsheet runs it.

The file is UTF-8 without a byte order mark, comma-separated, quoted where needed (RFC 4180), lines end in LF.  Text
that begins with one of = + - @ ' or white space other than a blank is written with an apostrophe before it, which
spreadsheets hide and `read_text` takes away.  Control characters other than newline and tab are written as U+FFFD.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from chatgenbench.errors import printable

Kind = Literal["id", "outcome", "text", "integer", "number", "sha256", "phash"]


@dataclass(frozen=True)
class Column:
    """One column.  `empty` says when a cell may be empty: "never", "failed" (the row has no plan or no picture), or
    "unknown" (nobody knows or asked)."""

    name: str
    kind: Kind
    meaning: str
    empty: Literal["never", "failed", "unknown"] = "never"


#: Columns that every submission has, in this order; the columns of per-row scores follow, named by their metric.
COLUMNS = (
    Column("id", "id", "the benchmark's item, each exactly once, in the benchmark's order"),
    Column("outcome", "outcome", "ok, system-failed or blocked"),
    Column("reason", "text", "why the row failed", "unknown"),
    Column("prompt", "text", "the plan's prompt", "failed"),
    Column("negative_prompt", "text", "the plan's negative prompt", "unknown"),
    Column("model", "text", "id of the catalog's model", "failed"),
    Column("sampler", "text", "sampler as A1111 names it", "failed"),
    Column("steps", "integer", "sampling steps, 1 to 500", "failed"),
    Column("cfg_scale", "number", "classifier-free guidance scale, 0 to 100", "failed"),
    Column("width", "integer", "pixels, 8 to 4096", "failed"),
    Column("height", "integer", "pixels, 8 to 4096", "failed"),
    Column("seed", "integer", "the seed the picture was drawn with, 0 to 2^63 - 1", "failed"),
    Column("clip_skip", "integer", "layers of the text encoder left out, 1 to 12", "unknown"),
    Column("lora_weight", "number", "strength of the LoRA, -4 to 4", "unknown"),
    Column("ranking", "text", "ids of models, best first, joined by ' | ', where the system ranks them", "unknown"),
    Column("image_sha256", "sha256", "sha256 of the PNG file, 64 hexadecimal digits", "failed"),
    Column("image_phash", "phash", "perceptual hash of the picture (64-bit DCT), 16 hexadecimal digits", "failed"),
    Column("seconds", "number", "the system's time for this row", "unknown"),
    Column("tokens", "integer", "tokens of language models spent on this row", "unknown"),
)
FIXED = tuple(column.name for column in COLUMNS)
#: The columns that spell the plan.
PLAN = FIXED[3:15]

OUTCOMES = ("ok", "system-failed", "blocked")
#: Between the models of a ranking.
JOINT = " | "
_RISKY = re.compile(r"^[=+\-@'\t\n\r\x0b\x0c]")


def text(value: str | None) -> str:
    """A cell that holds `value` as text."""
    clean = printable((value or "").replace("\r\n", "\n").replace("\r", "\n"))
    return f"'{clean}" if _RISKY.match(clean) else clean


def read_text(cell: str) -> str:
    """What `text` was given (but for what it replaces)."""
    return cell[1:] if cell.startswith("'") else cell


def number(value: float | None) -> str:
    """A finite number with nine digits, "" for None."""
    return "" if value is None else f"{value:.9g}"
