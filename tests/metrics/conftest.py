"""Fixtures of the metric tests; the small weights are written by `small_weights`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from tests.metrics import small_weights as small

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def _private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T2IMETRICS_HOME", str(tmp_path / "t2imetrics-home"))


@pytest.fixture(scope="session")
def scorers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `clip/`, `hps/` and `reward/`, as `data/miniature/scorers` has them."""
    import torch

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("scorers")
    small.write_clip(root / "clip", "tiny clip")
    small.write_clip(root / "hps", "tiny hps")
    small.write_reward(root / "reward")
    return root


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Eight different pictures of different shapes."""
    return [small.picture(i, (40 + 9 * i, 90 - 7 * i)) for i in range(8)]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Eight texts; one twice, one empty, one far beyond every limit, one not ASCII."""
    return [
        "a red apple",
        "two cats on a chair",
        "",
        "a red apple",
        "glossy toy " * 60,
        "café au lait ☕",
        "x",
        "A DOG!",
    ]
