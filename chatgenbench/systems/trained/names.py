"""Names of trained systems: `evo:DIR` and its like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chatgenbench.systems.protocol import System


def _evo(stages: int) -> Callable[[Path], System]:
    def make(folder: Path) -> System:
        from chatgenbench.systems.trained.evo import Evo

        return Evo(folder, stages)

    return make


def _diffagent(folder: Path) -> System:
    from chatgenbench.systems.trained.diffagent import DiffAgent

    return DiffAgent(folder)


#: What stands before the colon, what it is, and how to make one.
KINDS: dict[str, tuple[str, Callable[[Path], System]]] = {
    "evo": ("ChatGen-Evo, trained by `chatgenbench train evo`", _evo(3)),
    "evo2": ("its prompt and model, with usual arguments", _evo(2)),
    "evo1": ("its prompt alone, on the popular model", _evo(1)),
    "diffagent": ("DiffAgent, trained by `chatgenbench train diffagent`", _diffagent),
}


def trained_system(spec: str) -> System | None:
    """The system of `KIND:DIR`, or None where `spec` names none of these kinds.

    Raises:
        UserError: DIR holds no finished training of that kind.
    """
    kind, colon, folder = spec.partition(":")
    if not colon or kind not in KINDS:
        return None
    return KINDS[kind][1](Path(folder))


def trained_names() -> list[tuple[str, str]]:
    """(how it is typed, one line of description)."""
    return [(f"{kind}:DIR", summary) for kind, (summary, _) in KINDS.items()]
