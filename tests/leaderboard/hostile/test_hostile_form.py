"""Files that are no table, or a table that programs read differently."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatgenbench.leaderboard.manifest import CSV
from chatgenbench.leaderboard.problems import Problem
from chatgenbench.leaderboard.reader import rows
from tests.leaderboard.boards import Shop, column, has, problems_of, read_cells, resign, write_cells


def _zip(data: bytes) -> bytes:
    path = Path(os.environ["CHATGENBENCH_HOME"]).with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("submission.csv", data)
    return path.read_bytes()


def _line(data: bytes, number: int, change: Callable[[bytes], bytes]) -> bytes:
    lines = data.split(b"\n")
    lines[number - 1] = change(lines[number - 1])
    return b"\n".join(lines)


FORMS: dict[str, tuple[Callable[[bytes], bytes], int | None, str]] = {
    "empty": (lambda d: b"", None, "is empty"),
    "header-only": (lambda d: d.split(b"\n")[0] + b"\n", None, "is missing"),
    "bom": (lambda d: b"\xef\xbb\xbf" + d, 1, "byte order mark"),
    "utf-16": (lambda d: d.decode().encode("utf-16"), 1, "UTF-16"),
    "utf-16-be": (lambda d: d.decode().encode("utf-16-be"), 1, "NUL byte"),
    "latin-1": (lambda d: _line(d, 4, lambda line: line.replace(b"refused", b"refus\xe9")), 4, "no UTF-8"),
    "surrogate": (lambda d: _line(d, 4, lambda line: line.replace(b"refused", b"\xed\xa0\x80")), 4, "no UTF-8"),
    "overlong": (lambda d: _line(d, 4, lambda line: line.replace(b"refused", b"\xc0\xaf")), 4, "no UTF-8"),
    "crlf": (lambda d: d.replace(b"\n", b"\r\n"), 1, "carriage return"),
    "cr": (lambda d: d.replace(b"\n", b"\r"), 1, "carriage return"),
    "one-cr": (lambda d: _line(d, 5, lambda line: line + b"\r"), 5, "carriage return"),
    "nul": (lambda d: _line(d, 3, lambda line: line.replace(b"other", b"ot\x00er")), 3, "NUL byte"),
    "no-end": (lambda d: d[:-1], 13, "last line has no end"),
    "cut-off": (lambda d: d[:-40], 13, "last line has no end"),
    "gzip": (gzip.compress, 1, "gzip"),
    "gzip-bomb": (lambda d: gzip.compress(b"\x00" * 200_000_000, 9), 1, "gzip"),
    "bzip2": (bz2.compress, 1, "bzip2"),
    "xz": (lzma.compress, 1, "xz"),
    "zip": (_zip, 1, "zip"),
    "pdf": (lambda d: b"%PDF-1.7\n" + d, 1, "PDF"),
    "semicolons": (lambda d: d.replace(b",", b";"), 1, "column 1 is"),
    "tabs": (lambda d: d.replace(b",", b"\t"), 1, "column 1 is"),
    "open-quote": (lambda d: _line(d, 5, lambda line: line.replace(b"blurry", b'"blurry')), 5, "never closed"),
    "quote-inside": (lambda d: _line(d, 3, lambda line: line.replace(b"blurry", b'bl"ur"ry')), 3, "quotes"),
    "after-quote": (lambda d: _line(d, 3, lambda line: line.replace(b"blurry", b'"bl"urry')), 3, "quotes"),
    "too-many-cells": (lambda d: _line(d, 6, lambda line: line + b",1"), 6, "cells where the header has"),
    "too-few-cells": (lambda d: _line(d, 6, lambda line: line.rpartition(b",")[0]), 6, "cells where the header has"),
    "blank-line": (lambda d: _line(d, 6, lambda line: b"\n" + line), 6, "0 cells where the header has"),
    "comment": (lambda d: b"# mine\n" + d, 1, "column 1 is '# mine'"),
    "html": (lambda d: b"<!doctype html><script>alert(1)</script>\n" + d, 1, "column 1 is"),
    "header-twice": (lambda d: d.split(b"\n")[0] + b"\n" + d, 2, "no item"),
    "long-cell": (lambda d: _line(d, 3, lambda line: line.replace(b"blurry", b"b" * 100_001)), 3, "more than 100,000"),
    "long-line": (
        lambda d: _line(d, 3, lambda line: line.replace(b"blurry", b"b" * 1_000_001)), 3, "more than 1,000,000",
    ),
    "long-row": (
        lambda d: _line(d, 3, lambda line: line.replace(b"blurry", b'"' + b"b\n" * 500_001)), 3, "not closed in line 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_is_not_ours_is_refused(name: str, spoilt: Path, shop: Shop) -> None:
    change, line, what = FORMS[name]
    (spoilt / CSV).write_bytes(change((spoilt / CSV).read_bytes()))
    if (spoilt / CSV).stat().st_size:
        resign(spoilt, shop.key)
    found = problems_of(spoilt, shop)
    assert any(p.file == CSV and p.line == line and what in str(p) for p in found), [str(p) for p in found]


def test_a_line_of_two_gigabytes_takes_no_memory(spoilt: Path, shop: Shop) -> None:
    with (spoilt / CSV).open("r+b") as file:
        file.truncate(2_000_000_000)
    found = problems_of(spoilt, shop)
    assert has(found, CSV, None, None, "bytes, more than")


def test_a_line_without_end_is_given_up_soon(tmp_path: Path) -> None:
    path = tmp_path / CSV
    with path.open("wb") as file:
        file.write(b"id,")
        for _ in range(40):
            file.write(b"x" * 10_000_000)
    found: list[Problem] = []
    tracemalloc.start()
    assert list(rows(path, found.append)) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000
    assert [(p.line, p.what) for p in found] == [(1, "a line of more than 1,000,000 bytes")]


COLUMNS: dict[str, tuple[Callable[[list[list[str]]], None], str, str]] = {
    "renamed": (lambda c: c[0].__setitem__(column(c, "prompt"), "Prompt"), "prompt", "column 4 is 'Prompt'"),
    "script-as-name": (lambda c: c[0].__setitem__(0, "<script>"), "id", "column 1 is '<script>'"),
    "metric-twice": (lambda c: [row.append(row[column(c, "sbert")]) for row in c], "sbert", "stands twice"),
    "no-metric-of-ours": (lambda c: [row.append("beauty" if row is c[0] else "1") for row in c], "beauty", "no metric"),
    "metric-away": (lambda c: [row.pop() for row in c], "clip_image", "column is missing"),
    "unnamed": (lambda c: [row.append("" if row is c[0] else "1") for row in c], "", "no metric"),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_other_columns_are_refused(name: str, spoilt: Path, shop: Shop) -> None:
    change, where, what = COLUMNS[name]
    cells = read_cells(spoilt)
    change(cells)
    write_cells(spoilt, cells)
    resign(spoilt, shop.key)
    assert has(problems_of(spoilt, shop), CSV, 1, where, what)


def test_rows_in_another_order_and_left_out_are_named(spoilt: Path, shop: Shop) -> None:
    cells = read_cells(spoilt)
    gone = cells.pop(7)[0]
    cells[3], cells[4] = cells[4], cells[3]
    write_cells(spoilt, cells)
    resign(spoilt, shop.key)
    found = problems_of(spoilt, shop)
    assert has(found, CSV, 5, "id", "out of order")
    assert has(found, CSV, None, "id", f"item '{gone}' is missing")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400))
def test_any_bytes_give_problems_and_no_exception(data: bytes, spoilt: Path, shop: Shop) -> None:
    (spoilt / CSV).write_bytes(data)
    found = problems_of(spoilt, shop)
    assert found
    assert all(str(problem).isprintable() for problem in found)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), data=st.binary(min_size=1, max_size=6), cut=st.integers(0, 40))
def test_any_damage_gives_problems_and_no_exception(
    place: int, data: bytes, cut: int, spoilt: Path, shop: Shop, sound: Path
) -> None:
    whole = (sound / CSV).read_bytes()
    at = place % len(whole)
    damaged = whole[:at] + data + whole[at + cut :]
    (spoilt / CSV).write_bytes(damaged)
    assert bool(problems_of(spoilt, shop)) == (damaged != whole)


@given(
    table=st.lists(st.lists(st.text(st.characters(exclude_characters="\r\x00"), max_size=8), min_size=1), min_size=1)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_the_csv_module_writes_is_read_back(table: list[list[str]], tmp_path: Path) -> None:
    path = tmp_path / CSV
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(table)
    except UnicodeEncodeError:
        return
    found: list[Problem] = []
    assert [cells for _, cells in rows(path, found.append)] == table
    assert found == []
