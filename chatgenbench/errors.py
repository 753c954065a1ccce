"""Every error chatgenbench raises on purpose.

ChatGenBenchError                 base; `str(e)` is one clear line for a person
├── UserError                     the user's mistake: exit code 1, never a traceback
│   ├── UnknownNameError          an unknown system, benchmark, model, sampler ... with "did you mean"
│   ├── BenchmarkError            a benchmark folder or dataset that cannot be read
│   │   └── WeightsError          weights of one model that cannot be had: its rows end `infra-failed`
│   ├── PredictionsError          a predictions file that cannot be read (file, line, column)
│   └── RunFolderError            a run folder that belongs to another run, or is damaged
├── PlanError                     one system answer that is not a plan: a `system-failed` row
├── RenderError                   one plan that cannot be drawn: a `system-failed` row
└── InfraError                    disk, device, network: rows end `infra-failed`, exit code 3
    └── SystemGoneError           a system that no longer answers: its run stops here, and goes on when typed again
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_TURNING = re.compile("[\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class ChatGenBenchError(Exception):
    """Base of the tree drawn in this module's docstring."""


class UserError(ChatGenBenchError):
    """What the user typed or supplied cannot work; the message says how to mend it."""


class UnknownNameError(UserError):
    """A name that is not known here.

    Args:
        kind: what was looked for, e.g. "system".
        name: what was typed.
        known: the names that would have worked.
        hint: what to type to see all of them.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        self.name = name
        names = sorted(set(known))
        close = _near(name, names)
        message = f"unknown {kind} '{shorten(name, 80)}'"
        if close:
            message += ": did you mean " + " or ".join(f"'{n}'" for n in close) + "?"
        elif names and len(names) <= 20:
            message += ": choose from " + ", ".join(names)
        super().__init__(message + (f" ({hint})" if hint else ""))


def _near(name: str, names: list[str]) -> list[str]:
    """At most three names like `name`, in their order; none that is much less like it than the nearest."""
    near = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=3, cutoff=0.5)
    alike = {found: difflib.SequenceMatcher(None, found, name.lower()).ratio() for found in near}
    least = max(alike.values(), default=0.0) - 0.2
    return [n for n in names if alike.get(n.lower(), -1.0) >= least]


class BenchmarkError(UserError):
    """A benchmark that is missing, incomplete or not ours."""


class WeightsError(BenchmarkError):
    """Weights of one model that cannot be fetched or are not what the catalog describes."""


class PredictionsError(UserError):
    """A predictions file that cannot be used."""


class RunFolderError(UserError):
    """A run folder that cannot be continued with this command."""


class PlanError(ChatGenBenchError):
    """One answer of a system that is not a usable plan."""


class RenderError(ChatGenBenchError):
    """One plan that cannot be drawn."""


class InfraError(ChatGenBenchError):
    """The machine's fault, not the system's: typing the command again may mend it."""


class SystemGoneError(InfraError):
    """A system that is reached over a wire answers nothing any more; what it answered before is kept."""


def printable(text: str) -> str:
    """`text` with U+FFFD for control characters but newline and tab, which a terminal obeys, and lone surrogates."""
    return _UNWRITABLE.sub("\ufffd", text)


def visible(text: str) -> str:
    """`text` as a terminal may show it: printable, without what turns the direction of writing, which can mislead."""
    return _TURNING.sub("\ufffd", printable(text))


def shorten(text: str, limit: int = 120) -> str:
    """`text` on one line and at most `limit` characters, for use in messages."""
    flat = printable(" ".join(text[: limit * 4].split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
