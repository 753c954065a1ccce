"""The streaming CSV reader reads what the standard one reads, in bounded memory."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatgenbench.systems.predictions.cells import CHUNK, MAX_CELL, MAX_CELLS, Rows, UnreadableError, decode


def ours(text: str, size: int, delimiter: str = ",") -> list[list[str]]:
    return [row for _, row in Rows([text[i : i + size] for i in range(0, len(text), size)], delimiter)]


def theirs(text: str, delimiter: str = ",") -> list[list[str]]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [row for row in rows if row not in ([], [""])]


@settings(max_examples=500, deadline=None)
@given(text=st.text(alphabet='ab,;"\r\n ', max_size=40), size=st.integers(1, 41), delimiter=st.sampled_from(",;"))
@example(text='"a""b"', size=3, delimiter=",")
@example(text='"a\r\nb",c\r\nd', size=3, delimiter=",")
def test_same_rows_as_the_standard_reader_however_the_text_is_cut(text: str, size: int, delimiter: str) -> None:
    try:
        found = ours(text, size, delimiter)
    except UnreadableError:
        # the standard reader takes an open quote to the end of the file; closing it must make the two agree
        text += '"'
        found = ours(text, size, delimiter)
    assert found == theirs(text, delimiter)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(st.text(alphabet='a,"\r\n', max_size=6), min_size=2, max_size=3), max_size=5),
    size=st.integers(1, 50),
)
def test_line_numbers_count_physical_lines(rows: list[list[str]], size: int) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    starts = []
    for row in rows:
        starts.append(len(io.StringIO(out.getvalue() + "x", newline="").readlines()))
        writer.writerow(row)
    text = out.getvalue()
    found = list(Rows([text[i : i + size] for i in range(0, len(text), size)], ","))
    assert found == list(zip(starts, rows, strict=True))


def test_an_oversize_cell_is_cut_and_the_next_row_is_whole() -> None:
    huge = ["id,x\r\n1,"] + ["y" * CHUNK] * 40 + ["\r\n2,ok\r\n"]
    rows = list(Rows(huge, ","))
    assert [line for line, _ in rows] == [1, 2, 3]
    assert len(rows[1][1][1]) == MAX_CELL + 1
    assert rows[2][1] == ["2", "ok"]


def test_a_line_of_separators_keeps_a_bounded_row() -> None:
    assert len(ours("," * 100_000, 1000)[0]) == MAX_CELLS


def test_an_open_quote_names_its_line() -> None:
    with pytest.raises(UnreadableError, match="line 3: a quote opens a cell and is never closed"):
        ours('a,b\r\n1,2\r\n3,"four\r\n5,6\r\n', 7)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\nb\n\xff", "line 3: not UTF-8 (byte 0xff): save the file as UTF-8"),
        ("a,b\n".encode("utf-16"), "line 1: not UTF-8 (it looks like UTF-16)"),
        (b"a\n\xc3", "line 2: not UTF-8 (byte 0xc3)"),
    ],
)
def test_bytes_that_are_not_utf8_name_their_line(data: bytes, message: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        list(decode(io.BytesIO(data)))
    assert message in str(caught.value)


def test_a_byte_order_mark_is_not_text() -> None:
    assert "".join(decode(io.BytesIO("ä".encode("utf-8-sig")))) == "ä"
