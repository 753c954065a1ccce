"""SIGKILL in the middle of each stage, the same command again, and the same scores as if nothing had happened."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from tests.cli import kill_when, lines, run_here

SLOW = '''
import time
from chatgenbench.benchmark import load_benchmark
class Slow:
    """The gold plan, a tenth of a second an answer."""
    name, revision = "slow", "1"
    def prepare(self, catalog, train):
        self.benchmark = load_benchmark("miniature")
    def plan(self, inputs):
        for chat in inputs:
            time.sleep(0.1)
            yield self.benchmark.gold(self.benchmark.by_id[chat.id]).plan
'''
LIMIT = 10


def reaches(file: Path, enough: int) -> bool:
    return lines(file) >= enough


def command(out: Path) -> list[str]:
    return ["eval", "--system", "slow_system:Slow", "--limit", str(LIMIT), "--out", str(out), "--batch-size", "2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    (folder / "slow_system.py").write_text(SLOW)
    return folder


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """The uninterrupted run, with a home of its own."""
    done = run_here(*command(place / "whole"), home=place / "home-whole", cwd=place)
    assert done.returncode == 0, done.stderr
    return place / "whole"


@pytest.fixture(scope="module")
def killed(place: Path) -> tuple[Path, dict[str, int]]:
    """A run killed once in each stage; how far each stage was when it was killed."""
    out, home = place / "killed", place / "home-killed"
    progress = {}
    for name, file, enough in (
        ("plan", "plans.jsonl", 3), ("render", "pictures.jsonl", 3),
        ("score", "scores.jsonl", 1), ("report", "summary.json", 1),
    ):  # fmt: skip
        reached = partial(reaches, out / file, enough)
        was_running = kill_when(reached, *command(out), home=home, cwd=place)
        assert was_running, f"ended before it could be killed in the {name} stage"
        progress[name] = lines(out / file)
    assert not (out / "report.html").exists()
    done = run_here(*command(out), home=home, cwd=place)
    assert done.returncode == 0, done.stderr
    return out, progress


def test_scores_are_those_of_an_uninterrupted_run(whole: Path, killed: tuple[Path, dict[str, int]]) -> None:
    expected, got = (pd.read_parquet(folder / "scores.parquet") for folder in (whole, killed[0]))
    pd.testing.assert_frame_equal(got, expected, check_exact=True)
    a, b = (json.loads((folder / "summary.json").read_text()) for folder in (whole, killed[0]))
    assert a["metrics"] == b["metrics"]
    assert (whole / "submission.csv").read_bytes() == (killed[0] / "submission.csv").read_bytes()


def test_no_finished_row_was_done_twice(killed: tuple[Path, dict[str, int]]) -> None:
    out, progress = killed
    for file in ("plans.jsonl", "pictures.jsonl"):
        items = Counter(json.loads(line)["item"] for line in (out / file).read_text().splitlines())
        assert len(items) == LIMIT
        assert set(items.values()) == {1}
    blocks = Counter(json.loads(line)["block"] for line in (out / "scores.jsonl").read_text().splitlines())
    assert set(blocks.values()) == {1}
    assert progress["render"] < LIMIT


def test_typing_it_once_more_changes_nothing(place: Path, killed: tuple[Path, dict[str, int]]) -> None:
    out, _ = killed
    before = {p: p.read_bytes() for p in out.iterdir() if p.suffix in (".jsonl", ".parquet", ".csv", ".html")}
    pictures = {p: p.stat().st_mtime_ns for p in (place / "home-killed" / "pool").rglob("*.png")}
    assert len(pictures) == LIMIT
    assert run_here(*command(out), home=place / "home-killed", cwd=place).returncode == 0
    assert {p: p.read_bytes() for p in before} == before
    assert {p: p.stat().st_mtime_ns for p in (place / "home-killed" / "pool").rglob("*.png")} == pictures


def test_batch_size_one_and_eight_agree_within_the_stated_tolerance(place: Path, whole: Path) -> None:
    single = [*command(place / "single")[:-1], "1"]
    assert run_here(*single, home=place / "home-single", cwd=place).returncode == 0
    a, b = (pd.read_parquet(folder / "scores.parquet") for folder in (whole, place / "single"))
    for metric, tolerance in (("clipscore", 0.5), ("hpsv2", 0.2), ("imagereward", 0.02)):
        assert (a[metric] - b[metric]).abs().max() < tolerance


def test_another_command_in_the_same_folder_is_refused(place: Path, whole: Path) -> None:
    done = run_here("eval", "--system", "oracle", "--limit", "3", "--out", str(whole), home=place / "home-whole")
    assert done.returncode == 1
    assert "holds another run" in done.stderr
    assert "choose another --out" in done.stderr
    assert "Traceback" not in done.stderr
