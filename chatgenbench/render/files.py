"""How large the catalog's files are.  No torch needed."""

from __future__ import annotations

from pathlib import Path

from chatgenbench.benchmark import Benchmark
from chatgenbench.render.resolver import Resolver
from chatgenbench.render.weights import parameters_in, weight_files
from chatgenbench.schema import ModelRecord


class Files:
    """Sizes of the catalog's files, whether here or still to be fetched; nothing is downloaded for it."""

    def __init__(self, benchmark: Benchmark) -> None:
        self._resolver = Resolver(benchmark)

    def to_fetch(self, record: ModelRecord) -> int | None:
        """Bytes that would be downloaded; None: the catalog does not say."""
        return self._resolver.bytes_to_fetch(record)

    def is_away(self, record: ModelRecord) -> bool:
        return self.to_fetch(record) != 0

    def path(self, record: ModelRecord) -> Path | None:
        """Where they lie; None while they are away."""
        return None if self.is_away(record) else self._resolver.fetch(record).path

    def size(self, record: ModelRecord) -> int:
        """Bytes of the weights, as far as known."""
        path = self.path(record)
        if path is None:
            return self.to_fetch(record) or 0
        return sum(file.stat().st_size for file in weight_files(path))

    def values(self, record: ModelRecord) -> int:
        """Numbers in the weights; of files that are away, what their size would hold in half precision."""
        path = self.path(record)
        return self.size(record) // 2 if path is None else parameters_in(path)
