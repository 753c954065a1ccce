"""Build hook: a wheel carries the miniature and the metric cards; a checkout uses them where they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = ("benchmark.json", "catalog.jsonl", "demonstrations.jsonl", "items.jsonl", "train_inputs.jsonl")
BENCHMARK = (*FILES, "pictures", "models")


class DataHook(BuildHookInterface[Any]):
    """Adds data to standard wheels only."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "standard":
            return
        inside = {f"data/miniature/{name}": f"chatgenbench/_data/miniature/{name}" for name in BENCHMARK}
        inside |= {"data/miniature/scorers": "t2imetrics/_miniature", "metrics/cards": "t2imetrics/_cards"}
        build_data["force_include"] |= {str(Path(self.root) / source): target for source, target in inside.items()}
