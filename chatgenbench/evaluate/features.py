"""Image features kept by content: a picture that two systems share is read once."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from chatgenbench.errors import InfraError
from chatgenbench.statistics import Array


class FeatureStore:
    """Feature vectors (d,) float64 on disk, one file a picture, named by the picture's sha256.

    A file that is not one whole vector of d finite numbers counts as missing: it is computed and written anew.

    Args:
        width: d.
    """

    def __init__(self, folder: Path, width: int) -> None:
        self.folder, self.width = folder, width
        whole = _file_of(np.zeros(width))
        self._head, self._size = whole[: len(whole) - 8 * width], len(whole)

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / f"{digest}.npy"

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Those of `digests`, once each and in order, that are not stored yet."""
        return [d for d in dict.fromkeys(digests) if self._read(d) is None]

    def add(self, digests: Sequence[str], features: Array) -> None:
        """Store rows of `features` (n, d) under `digests`, each in one step."""
        for digest, row in zip(digests, features, strict=True):
            path = self._path(digest)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with temporary.open("wb") as file:
                    file.write(_file_of(row))
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            except OSError as error:
                with suppress(OSError):
                    temporary.unlink()
                raise InfraError(f"cannot write {path}: {error.strerror}; free some space, type it again") from error

    def get(self, digests: Sequence[str]) -> Array:
        """(n, d) features in the order of `digests`, all of which were stored.

        Raises:
            InfraError: one of them is no longer there.
        """
        rows = []
        for digest in digests:
            row = self._read(digest)
            if row is None:
                raise InfraError(f"{self._path(digest)} is missing or damaged: type the command again to make it anew")
            rows.append(row)
        return np.stack(rows)

    def _read(self, digest: str) -> Array | None:
        try:
            data = self._path(digest).read_bytes()
        except OSError:
            return None
        if len(data) != self._size or not data.startswith(self._head):
            return None
        row = np.frombuffer(data, np.float64, offset=len(self._head))
        return row if np.isfinite(row).all() else None

    def fill(
        self, digests: Sequence[str], compute: Callable[[list[str]], Array], block: int, tick: Callable[[int], None]
    ) -> None:
        """Compute and store what is missing, `block` pictures at a time; `tick(k)` after each."""
        todo = self.missing(digests)
        tick(len(digests) - len(todo))
        for start in range(0, len(todo), block):
            part = todo[start : start + block]
            self.add(part, compute(part))
            tick(len(part))


def _file_of(row: Array) -> bytes:
    """What a vector's file holds."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(row, np.float64))
    return buffer.getvalue()
