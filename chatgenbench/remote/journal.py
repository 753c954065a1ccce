"""A journal of answers that cost something: a line a time, on the disk before anyone relies on it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from chatgenbench.errors import InfraError, UserError


class Journal:
    """One JSON line an id; the newest line of an id counts.  Only ids and places are held in memory.

    Raises:
        UserError: a line is damaged.
        InfraError: the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, int] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
            self._size = self._index()
            os.truncate(path, self._size)
        except OSError as error:
            raise InfraError(f"cannot open {path}: {error.strerror}; mend that, type the command again") from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def keys(self) -> Iterable[str]:
        """Every id, in the order of first lines."""
        return self._places.keys()

    def get(self, key: str) -> dict[str, Any] | None:
        """The newest line of an id."""
        place = self._places.get(key)
        if place is None:
            return None
        with self._path.open("rb") as file:
            file.seek(place)
            found: dict[str, Any] = json.loads(file.readline())
        return found

    def append(self, line: dict[str, Any]) -> None:
        """Add a line and see it to the disk; `line` has an `id`."""
        data = json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(self._path, self._size)
            raise InfraError(f"cannot write {self._path}: {error.strerror}; mend that, type it again") from error
        self._places[line["id"]] = self._size
        self._size += len(data)

    def _index(self) -> int:
        """Note where each line begins; returns where the last whole line ends (a torn one comes of a kill)."""
        place = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    self._places[str(json.loads(line)["id"])] = place
                except (ValueError, TypeError, KeyError):
                    raise UserError(
                        f"{self._path}, line {number} is damaged: delete that line, type it again"
                    ) from None
                place += len(line)
        return place
