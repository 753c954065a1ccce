"""JSON Schemas of the public nouns, generated from the pydantic models.

python -m chatgenbench.schemas      # writes them again after a model changed
"""

from __future__ import annotations

import json
from pathlib import Path

from chatgenbench.schema import Demonstration, FreestyleInput, Item, ModelRecord, Noun, Plan, TrainInput

PUBLIC: dict[str, type[Noun]] = {
    "freestyle_input": FreestyleInput,
    "plan": Plan,
    "model_record": ModelRecord,
    "demonstration": Demonstration,
    "item": Item,
    "train_input": TrainInput,
}


def text_of(name: str) -> str:
    """The schema of one noun as it stands in its file."""
    return json.dumps(PUBLIC[name].model_json_schema(), indent=2, sort_keys=True) + "\n"


def file_of(name: str) -> Path:
    return Path(__file__).parent / f"{name}.json"


def write() -> None:
    """Write all schema files beside this one."""
    for name in PUBLIC:
        file_of(name).write_text(text_of(name), "utf-8")
