"""The board that comes with the project: every submission is sound, and ranking gives the very files that are there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.leaderboard.board import Board
from chatgenbench.leaderboard.check import check
from chatgenbench.leaderboard.rank import rank
from chatgenbench.leaderboard.results import Results
from chatgenbench.leaderboard.results_files import write_results

ROOT = Path(__file__).parents[2] / "leaderboard"
BOARD = Board(ROOT)


@pytest.fixture(scope="module")
def miniature() -> Benchmark:
    return load_benchmark("miniature")


@pytest.mark.parametrize("one", BOARD.submissions(), ids=lambda one: one.slug)
def test_a_shipped_submission_is_sound(one: object, miniature: Benchmark) -> None:
    known = [other.manifest for other in BOARD.submissions() if other.manifest is not None]
    assert check(one.folder, miniature, known, BOARD.maintainers()) == []  # type: ignore[attr-defined]


def test_the_results_are_those_of_the_submissions(miniature: Benchmark, tmp_path: Path) -> None:
    found = rank(BOARD, miniature)
    assert found.left_out == ()
    references = [entry for entry in found.entries if entry.reference]
    assert {entry.system for entry in references} == {"oracle", "random", "popular", "echo", "retrieval", "stuffing"}
    assert {entry.level for entry in references} == {"reproduced"}
    table, _ = write_results(found, tmp_path)
    made, shipped = (pd.read_csv(path) for path in (table, ROOT / table.name))
    pd.testing.assert_frame_equal(made, shipped, rtol=1e-6, obj="leaderboard/results.csv (type make board)")
    told = Results.model_validate_json((ROOT / "results.json").read_bytes())
    assert [entry.slug for entry in told.entries] == [entry.slug for entry in found.entries]
