"""Append-only JSON-lines files that survive a kill at any byte."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from chatgenbench.errors import InfraError, RunFolderError

T = TypeVar("T")


class Journal:
    """One JSON object a line, flushed and synced line by line.

    Opening repairs a torn last line (the process was killed while writing it) by cutting it off;
    a broken line anywhere else is damage and is reported, not skipped.

    Raises:
        RunFolderError: a line that is not JSON before the last one.
        InfraError: the disk refuses a write; the file ends with the last whole line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            _repair(path)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise InfraError(f"cannot open {path}: {error.strerror}; mend that, type the command again") from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def append(self, *records: dict[str, Any]) -> int:
        """Write records so that after a crash each is there whole or not at all; returns where the first begins."""
        size = os.fstat(self._file.fileno()).st_size
        data = b"".join(json.dumps(r, ensure_ascii=False, allow_nan=False).encode() + b"\n" for r in records)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            _drop_tail(self.path, size)
            raise InfraError(f"cannot write {self.path}: {error.strerror}; free some space, type it again") from error
        return size


def read(path: Path, parse: Callable[[Any], T]) -> Iterator[T]:
    """The records of a journal, oldest first, each through `parse`, which refuses with ValueError or the like.

    Nothing if the file is not there; a torn last line is passed over.

    Raises:
        RunFolderError: a line that is not JSON or that `parse` refuses.
    """
    return (record for _, record in read_places(path, parse))


def read_places(path: Path, parse: Callable[[Any], T]) -> Iterator[tuple[int, T]]:
    """The same, each record with the offset in bytes at which its line begins."""
    if not path.exists():
        return
    place = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                record = parse(json.loads(line))
            except (ValueError, TypeError, KeyError):
                raise RunFolderError(
                    f"{path}, line {number} is damaged: mend or delete that line, then type the command again"
                ) from None
            yield place, record
            place += len(line)


def _repair(path: Path) -> None:
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        data_end = _last_newline(file)
        file.truncate(data_end)


def _last_newline(file: Any) -> int:
    """Offset just after the last newline (0 if there is none), reading backwards in blocks."""
    end: int = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65536)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return int(start + found + 1)
        end = start
    return 0


def _drop_tail(path: Path, size: int) -> None:
    if path.stat().st_size > size:
        os.truncate(path, size)
