"""Rows of a JSONL predictions file: one object a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, BinaryIO, NoReturn

from chatgenbench.errors import PlanError, UnknownNameError, shorten
from chatgenbench.schema import Failure
from chatgenbench.systems.predictions.cells import UnreadableError, not_utf8
from chatgenbench.systems.predictions.raw import ARGUMENTS, COLUMNS, Problems, Raw, split_ranking

#: Arguments may stand flat or under this key.
KEYS = (*COLUMNS, "arguments")
#: Bytes kept of one line; a longer one fails its row.
MAX_LINE = 4_000_000
#: Bytes at the end of an overlong line that are searched for its id.
TAIL = 4096
# only a key reads `"id":`, since inside a JSON text the quotes would be escaped
_ID = re.compile(rb'"(?:id|item)"\s*:\s*("(?:[^"\\]|\\.){0,1000}")')


def json_rows(file: BinaryIO, problems: Problems) -> Iterator[Raw]:
    """The rows of a JSONL file; a line that cannot be attributed to an id is noted in `problems`."""
    for number, line, whole in _lines(file):
        try:
            yield _row(number, line) if whole else _overlong(number, line)
        except UnreadableError as error:
            problems.add(str(error))


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """(number, line, whole) of each line that is not blank; `whole` is False for the two ends of an overlong one."""
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        whole = len(line) < MAX_LINE or line.endswith(b"\n")
        end, done = b"", whole
        while not done:
            piece = file.readline(1 << 16)
            end = (end + piece)[-TAIL:]
            done = not piece or piece.endswith(b"\n")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip() or not whole:
            yield number, line + end, whole


def _row(number: int, line: bytes) -> Raw:
    """The row on a line, or UnreadableError."""
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UnreadableError(not_utf8(number, error)) from None
    except (ValueError, RecursionError) as error:
        reason = shorten(str(error), 80)
        raise UnreadableError(f"line {number}: not JSON ({reason}): write one object a line") from None
    if not isinstance(value, dict):
        raise UnreadableError(f"line {number}: a JSON {type(value).__name__}, not an object: write one object a line")
    recorded = "item" in value and "id" not in value
    key = value.get("item" if recorded else "id")
    if not isinstance(key, str | int) or isinstance(key, bool):
        raise UnreadableError(f'line {number}: no id: start the object with "id": "..."')
    return Raw(number, str(key), partial(_recorded if recorded else _fields, value))


def _overlong(number: int, line: bytes) -> Raw:
    """The failing row on a line of which only the ends are at hand, or UnreadableError."""

    def fail() -> NoReturn:
        raise PlanError(f"the line is longer than {MAX_LINE:,} bytes")

    match = _ID.search(line)
    try:
        if match is not None:
            return Raw(number, str(json.loads(match.group(1))), fail)
    except ValueError:
        pass
    raise UnreadableError(f"line {number}: longer than {MAX_LINE:,} bytes, and no id can be read on it")


def _recorded(value: Mapping[str, Any]) -> Mapping[str, Any] | Failure:
    """A line of a run's `plans.jsonl`: its plan, or the failure it records."""
    plan = value.get("plan")
    if isinstance(plan, Mapping):
        return _fields(plan)
    return Failure(outcome=value.get("outcome", "system-failed"), reason=shorten(str(value.get("reason")), 300))


def _fields(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Plan fields of an object; null is absent."""
    for key in value:
        if key not in KEYS:
            raise PlanError(str(UnknownNameError("key", key, KEYS)))
    nested = value.get("arguments")
    if nested is not None and not isinstance(nested, Mapping):
        raise PlanError(f"key arguments: an object is needed, not {type(nested).__name__}")
    given = {k: v for k, v in (nested or {}).items() if v is not None}
    flat = {k: value[k] for k in ARGUMENTS if value.get(k) is not None}
    if twice := sorted(flat.keys() & given.keys()):
        raise PlanError(f"key {twice[0]}: given twice, flat and under arguments")
    fields = {k: value[k] for k in ("prompt", "negative_prompt", "model", "ranking") if value.get(k) is not None}
    if isinstance(fields.get("ranking"), str):
        fields["ranking"] = split_ranking(fields["ranking"])
    return fields | {"arguments": flat | given}
