"""What is wrong with a submission: where, what, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatgenbench.errors import shorten

#: So many problems are kept; the rest is counted.
KEPT = 1000


@dataclass(frozen=True)
class Problem:
    """One fault.  `line` counts from 1 (the header); `what` and `mend` hold no control characters."""

    file: str
    line: int | None
    column: str | None
    what: str
    mend: str

    def __str__(self) -> str:
        where = shorten(self.file, 80) if self.line is None else f"{shorten(self.file, 80)}:{self.line}"
        part = f" {shorten(self.column, 60)}:" if self.column is not None else ""
        return f"{where}:{part} {shorten(self.what, 200)}: {shorten(self.mend, 200)}"


@dataclass
class Problems:
    """Faults as they are found; `more` counts those beyond KEPT."""

    found: list[Problem] = field(default_factory=list)
    more: int = 0

    def tell(self, problem: Problem) -> None:
        if len(self.found) < KEPT:
            self.found.append(problem)
        else:
            self.more += 1

    def all(self) -> list[Problem]:
        """The faults kept, and one line that counts the rest."""
        if not self.more:
            return self.found
        rest = Problem("submission", None, None, f"{self.more:,} more problems", "mend those above first")
        return [*self.found, rest]
