"""A journal of answers that cost something, each found again by its id."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from chatgenbench import journal
from chatgenbench.errors import InfraError


class Journal:
    """One JSON line an id; the newest line of an id counts.  Only ids and places are held in memory.

    Raises:
        RunFolderError: a line is damaged.
        InfraError: the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InfraError(f"cannot open {path}: {error.strerror}; mend that, type the command again") from error
        self._lines = journal.Journal(path)
        self._places = {key: place for place, key in journal.read_places(path, lambda line: str(line["id"]))}

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._lines.__exit__(kind, error, tb)

    def keys(self) -> Iterable[str]:
        """Every id, in the order of first lines."""
        return self._places.keys()

    def get(self, key: str) -> dict[str, Any] | None:
        """The newest line of an id."""
        place = self._places.get(key)
        if place is None:
            return None
        with self._lines.path.open("rb") as file:
            file.seek(place)
            found: dict[str, Any] = json.loads(file.readline())
        return found

    def append(self, line: dict[str, Any]) -> None:
        """Add a line and see it to the disk; `line` has an `id`."""
        self._places[line["id"]] = self._lines.append(line)
