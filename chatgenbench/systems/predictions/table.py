"""Rows of a CSV predictions file, as spreadsheets and data frames write it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any, BinaryIO

from chatgenbench.errors import PlanError, UnknownNameError
from chatgenbench.systems.predictions.cells import MAX_CELL, Rows, decode
from chatgenbench.systems.predictions.raw import ARGUMENTS, COLUMNS, REQUIRED, Problems, Raw, split_ranking

DELIMITERS = ",;\t"


def csv_rows(file: BinaryIO, problems: Problems) -> Iterator[Raw]:
    """The rows of a CSV file, blank ones left out.

    Raises:
        PredictionsError: columns that are missing, unknown or given twice.
        UnreadableError: bytes that are not UTF-8, or a quote that is never closed.
    """
    chunks = decode(file)
    first = next(chunks, "")
    delimiter = _delimiter(first)
    rows = iter(Rows(chain([first], chunks), delimiter))
    header = tuple(_normal(cell) for cell in next(rows, (1, []))[1])
    _check(header, problems)
    for line, cells in rows:
        if any(cell.strip() for cell in cells):
            row = dict(zip(header, cells, strict=False))
            yield Raw(line, row.get("id", ""), partial(_fields, row, cells[len(header) :], delimiter == ";"))


def _delimiter(text: str) -> str:
    """The separator that finds most of our columns in the first line."""
    head = re.split(r"[\r\n]", text, maxsplit=1)[0]
    return max(DELIMITERS, key=lambda d: sum(_normal(cell.strip(' "')) in COLUMNS for cell in head.split(d)))


def _normal(column: str) -> str:
    """A column's name as people vary it: `CFG Scale` means `cfg_scale`."""
    return re.sub(r"[\s\-]+", "_", column.strip().lower())


def _check(header: tuple[str, ...], problems: Problems) -> None:
    """A nameless column (a data frame's index) is let pass, and never read."""
    if not header:
        problems.add("the file is empty: the first line names the columns, then one row per item")
    elif missing := [column for column in REQUIRED if column not in header]:
        problems.add(f"line 1: missing columns: {', '.join(missing)} (line 1 names the columns)")
    for column in dict.fromkeys(filter(None, header)):
        if column not in COLUMNS:
            problems.add(f"line 1: {UnknownNameError('column', column, COLUMNS)}")
        elif header.count(column) > 1:
            problems.add(f"line 1: column '{column}' stands twice: keep one")
    problems.raise_if_any()


def _fields(row: dict[str, str], extra: list[str], decimal_comma: bool) -> dict[str, Any]:
    """Plan fields of a row; an empty optional cell is an absent one, and prompts keep their spaces."""
    if any(cell.strip() for cell in extra):
        raise PlanError("more cells than columns: put quotes around text that holds a separator")
    for column, cell in row.items():
        if len(cell) > MAX_CELL:
            raise PlanError(f"column {column}: longer than {MAX_CELL:,} characters")
    arguments = {key: row[key].strip() for key in ARGUMENTS if row.get(key, "").strip()}
    if decimal_comma:
        arguments |= {k: v.replace(",", ".") for k, v in arguments.items() if k in ("cfg_scale", "lora_weight")}
    return {
        "prompt": row.get("prompt", ""),
        "negative_prompt": row.get("negative_prompt", ""),
        "model": row.get("model", "").strip(),
        "arguments": arguments,
        "ranking": split_ranking(row.get("ranking", "")),
    }
