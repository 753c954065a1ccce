"""What two runs were not given alike: what makes a comparison unfair, and what only has to be known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import t2imetrics

from chatgenbench.report import notes
from chatgenbench.report.data import RunData

ENGINE = "the engine that drew"
#: Settings that move numbers whatever the system does.
UNFAIR: Mapping[str, Callable[[RunData], Any]] = {
    "the seed": lambda run: run.manifest["identity"].get("seed"),
    "whether pictures were drawn": lambda run: run.pictured,
    "the text that image metrics read": lambda run: run.summary["run"]["text"],
    ENGINE: lambda run: _flat(run.manifest.get("engine", "not recorded")),
}
#: Settings that should move nothing, or only by a rounding error.
TOLD: Mapping[str, Callable[[RunData], Any]] = {
    "device": lambda run: run.manifest.get("device", "not recorded"),
    "batch size": lambda run: run.manifest["settings"].get("batch_size"),
    "version of chatgenbench": lambda run: run.manifest.get("versions", {}).get("chatgenbench"),
    "label": lambda run: notes.label(run.summary),
}


def unfair(a: RunData, b: RunData) -> list[str]:
    """One sentence for each thing that makes the comparison unfair; empty when it is fair."""
    differing = {what: key for what, key in UNFAIR.items() if _differ(a, b, key)}
    if not (a.pictured and b.pictured):
        differing.pop(ENGINE, None)
    lines = [f"unfair: these runs differ in {what}{_told(a, b, key)}" for what, key in differing.items()]
    names = [m for m in _weighed(a) if m in _weighed(b) and _weights(a, m) != _weights(b, m)]
    if names:
        lines.append(f"unfair: these runs were scored with different weights of {', '.join(names)}")
    return lines


def also_different(a: RunData, b: RunData) -> list[str]:
    """What else differs, which explains small differences at most."""
    return [f"{what}{_told(a, b, key)}" for what, key in TOLD.items() if _differ(a, b, key)]


def incomparable(a: RunData, b: RunData) -> dict[str, str]:
    """Metric -> why its numbers of the two runs may not be compared at all; no test is made of these."""
    found = {m: "other weights" for m in _weighed(a) if m in _weighed(b) and _weights(a, m) != _weights(b, m)}
    if _differ(a, b, UNFAIR["the text that image metrics read"]):
        found |= {m: "another text" for m in _weighed(a) if _reads_text(m)}
    if found.keys() & {"fid", "clipscore", "hpsv2", "imagereward"}:
        found.setdefault("unified", "made of numbers that may not be compared")
    return found


def _differ(a: RunData, b: RunData, key: Callable[[RunData], Any]) -> bool:
    return bool(key(a) != key(b))


def _told(a: RunData, b: RunData, key: Callable[[RunData], Any]) -> str:
    return f" (A: {_short(key(a))}, B: {_short(key(b))})"


def _short(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _flat(value: Any) -> str:
    return value if isinstance(value, str) else str(sorted(dict(value).items()))


def _weighed(run: RunData) -> dict[str, Any]:
    return dict(run.summary["run"]["weights"])


def _weights(run: RunData, metric: str) -> tuple[Any, ...]:
    about = _weighed(run)[metric]
    return about["name"], about["sha256"], about.get("files")


def _reads_text(metric: str) -> bool:
    """Whether a metric reads the text that `--text` chooses."""
    return metric in t2imetrics.list() and t2imetrics.card(metric).reads == "images+text"
