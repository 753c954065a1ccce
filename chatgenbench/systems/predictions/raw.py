"""A row of a predictions file before it is a plan, and the problems that refuse a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chatgenbench.errors import PredictionsError
from chatgenbench.schema import Failure

ARGUMENTS = ("sampler", "steps", "cfg_scale", "width", "height", "seed", "clip_skip", "lora_weight")
#: What a row may hold, and what it must.
COLUMNS = ("id", "prompt", "negative_prompt", "model", *ARGUMENTS, "ranking")
REQUIRED = ("id", "prompt", "model", "sampler", "steps", "cfg_scale", "width", "height")
#: File problems that are told in full; the rest is counted.
MAX_PROBLEMS = 10


@dataclass(frozen=True)
class Raw:
    """One row: the line it starts on, its id, and how to read the rest.

    `read` gives the fields of a Plan, or the Failure that the row records; it raises PlanError, whose message
    names the column, for a row that is neither.
    """

    line: int
    id: str
    read: Callable[[], Mapping[str, Any] | Failure]


class Problems:
    """Collects what is wrong with a file as a whole, so that a person mends it in one go."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._told: list[str] = []
        self._count = 0

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self, problem: str | Callable[[], str]) -> None:
        """Note a problem; a callable is asked for its words only if they will be told."""
        self._count += 1
        if len(self._told) < MAX_PROBLEMS:
            self._told.append(problem if isinstance(problem, str) else problem())

    def raise_if_any(self) -> None:
        """Raise PredictionsError with every problem noted so far, one a line."""
        if not self._count:
            return
        lines = list(self._told)
        if self._count > len(lines):
            lines.append(f"and {self._count - len(lines)} more")
        text = f"{self._file}: {lines[0]}"
        if len(lines) > 1:
            text = "\n  ".join([f"{self._file}: {self._count} problems", *lines])
        raise PredictionsError(text.encode("utf-8", "replace").decode("utf-8"))


def split_ranking(text: str) -> tuple[str, ...]:
    """`a|b|c` as ("a", "b", "c")."""
    return tuple(part.strip() for part in text.split("|") if part.strip())
