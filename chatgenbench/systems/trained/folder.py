"""What `chatgenbench train` leaves behind: a folder with `recipe.json`, a card, and what was trained."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from chatgenbench.errors import UserError

RECIPE = "recipe.json"
#: Model tokens: their embeddings, and the catalog ids of their rows.
TOKENS, NAMES = "model_tokens.safetensors", "models.json"


class Trained:
    """A finished training.  `asked` is what it was asked for, `stages` what each stage reported.

    Raises:
        UserError: no training, one of another recipe, or one that is not finished.
    """

    def __init__(self, folder: Path, recipe: str) -> None:
        self.folder = folder
        facts = read(folder)
        if facts["recipe"] != recipe:
            raise UserError(f"{folder} was trained by `chatgenbench train {facts['recipe']}`, not `train {recipe}`")
        if not facts.get("finished"):
            raise UserError(f"{folder} is not trained to the end: type its `chatgenbench train {recipe}` again")
        self.asked: dict[str, Any] = facts["asked"]
        self.stages: dict[str, dict[str, Any]] = facts["stages"]
        self.revision = hashlib.sha256((folder / RECIPE).read_bytes()).hexdigest()[:12]

    @property
    def base(self) -> str:
        """The base model; one that was made for this training lies in its folder."""
        own = self.folder / "base"
        return str(own) if own.is_dir() else str(self.asked["base_model"])

    def part(self, name: str) -> Path | None:
        """A trained part by the name of its stage; None where the stage had nothing to train."""
        path = self.folder / name
        return path if path.is_dir() else None


def read(folder: Path) -> dict[str, Any]:
    """The content of `recipe.json`.

    Raises:
        UserError: it is missing or damaged.
    """
    path = folder / RECIPE
    try:
        facts = json.loads(path.read_text("utf-8"))
        if not isinstance(facts, dict) or not {"recipe", "asked", "stages"} <= facts.keys():
            raise ValueError("parts are missing")
    except OSError:
        raise UserError(f"{folder} holds no trained system: {RECIPE} is missing") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): train again into another folder") from None
    return facts
