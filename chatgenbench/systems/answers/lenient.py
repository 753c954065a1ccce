"""Read JSON as language models write it: comments, single or curly quotes, bare words, commas too many or too few.

Only what `json` refuses comes here.  What ends in the middle is told apart from what is broken, as nobody can know how
it would have gone on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

#: Deepest nesting, and places in a text at which an object is looked for.
DEPTH, STARTS = 12, 64
_OPEN = re.compile("[{｛]")
_QUOTES = {'"': '"“”＂', "'": "'‘’", "“": '”"', "”": '”"', "‘": "’'", "「": "」", "『": "』", "＂": '＂"', "`": "`"}
_BLANK = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/|#[^\n]*)*", re.DOTALL)
_WORD = re.compile(r"[^,，;；:：=\n{}｛｝\[\]［］]+")
_AFTER = re.compile(r"\s*(?:[,，;；}｝\]］:：=\n]|$|//|#|[\"']\w{1,30}[\"']\s*:)")
_COMMA = re.compile(r"\d{1,3},\d{1,2}(?=\s*[,}\n])")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
#: How many digits follow an escape, in JSON and in Python.
_HEX = {"u": 4, "U": 8, "x": 2}
_CONSTANTS = {"true": True, "false": False, "null": None, "none": None, "nil": None, "undefined": None}
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d{1,2})?", re.IGNORECASE)


class BrokenError(Exception):
    """No object can be read here."""


class CutOffError(Exception):
    """The text ends within an object."""


def objects(text: str) -> tuple[list[dict[str, Any]], str]:
    """Every outermost object of a text, and "broken-json" or "cut-off" if one could not be read ("" if none)."""
    found: list[dict[str, Any]] = []
    trouble, at, read, tries = "", 0, 0, 0
    # what ends in the middle was read to its end: a bound on all that is read keeps this linear
    while (opened := _OPEN.search(text, at)) is not None and tries < STARTS and read <= 3 * len(text):
        tries += 1
        reader = Lenient(text, opened.start())
        try:
            value, at = _strict(text, opened.start()) or reader.whole()
            found.append(value)
        except CutOffError:
            trouble, at, read = "cut-off", opened.end(), read + len(text) - at
        except (BrokenError, RecursionError):
            trouble, at, read = trouble or "broken-json", opened.end(), read + reader.at - at
    return found, trouble


def spans(text: str) -> list[tuple[int, int, dict[str, Any]]]:
    """(from, to, object) of the first outermost objects of a text that are JSON to the letter."""
    found: list[tuple[int, int, dict[str, Any]]] = []
    at = 0
    for _ in range(STARTS):
        if (opened := _OPEN.search(text, at)) is None:
            break
        start = at = opened.start()
        if (read := _strict(text, start)) is not None:
            at = read[1]
            found.append((start, at, read[0]))
        else:
            at = opened.end()
    return found


def _strict(text: str, at: int) -> tuple[dict[str, Any], int] | None:
    try:
        value, end = json.JSONDecoder(object_pairs_hook=once).raw_decode(text, at)
    except (ValueError, RecursionError):
        return None
    return (value, end) if isinstance(value, dict) else None


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of these pairs; a key given twice with different values stands with all of them, as `Twice`."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            if not isinstance(found[key], Twice):
                found[key] = Twice([found[key]])
            found[key].append(value)
        else:
            found[key] = value
    return found


class Twice(list[Any]):
    """Values of a key that was given more than once."""


class Lenient:
    """One object, from the brace at `at`."""

    def __init__(self, text: str, at: int) -> None:
        self._text, self.at = text, at

    def whole(self) -> tuple[dict[str, Any], int]:
        """The object and where it ends.

        Raises:
            BrokenError: it is none.
            CutOffError: the text ends before it does.
        """
        return self._object(0), self.at

    def _peek(self) -> str:
        match = _BLANK.match(self._text, self.at)
        self.at = match.end() if match else self.at
        if self.at >= len(self._text):
            raise CutOffError
        return self._text[self.at]

    def _object(self, depth: int) -> dict[str, Any]:
        if depth > DEPTH:
            raise BrokenError
        self.at += 1
        return once(list(self._pairs(depth)))

    def _pairs(self, depth: int) -> Iterator[tuple[str, Any]]:
        while True:
            char = self._peek()
            if char in "}｝":
                self.at += 1
                return
            if char in ",，;；":
                self.at += 1
                continue
            key = self._string() if char in _QUOTES else self._bare()
            if self._peek() not in ":：=":
                raise BrokenError
            self.at += 1
            yield str(key).strip(), self._value(depth)

    def _value(self, depth: int) -> Any:
        char = self._peek()
        if char in "{｛":
            return self._object(depth + 1)
        if char in "[［(":
            return self._array(depth + 1)
        if char in _QUOTES:
            return self._string()
        if (comma := _COMMA.match(self._text, self.at)) is not None:  # 7,5 as many languages write it
            self.at = comma.end()
            return float(comma.group().replace(",", "."))
        return _constant(self._bare())

    def _array(self, depth: int) -> list[Any]:
        if depth > DEPTH:
            raise BrokenError
        self.at += 1
        values: list[Any] = []
        while (char := self._peek()) not in "]］)":
            if char in ",，":
                self.at += 1
            else:
                inner = char in _QUOTES or char in "{｛[［("
                values.append(self._value(depth) if inner else _constant(self._bare()))
        self.at += 1
        return values

    def _bare(self) -> str:
        match = _WORD.match(self._text, self.at)
        if match is None:
            raise BrokenError
        self.at = match.end()
        return match.group().strip()

    def _string(self) -> str:
        """A text in quotes; a quote closes it only where something may follow, as models forget to escape some."""
        closers = _QUOTES[self._text[self.at]]
        pattern = re.compile(f"[{re.escape(closers)}\\\\]")
        start = self.at + 1
        parts: list[str] = []
        while (match := pattern.search(self._text, start)) is not None:
            parts.append(self._text[start : match.start()])
            if match.group() == "\\":
                piece, start = self._escape(match.end())
                parts.append(piece)
            elif _AFTER.match(self._text, match.end()):
                self.at = match.end()
                return "".join(parts)
            else:
                parts.append(match.group())
                start = match.end()
        raise CutOffError

    def _escape(self, at: int) -> tuple[str, int]:
        char = self._text[at : at + 1]
        digits = self._text[at + 1 : at + 1 + _HEX.get(char, 0)]
        if digits and re.fullmatch("[0-9a-fA-F]+", digits) and len(digits) == _HEX[char] and int(digits, 16) < 0x110000:
            return chr(int(digits, 16)), at + 1 + len(digits)
        return _ESCAPES.get(char, char), at + 1


def _constant(word: str) -> Any:
    if word.lower() in _CONSTANTS:
        return _CONSTANTS[word.lower()]
    if _NUMBER.fullmatch(word) and len(word) < 30:
        return float(word) if any(c in word for c in ".eE") else int(word)
    return word
