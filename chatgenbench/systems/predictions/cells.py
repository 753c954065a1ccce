"""Read CSV as a stream, in memory that does not grow with the file, its lines or its cells.

The standard `csv` module refuses a large cell for the whole file and needs each line in memory; here an oversize
cell is cut and its row goes on.  Apart from that the two read the same (excel dialect; tested against each other).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Literal

#: Characters kept of one cell; a longer one is cut to one more than this, so that it can be told.
MAX_CELL = 1_000_000
#: Cells kept of one row.
MAX_CELLS = 1000
CHUNK = 1 << 16

#: From inside quotes up to the quote that may close them.
_QUOTED = re.compile(r'[^"]*(?:""[^"]*)*')
_NEWLINE = re.compile(r"\r\n|\r|\n")


class UnreadableError(ValueError):
    """Text that cannot be read on from here; the message says where and why."""


def decode(file: BinaryIO) -> Iterator[str]:
    """Chunks of text from UTF-8 bytes, without a byte order mark.

    Raises:
        UnreadableError: bytes that are not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    lines = 1
    for chunk in iter(lambda: file.read(CHUNK), b""):
        try:
            text = decoder.decode(chunk)
        except UnicodeDecodeError as error:
            raise UnreadableError(not_utf8(lines + error.object[: error.start].count(b"\n"), error)) from None
        lines += text.count("\n")
        yield text
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise UnreadableError(not_utf8(lines, error)) from None


def not_utf8(line: int, error: UnicodeDecodeError) -> str:
    utf16 = error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    seen = "it looks like UTF-16" if utf16 else f"byte 0x{error.object[error.start]:02x}"
    return f"line {line}: not UTF-8 ({seen}): save the file as UTF-8"


class Rows:
    """Rows of a CSV text as (line the row starts on, cells), blank lines left out.

    Raises on iteration:
        UnreadableError: a quote that is never closed.
    """

    def __init__(self, chunks: Iterable[str], delimiter: str) -> None:
        self._chunks = chunks
        self._delimiter = delimiter
        self._plain = re.compile(rf"[^{re.escape(delimiter)}\r\n]*")
        self._state: Literal["start", "plain", "quoted", "quote seen"] = "start"
        self._after_cr = False
        self._line = self._row_line = self._quote_line = 1
        self._row: list[str] = []
        self._cell: list[str] = []
        self._size = 0

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        for chunk in self._chunks:
            yield from self._feed(chunk)
        if self._state == "quoted":
            raise UnreadableError(f"line {self._quote_line}: a quote opens a cell and is never closed")
        self._end_cell()
        yield from self._end_row()

    def _feed(self, chunk: str) -> Iterator[tuple[int, list[str]]]:
        at = 0
        while at < len(chunk):
            if self._state == "quoted":
                at = self._quoted(chunk, at)
            elif chunk[at] == '"' and self._state in ("start", "quote seen"):
                at += 1
                self._open_quote()
            else:
                at = self._unquoted(chunk, at)
                if at < len(chunk) and chunk[at] == self._delimiter:
                    at += 1
                    self._after_cr = False
                    self._end_cell()
                elif at < len(chunk):
                    at += 1
                    yield from self._newline(chunk[at - 1])

    def _open_quote(self) -> None:
        if self._state == "quote seen":  # the second of a doubled quote, split between two chunks
            self._keep('"')
        else:
            self._quote_line = self._line
        self._state, self._after_cr = "quoted", False

    def _quoted(self, chunk: str, at: int) -> int:
        match = _QUOTED.match(chunk, at)
        assert match is not None  # the pattern matches the empty string
        text = match.group()
        self._keep(text.replace('""', '"'))
        self._line += len(_NEWLINE.findall(text)) - (self._after_cr and text.startswith("\n"))
        self._after_cr = text.endswith("\r") if text else self._after_cr
        if match.end() == len(chunk):
            return match.end()
        self._state, self._after_cr = "quote seen", False
        return match.end() + 1

    def _unquoted(self, chunk: str, at: int) -> int:
        """Keep text up to the next delimiter or newline; return where that is."""
        match = self._plain.match(chunk, at)
        assert match is not None  # the pattern matches the empty string
        if match.end() > at:
            self._keep(match.group())
            self._state, self._after_cr = "plain", False
        return match.end()

    def _newline(self, char: str) -> Iterator[tuple[int, list[str]]]:
        if char == "\n" and self._after_cr:  # the second half of \r\n
            self._after_cr = False
            return
        self._after_cr = char == "\r"
        self._line += 1
        self._end_cell()
        yield from self._end_row()

    def _keep(self, text: str) -> None:
        if self._size <= MAX_CELL:
            self._cell.append(text[: MAX_CELL + 1 - self._size])
            self._size += len(self._cell[-1])

    def _end_cell(self) -> None:
        if len(self._row) < MAX_CELLS:
            self._row.append("".join(self._cell))
        self._cell, self._size, self._state = [], 0, "start"

    def _end_row(self) -> Iterator[tuple[int, list[str]]]:
        row, line = self._row, self._row_line
        self._row, self._row_line = [], self._line
        if row != [""]:
            yield line, row
