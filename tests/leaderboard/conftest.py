"""One small benchmark and two submissions of it; a test that changes one takes its own copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.leaderboard.boards import Shop, make_shop, weak


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """12 items of 6 demonstrations."""
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def sound(shop: Shop) -> Path:
    """A submission with nothing wrong in it: ten rows drawn, one failed, one refused."""
    return shop.submission("mine", weak, seed=1)


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Callable[[], Path]:
    """Copies of the sound submission, to be spoilt."""

    def made() -> Path:
        target = tmp_path / f"copy-{len(list(tmp_path.glob('copy-*')))}"
        shutil.copytree(sound, target)
        return target

    return made


@pytest.fixture
def spoilt(copy: Callable[[], Path]) -> Path:
    """One copy of the sound submission."""
    return copy()
