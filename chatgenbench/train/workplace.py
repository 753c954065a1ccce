"""The folder that a training fills: what was asked, which stages are done, and where the next one continues.

recipe.json     what was asked, digests, versions, what each finished stage reported; written whole or not at all
README.md       the card
base/           the base model, where the training made it itself
STAGE/          what a finished stage trained
work/STAGE/     checkpoints of the stage in progress; gone when it is done
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chatgenbench.errors import UserError
from chatgenbench.systems.trained.folder import RECIPE, read

STATE = "trainer_state.json"


class Workplace:
    """One training, begun or continued.

    Args:
        folder: where it lives; made if it is not there.
        recipe: name of the recipe.
        asked: all that decides the result: options, digests of data.  A folder with another `asked` is refused.
        told: facts that decide nothing, such as versions of packages.

    Raises:
        UserError: the folder holds another training, or something else.
    """

    def __init__(self, folder: Path, recipe: str, asked: Mapping[str, Any], told: Mapping[str, Any]) -> None:
        self.folder = folder
        plain = json.loads(json.dumps(asked))
        self.facts: dict[str, Any] = {"recipe": recipe, "asked": plain, **told, "stages": {}}
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        before = read(folder) if RECIPE in there else None
        if before is not None and there != {RECIPE}:
            self.facts = before
            self._same(recipe, plain)
        elif there - {RECIPE}:  # a recipe alone is a training that ended before it began, say by a mistyped base model
            raise UserError(f"{folder} is not empty and holds no training: choose another --out")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self._write()

    def _same(self, recipe: str, asked: Mapping[str, Any]) -> None:
        before = self.facts["asked"] if self.facts["recipe"] == recipe else {}
        names = sorted(key for key in {*before, *asked} if before.get(key) != asked.get(key))
        if names or self.facts["recipe"] != recipe:
            what = ", ".join(names[:5]) if before else f"the recipe {self.facts['recipe']}"
            raise UserError(f"{self.folder} holds another training ({what}): choose another --out, or delete it")

    @property
    def finished(self) -> bool:
        return bool(self.facts.get("finished"))

    def done(self, stage: str) -> dict[str, Any] | None:
        """What a finished stage reported; None while it is to be done."""
        report: dict[str, Any] | None = self.facts["stages"].get(stage)
        return report

    def draft(self, stage: str) -> Path:
        """Where a stage works: its checkpoints and drafts."""
        folder = self.folder / "work" / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def finish(self, stage: str, report: Mapping[str, Any], trained: Path | None = None) -> None:
        """Note a stage as done; `trained` (a folder in its draft) becomes the folder `stage`."""
        if trained is not None:
            target = self.folder / stage
            shutil.rmtree(target, ignore_errors=True)  # of a stage that was killed right here
            os.replace(trained, target)
        self.facts["stages"][stage] = dict(report)
        self._write()
        shutil.rmtree(self.folder / "work" / stage, ignore_errors=True)

    def end(self, card: str) -> None:
        """Write the card and note the training as finished."""
        (self.folder / "README.md").write_text(card, "utf-8")
        shutil.rmtree(self.folder / "work", ignore_errors=True)
        self.facts["finished"] = True
        self._write()

    def _write(self) -> None:
        draft = self.folder / f"{RECIPE}.{os.getpid()}"
        draft.write_text(json.dumps(self.facts, indent=2, ensure_ascii=False) + "\n", "utf-8")
        os.replace(draft, self.folder / RECIPE)


def last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint; those that a kill left half written are removed.

    The trainer writes a checkpoint's state last, so one that can be read belongs to a whole checkpoint.
    """
    found: list[tuple[int, Path]] = []
    for path in folder.glob("checkpoint-*"):
        try:
            step = json.loads((path / STATE).read_text("utf-8"))["global_step"]
        except (OSError, ValueError, KeyError):
            shutil.rmtree(path, ignore_errors=True)
        else:
            found.append((int(step), path))
    return str(max(found)[1]) if found else None
