"""How many records came into each stage of a build, how many left it, and why the others did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from chatgenbench.build.records import Drop

T = TypeVar("T")


class Count:
    """Counters of one stage.

    `seen` = `kept` + all of `dropped`, always.  `noted` counts what did not cost a record: fields of a type nobody
    expected, items served twice, descriptions cut.
    """

    def __init__(self) -> None:
        self.seen = 0
        self.kept = 0
        self.dropped: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()

    def through(self, results: Iterable[T | Drop]) -> Iterator[T]:
        """Pass on what is kept, count what is not."""
        for result in results:
            self.seen += 1
            if isinstance(result, Drop):
                self.dropped[result.reason] += 1
            else:
                self.kept += 1
                yield result

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, reasons by name, so that equal counts are equal bytes."""
        return {
            "seen": self.seen,
            "kept": self.kept,
            "dropped": dict(sorted(self.dropped.items())),
            "noted": dict(sorted(self.noted.items())),
        }


def problems(funnel: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Stages whose numbers do not add up, or that saw another number than the stage before kept; empty when sound."""
    found = []
    before: tuple[str, int] | None = None
    for name, stage in funnel.items():
        if stage["seen"] != stage["kept"] + sum(stage["dropped"].values()):
            found.append(f"{name}: {stage['seen']} seen is not {stage['kept']} kept plus what was dropped")
        if before is not None and stage["seen"] != before[1]:
            found.append(f"{name} saw {stage['seen']}, but {before[0]} kept {before[1]}")
        before = (name, stage["kept"])
    return found
