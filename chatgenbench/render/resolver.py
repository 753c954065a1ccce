"""From a record of the catalog to files on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chatgenbench.benchmark import Benchmark
from chatgenbench.render.weights import locate
from chatgenbench.schema import ModelRecord


@dataclass(frozen=True)
class Located:
    """Where the weights of a record lie: `role` is "diffusers" (a folder), "checkpoint" or "lora" (one file)."""

    role: str
    path: Path


class Resolver:
    """Finds the weights of catalog records, whichever thread or process asks; it can be pickled.

    Args:
        benchmark: whose folder relative paths start from.
    """

    def __init__(self, benchmark: Benchmark) -> None:
        self.benchmark = benchmark

    def fetch(self, record: ModelRecord) -> Located:
        """Have the weights of `record` on this machine, and say where; blocks until they are there.

        Raises:
            BenchmarkError: they cannot be had; only the rows that need this model fail.
        """
        return Located(*locate(record, self.benchmark))

    @contextmanager
    def using(self, record: ModelRecord) -> Iterator[Located]:
        """`fetch`, and nothing takes the files away before the block ends."""
        yield self.fetch(record)
