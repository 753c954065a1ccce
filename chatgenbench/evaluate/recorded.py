"""A system that is no longer there, known by the run that it has answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chatgenbench.benchmark import Catalog
from chatgenbench.errors import RunFolderError
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.schema import Demonstration, Failure, FreestyleInput, Item, Outcome, Plan


@dataclass(frozen=True)
class Recorded:
    """Stands for a system of which nothing is left to ask."""

    name: str
    revision: str

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        """Nothing to learn."""

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterable[Plan | Failure]:
        """Every answer is in the run: what is asked all the same has none."""
        return [Failure(outcome=Outcome.INFRA_FAILED, reason="the system is not there")] * len(inputs)


def recorded(path: Path, spec: str, items: Iterable[Item]) -> Recorded | None:
    """The system of the run in `path`, if that run is one of `spec` and has an answer to each of `items`."""
    folder = RunFolder(path)
    try:
        identity = folder.read_manifest()["identity"]
        planned = folder.planned()
    except RunFolderError:
        return None
    answered = {item for item, row in planned.items() if row.outcome is not Outcome.INFRA_FAILED}
    if identity.get("system_spec") != spec or not all(item.id in answered for item in items):
        return None
    return Recorded(str(identity.get("system")), str(identity.get("system_revision")))
