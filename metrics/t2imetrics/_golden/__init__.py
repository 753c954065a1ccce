"""Golden pictures, prompts and values: what the self-test compares this installation with.

`pictures/` and `prompts.json` are the inputs; `pixels.json`, `tokens.json` and `values.json` were measured from them by
`metrics/make_golden.py`.  Nothing here imports torch.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: Pictures in a fixed order, the most telling first: cheap checks look at that one only.
PICTURES = ("mosaic", "odd-sides", "soft-alpha", "grey", "grey-16-bit", "palette-clear")
#: Libraries whose version can move a number.
LIBRARIES = ("torch", "torchvision", "transformers", "tokenizers", "open_clip_torch", "ftfy", "pillow", "numpy")


def pictures() -> list[Path]:
    """The golden pictures' files."""
    return [HERE / "pictures" / f"{name}.png" for name in PICTURES]


@cache
def prompts() -> dict[str, str]:
    """Golden prompts by name, the most telling first."""
    found: dict[str, str] = read("prompts")
    return found


@cache
def read(name: str) -> Any:
    """The content of `NAME.json`; an empty object before it was measured."""
    path = HERE / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def versions() -> dict[str, str]:
    """Installed versions of `LIBRARIES`."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def changed(then: dict[str, str]) -> str:
    """Which libraries differ from `then`, e.g. `pillow 13.0.0 then, 13.1.0 here`; the advice where none does."""
    now = versions()
    differing = [
        f"{name} {was} then, {now.get(name, 'none')} here" for name, was in then.items() if now.get(name) != was
    ]
    return ", ".join(differing) or "the same library versions"
