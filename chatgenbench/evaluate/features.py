"""Image features kept by content: a picture that two systems share is read once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from chatgenbench.errors import InfraError
from chatgenbench.evaluate.statistics import Array


class FeatureStore:
    """Feature vectors (d,) float64 on disk, one file a picture, named by the picture's sha256."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / f"{digest}.npy"

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Those of `digests`, once each and in order, that are not stored yet."""
        return [d for d in dict.fromkeys(digests) if not self._path(d).exists()]

    def add(self, digests: Sequence[str], features: Array) -> None:
        """Store rows of `features` (n, d) under `digests`, each in one step."""
        for digest, row in zip(digests, features, strict=True):
            path = self._path(digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            try:
                with temporary.open("wb") as file:
                    np.save(file, row)
                temporary.replace(path)
            except OSError as error:
                temporary.unlink(missing_ok=True)
                raise InfraError(f"cannot write {path}: {error.strerror}; free some space, type it again") from error

    def add_new(self, digests: Sequence[str], features: Array) -> None:
        """Store those rows of `features` (n, d) that are not there yet: what a score rests on is never replaced."""
        place = {digest: i for i, digest in enumerate(digests)}
        new = self.missing(digests)
        self.add(new, features[[place[digest] for digest in new]])

    def get(self, digests: Sequence[str]) -> Array:
        """(n, d) features in the order of `digests`; all must be stored."""
        return np.stack([np.load(self._path(d)) for d in digests]).astype(np.float64)

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
