"""A benchmark folder of a dozen lines: four models, six demonstrations, five items."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.schema import FreestyleInput

os.environ.setdefault("HF_HUB_OFFLINE", "1")

LOOKS = {
    "inkSketch_v1": "Black and white ink drawings with rough pen lines.",
    "glossyToy_v3": "Shiny three-dimensional plastic toys with soft studio light.",
    "oilPaint_v2": "Thick oil paint on canvas, visible brush strokes.",
    "plainBase_v0": "A general model without a look of its own.",
}
DEMONSTRATIONS = [
    ("d-cat-ink", "a cat, black ink drawing", "inkSketch_v1", "train", 20),
    ("d-dog-toy", "a dog, shiny plastic toy", "glossyToy_v3", "train", 30),
    ("d-tree-toy", "a tree, shiny plastic toy", "glossyToy_v3", "train", 30),
    ("d-boat-oil", "a boat on a lake, oil painting", "oilPaint_v2", "train", 20),
    ("d-cat-toy", "a cat, shiny plastic toy", "glossyToy_v3", "supervised", 25),
    ("d-dog-ink", "a dog, black ink drawing", "inkSketch_v1", "few-shot", 40),
]
ITEMS = [
    ("i1", "d-cat-toy", "supervised", ["a kitty that looks like a shiny plastic toy pls"]),
    ("i2", "d-cat-toy", "supervised", ["some animal", "make it a cat, glossy like a toy"]),
    ("i3", "d-dog-ink", "few-shot", ["my dog as a pen drawing, black ink only"]),
    ("i4", "d-dog-ink", "few-shot", ['dog; "inky", for a stamp']),
    ("i5", "d-cat-toy", "supervised", ["cat toy"]),
]


def _model(number: int, name: str) -> dict[str, object]:
    return {
        "id": name, "name": name.partition("_")[0], "file_stem": name, "type": "checkpoint", "base_model": "SD 1.5",
        "description": LOOKS[name], "sha256": f"{number:064x}", "files": {"diffusers": "models/x"},
        "aliases": [f"urn:air:sd1:checkpoint:civitai:{number}"], "licence": {"spdx": "MIT"},
    }  # fmt: skip


def _demonstration(key: str, prompt: str, model: str, split: str, steps: int) -> dict[str, object]:
    arguments = {"sampler": "Euler a", "steps": steps, "cfg_scale": 3.5, "width": 64, "height": 80, "seed": 7}
    plan = {"prompt": prompt, "negative_prompt": f"not {key}", "model": model, "arguments": arguments}
    return {
        "id": key, "plan": plan, "picture": f"pictures/{key}.png", "picture_sha256": "0" * 64, "split": split,
        "source": "test", "licence": "MIT", "attribution": "",
    }  # fmt: skip


def _item(key: str, demonstration: str, split: str, turns: list[str]) -> dict[str, object]:
    chat = {
        "id": key,
        "kind": "history" if len(turns) > 1 else "single",
        "messages": [{"role": "user", "text": text} for text in turns],
    }
    return {"id": key, "input": chat, "demonstration": demonstration, "split": split}


def write_benchmark(root: Path) -> Path:
    """Write the benchmark's four files into `root`."""
    manifest = {
        "name": "tiny", "version": "1", "label": "tiny", "licence": "MIT", "default_model": "plainBase_v0",
        "few_shot_threshold": 2,
    }  # fmt: skip
    tables = {
        "catalog": [_model(number, name) for number, name in enumerate(LOOKS, 1)],
        "demonstrations": [_demonstration(*row) for row in DEMONSTRATIONS],
        "items": [_item(*row) for row in ITEMS],
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "benchmark.json").write_text(json.dumps(manifest))
    for name, rows in tables.items():
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


@pytest.fixture(scope="session")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return load_benchmark(str(write_benchmark(tmp_path_factory.mktemp("benchmark") / "tiny")))


@pytest.fixture(scope="session")
def inputs(benchmark: Benchmark) -> list[FreestyleInput]:
    return [item.input for item in benchmark.items]
