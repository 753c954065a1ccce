"""Reads submission.csv without trusting it: bounded lines and cells, strict UTF-8, every fault with its line.

The form is narrow on purpose, so that every program reads the same table: comma, double quotes, LF.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chatgenbench.errors import UserError
from chatgenbench.leaderboard.columns import FIXED, read_text
from chatgenbench.leaderboard.problems import Problem
from chatgenbench.statistics import Array

MAX_FILE, MAX_LINE, MAX_CELL = 500_000_000, 1_000_000, 100_000
#: What other files begin with that people take for tables.
_MAGIC = {
    b"\x1f\x8b": "a gzip file", b"PK\x03\x04": "a zip or xlsx file", b"\xef\xbb\xbf": "UTF-8 with a byte order mark",
    b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"BZh": "a bzip2 file", b"\xfd7zXZ": "an xz file",
    b"(\xb5/\xfd": "a zstd file", b"%PDF": "a PDF file",
}  # fmt: skip
#: A row of RFC 4180, whose cells are quoted whole or not at all.
_CELL = r'(?:"[^"]*+(?:""[^"]*+)*+"|[^",\n]*+)'
_ROW = re.compile(f"{_CELL}(?:,{_CELL})*+\n")
_FORM = "write plain UTF-8 CSV, as `leaderboard submit` does"

Tell = Callable[[Problem], None]
#: (number of its first line, cells)
Line = tuple[int, list[str]]


class _Broken(Exception):
    """The file cannot be read on from here; holds the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def rows(path: Path, tell: Tell) -> Iterator[Line]:
    """The rows of a CSV, header first, each with the number of its first line; faults go to `tell`.

    A fault of the form (an unended quote, a byte that is no UTF-8, a line too long) ends the rows: what follows would
    be read in the wrong place.
    """
    name = path.name
    csv.field_size_limit(MAX_LINE)  # the limit of a cell is told by us
    try:
        if path.is_symlink() or not path.is_file():
            raise _Broken(Problem(name, None, None, "is no plain file", _FORM))
        if path.stat().st_size > MAX_FILE:
            told = f"has {path.stat().st_size:,} bytes, more than {MAX_FILE:,}"
            raise _Broken(Problem(name, None, None, told, "a submission of 15,000 rows has about 20 MB"))
        with path.open("rb") as file:
            yield from _records(file, name)
    except _Broken as broken:
        tell(broken.problem)
    except OSError as error:
        tell(Problem(name, None, None, f"cannot be read ({error.strerror})", "give a file that can"))


def _records(file: io.BufferedReader, name: str) -> Iterator[Line]:
    start = file.peek(8)[:8]
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            raise _Broken(Problem(name, 1, None, f"is {kind}", "unpack or export it: " + _FORM))
    pending: list[str] = []
    first, length, quoted = 1, 0, False
    for number, text in _lines(file, name):
        if not pending:
            first, length = number, 0
        pending.append(text)
        length += len(text)
        if length > MAX_LINE:
            told = f"a row of more than {MAX_LINE:,} characters"
            raise _Broken(Problem(name, first, None, told, f"look for a quote that is not closed in line {first}"))
        quoted ^= text.count('"') % 2 == 1
        if not quoted:  # else the cell goes on in the next line
            yield first, _cells("".join(pending), first, name)
            pending = []
    if pending:
        raise _Broken(Problem(name, first, None, "a quote is never closed", 'close it; write a quote in a cell as ""'))


def _lines(file: io.BufferedReader, name: str) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise _Broken(Problem(name, number, None, f"a line of more than {MAX_LINE:,} bytes", _FORM))
        if b"\x00" in line:
            raise _Broken(Problem(name, number, None, "a NUL byte", _FORM))
        if b"\r" in line:
            raise _Broken(Problem(name, number, None, "a carriage return", "end lines with LF alone; " + _FORM))
        if not line.endswith(b"\n"):
            raise _Broken(Problem(name, number, None, "the last line has no end", "end it with LF: is the file whole?"))
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError as error:
            told = f"byte {error.start + 1} is no UTF-8"
            raise _Broken(Problem(name, number, None, told, _FORM)) from None


def _cells(text: str, number: int, name: str) -> list[str]:
    try:
        found = next(csv.reader(io.StringIO(text, newline=""), strict=True), []) if _ROW.fullmatch(text) else None
    except csv.Error:
        found = None
    if found is None:
        mend = 'write a quote in a cell as ""'
        raise _Broken(Problem(name, number, None, "quotes are in the wrong places", mend))
    for place, cell in enumerate(found, 1):
        if len(cell) > MAX_CELL:
            told = f"cell {place} has more than {MAX_CELL:,} characters"
            raise _Broken(Problem(name, number, None, told, "shorten it"))
    return found


@dataclass(frozen=True)
class Scores:
    """The columns that ranking needs, in the order of the file; `plans[id]` is (prompt, model) of rows asked for."""

    ids: tuple[str, ...]
    outcomes: tuple[str, ...]
    reasons: tuple[str, ...]
    values: dict[str, Array]
    plans: dict[str, tuple[str, str]]


def read_scores(path: Path, plans_of: Collection[str] = ()) -> Scores:
    """The ids, outcomes and per-row scores of a checked submission, and the plans of some rows.

    Raises:
        UserError: the file is not of the form, or a score is no number.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, na_filter=False, encoding="utf-8", engine="c")
        scores = [name for name in frame.columns if name not in FIXED]
        if [*FIXED] != list(frame.columns[: len(FIXED)]):
            raise ValueError("other columns")
        values = {name: frame[name].to_numpy(dtype=str).astype(np.float64) for name in scores}
        asked = frame.loc[frame["id"].isin(list(plans_of)), ["id", "prompt", "model"]].to_numpy(dtype=str)
    except (OSError, ValueError, KeyError, pd.errors.ParserError) as error:
        raise UserError(f"{path.name} cannot be read ({type(error).__name__}): `leaderboard check` says why") from None
    return Scores(
        tuple(frame["id"]), tuple(frame["outcome"]), tuple(read_text(reason) for reason in frame["reason"]), values,
        {key: (read_text(prompt), read_text(model)) for key, prompt, model in asked},
    )  # fmt: skip
