"""What recipes learn from, and which packages they learn with."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import chatgenbench
from chatgenbench.benchmark import TRAIN_INPUTS, Benchmark
from chatgenbench.errors import BenchmarkError, UserError
from chatgenbench.schema import Demonstration, FreestyleInput

T = TypeVar("T")

PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "datasets")


def examples(benchmark: Benchmark, limit: int | None = None) -> list[tuple[FreestyleInput, Demonstration]]:
    """Every training chat with its demonstration, in the file's order; at most `limit`, spread over all.

    Raises:
        BenchmarkError: the benchmark has no training chats.
    """
    chats = benchmark.train_inputs
    if not chats:
        raise BenchmarkError(
            f"{benchmark.root} holds no chats to train on ({TRAIN_INPUTS}): build it with "
            "`chatgenbench build --with-train`"
        )
    pairs = [(chat.input, benchmark.demonstrations[chat.demonstration]) for chat in chats]
    return pairs if limit is None else spread(pairs, limit)


def spread(values: Sequence[T], count: int) -> list[T]:
    """At most `count` values, evenly spread over all of them, in their order."""
    return [values[i * len(values) // count] for i in range(count)] if count < len(values) else list(values)


def versions() -> dict[str, Any]:
    """Versions of this program and of the packages that train."""
    found = {"chatgenbench": chatgenbench.__version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {"versions": found}


def require(package: str) -> None:
    """Raise UserError unless `package` of the extra `train` is installed."""
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise UserError(f"this recipe needs the package '{package}': type pip install 'chatgenbench[train]'")
