"""Declare a built-in system where it is written: `@builtin(name, summary)` on its class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from chatgenbench.benchmark import Benchmark
from chatgenbench.systems.protocol import System

#: Given the benchmark and the seed of the run.  Only built-ins see the benchmark: it holds the gold plans.
Maker = Callable[[Benchmark, int], System]
M = TypeVar("M", bound=Maker)


@dataclass(frozen=True)
class Builtin:
    """A registered system: its name, one line that says what it does, and how to make one."""

    name: str
    summary: str
    make: Maker


BUILTINS: dict[str, Builtin] = {}


def builtin(name: str, summary: str) -> Callable[[M], M]:
    """Register the decorated class (or function) under `name`."""

    def register(make: M) -> M:
        BUILTINS[name] = Builtin(name, summary, make)
        return make

    return register
