"""No test may reach a hub, and every test gets its own home for pictures and features."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal

import pytest
from hypothesis import settings

from tests.browsers import browser  # noqa: F401  (a fixture for all tests)

# a shell starts what it runs in the background deaf to Ctrl-C, and so would be every program that a test starts
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("steady", deadline=None, max_examples=40, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=40)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATGENBENCH_HOME", str(tmp_path_factory.getbasetemp() / "home"))
