"""Lines kept as they are made, so that sampling and drawing go on where they were killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Notebook:
    """A JSON-lines file; a torn last line is cut off when it is opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.is_file():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                path.write_bytes(whole)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._path.is_file():
            for line in self._path.read_text("utf-8").splitlines():
                yield json.loads(line)

    def add(self, record: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
