"""The board: intervals, tests, tie groups, levels, attempts, and who is left out."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chatgenbench.errors import UserError
from chatgenbench.leaderboard.board import Board
from chatgenbench.leaderboard.manifest import CSV, MANIFEST, VERIFICATION, Cost, Manifest
from chatgenbench.leaderboard.rank import rank
from chatgenbench.leaderboard.results import Results
from chatgenbench.leaderboard.results_files import write_results
from chatgenbench.leaderboard.verification import Verification, signed_by
from chatgenbench.schema import Failure, Item, Plan
from chatgenbench.statistics import Clusters, mean_intervals, paired_test
from tests import cli
from tests.leaderboard.boards import Shop, edit_manifest, make_shop, resign, set_cell, weak


def echo(item: Item, gold: Plan) -> Plan | Failure:
    return gold.model_copy(update={"model": "inkSketch_v1"})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """60 items of 30 demonstrations."""
    return make_shop(tmp_path_factory.mktemp("rank"), 30)


@pytest.fixture(scope="module")
def board(place: Shop) -> Board:
    """A reference system, two revisions of one system, and one of somebody else."""
    other = Ed25519PrivateKey.generate()
    return place.board(
        place.submission("echo", echo, seed=1, key=place.maintainer),
        place.submission("mine", seed=0, cost=Cost(seconds=2.0, tokens=100, usd=0.01)),
        place.submission("mine", weak, seed=2, revision="2"),
        place.submission("theirs", weak, seed=3, key=other),
    )


@pytest.fixture(scope="module")
def results(board: Board, place: Shop) -> Results:
    return rank(board, place.benchmark)


def scores(board: Board, system: str, revision: str, metric: str) -> np.ndarray:
    for one in board.submissions():
        assert one.manifest is not None
        if (one.manifest.system.name, one.manifest.system.revision) == (system, revision):
            return pd.read_csv(one.folder / CSV)[metric].to_numpy(float)
    raise AssertionError(system)


def test_values_and_intervals_are_those_of_the_rows(results: Results, board: Board, place: Shop) -> None:
    clusters = Clusters([item.demonstration for item in place.benchmark.items])
    for entry in results.entries:
        rows = scores(board, entry.system, entry.revision, "sbert")
        wanted = mean_intervals(rows[:, None], clusters)[0]
        cell = entry.cells["sbert"]
        assert cell.value == pytest.approx(rows.mean())
        assert (cell.low, cell.high) == pytest.approx((wanted.low, wanted.high))


def test_neighbours_are_tested_by_demonstrations_and_ties_follow(results: Results, board: Board, place: Shop) -> None:
    clusters = Clusters([item.demonstration for item in place.benchmark.items])
    order = sorted(results.entries, key=lambda e: -e.cells["clipscore"].value)
    raw = []
    for one, other in pairwise(order):
        a, b = (scores(board, e.system, e.revision, "clipscore") for e in (one, other))
        raw.append(paired_test(a, b, clusters, permutations=4000).p_value)
    by_size = np.argsort(raw)
    wanted, largest = np.empty(len(raw)), 0.0
    for step, at in enumerate(by_size):
        largest = max(largest, min(1.0, (len(raw) - step) * raw[at]))
        wanted[at] = largest
    assert [e.cells["clipscore"].p_next for e in order[:-1]] == pytest.approx(wanted.tolist(), abs=0.02)
    assert order[-1].cells["clipscore"].p_next is None
    for one, other in pairwise(order):
        a, b = one.cells["clipscore"], other.cells["clipscore"]
        assert (a.tie == b.tie) == (a.p_next is not None and a.p_next >= 0.05)
        assert a.rank_low is not None
        assert a.rank_high is not None
        assert a.rank_low <= a.rank_high


def test_equal_systems_tie_and_unequal_ones_do_not(results: Results) -> None:
    by = {(e.system, e.revision): e.cells for e in results.entries}
    assert by["mine", "2"]["arguments_steps"].tie == by["theirs", "1"]["arguments_steps"].tie
    assert by["mine", "1"]["arguments_steps"].rank_low == 1
    assert by["mine", "2"]["arguments_steps"].rank_low == 3


def test_attempts_references_and_who_they_reach(results: Results) -> None:
    told = {(e.system, e.revision): e for e in results.entries}
    assert [(told["mine", r].attempt, told["mine", r].attempts) for r in "12"] == [(1, 2), (2, 2)]
    assert told["echo", "1"].reference
    assert not told["mine", "1"].reference
    assert told["theirs", "1"].cells["arguments_steps"].reached_by == ("echo",)
    assert told["mine", "1"].cells["arguments_mean"].reached_by == ("echo",)
    assert told["mine", "1"].cells["selection_top1"].reached_by == ()
    assert told["echo", "1"].cells["arguments_mean"].reached_by == ()
    assert told["mine", "1"].cost == Cost(seconds=2.0, tokens=100, usd=0.01)


def test_reference_systems_that_a_board_lacks_are_named(results: Results) -> None:
    assert results.absent == ("oracle", "stuffing", "popular", "random")


def test_a_reference_system_that_does_the_task_is_flagged_too(place: Shop) -> None:
    board = place.board(
        place.submission("retrieval", weak, seed=3, key=place.maintainer),
        place.submission("popular", seed=1, key=place.maintainer, revision="of the flag test"),
    )
    told = {entry.system: entry for entry in rank(board, place.benchmark).entries}
    assert told["retrieval"].cells["arguments_steps"].reached_by == ("popular",)
    assert told["popular"].cells["arguments_steps"].reached_by == ()


def test_units_are_those_of_the_reference_systems(place: Shop) -> None:
    def boast(told: dict[str, Any]) -> None:
        told["metrics"]["sbert"]["unit"] = "of 100 experts"

    first = place.submission("aaa", weak, seed=3)
    resign(first, place.key, boast)
    found = rank(place.board(first, place.submission("random", seed=4, key=place.maintainer)), place.benchmark)
    assert "experts" not in next(head.unit for head in found.heads if head.name == "sbert")


def test_what_can_be_told_apart_is_said(results: Results) -> None:
    heads = {head.name: head for head in results.heads}
    assert heads["fid"].detectable is None
    assert 0 < (heads["clipscore"].detectable or 0) < 20


def test_files_are_equal_for_equal_boards_and_read_back(results: Results, tmp_path: Path) -> None:
    once, twice = (write_results(results, tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in twice]
    assert Results.model_validate_json(once[1].read_bytes()) == results
    frame = pd.read_csv(once[0])
    assert list(frame["slug"]) == [entry.slug for entry in results.entries]
    assert frame["bertscore"].tolist() == pytest.approx([e.cells["bertscore"].value for e in results.entries])


def test_another_metric_can_lead(board: Board, place: Shop) -> None:
    found = rank(board, place.benchmark, by="fid")
    values = [entry.cells["fid"].value for entry in found.entries]
    assert values == sorted(values)
    with pytest.raises(UserError, match="no submission has 'beauty': choose from"):
        rank(board, place.benchmark, by="beauty")


def test_an_empty_board_says_what_to_type(place: Shop, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leaderboard add"):
        rank(Board(tmp_path), place.benchmark)


def test_an_interval_that_is_stated_too_wide_ties_with_nobody_better(place: Shop) -> None:
    def boast(told: dict[str, Any]) -> None:
        told["metrics"]["fid"] |= {"low": 0.0, "high": 1e9}

    honest = [place.submission(f"honest {n}", seed=n % 3, revision=str(n)) for n in range(3)]
    worst = place.submission("boaster", weak, seed=4)
    resign(worst, place.key, boast)
    found = rank(place.board(*honest, worst), place.benchmark, by="fid")
    last = found.entries[-1]
    assert last.system == "boaster"
    assert last.cells["fid"].rank_low == 4


# ------------------------------------------------------------------ levels


def _verified(board: Board, place: Shop, key: Ed25519PrivateKey, **update: object) -> str:
    """The level that ranking gives the system 'theirs' with this verification beside it."""
    folder = next(s.folder for s in board.submissions() if s.manifest and s.manifest.system.name == "theirs")
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    told = {
        "table": manifest.table.sha256, "benchmark": place.benchmark.hash, "level": "reproduced", "rows": 60,
        "created": "2026-01-03", **update,
    }  # fmt: skip
    found = signed_by(Verification.model_validate(told), key)
    (folder / VERIFICATION).write_text(found.model_dump_json())
    try:
        return next(e.level for e in rank(board, place.benchmark).entries if e.system == "theirs")
    finally:
        (folder / VERIFICATION).unlink()


def test_only_a_maintainers_word_of_this_very_file_counts(board: Board, place: Shop) -> None:
    assert _verified(board, place, place.maintainer) == "reproduced"
    assert _verified(board, place, place.maintainer, level="spot-rerun") == "spot-rerun"
    assert _verified(board, place, place.key) == "claimed"
    assert _verified(board, place, place.maintainer, table="ab" * 32) == "claimed"


def test_a_verification_that_was_edited_does_not_count(board: Board, place: Shop) -> None:
    folder = board.submissions()[0].folder
    manifest = board.submissions()[0].manifest
    assert manifest is not None
    told = Verification(
        table=manifest.table.sha256, benchmark=place.benchmark.hash, level="checked", rows=60, created="2026-01-03"
    )
    text = signed_by(told, place.maintainer).model_dump_json().replace("checked", "reproduced")
    (folder / VERIFICATION).write_text(text)
    try:
        entry = next(e for e in rank(board, place.benchmark).entries if e.slug == folder.name)
        assert entry.level == "claimed"
    finally:
        (folder / VERIFICATION).unlink()


def test_a_submission_cannot_bring_its_own_verification(place: Shop) -> None:
    folder = place.submission("bold", weak, seed=4)
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    told = Verification(
        table=manifest.table.sha256, benchmark=place.benchmark.hash, level="reproduced", rows=60, created="2026-01-03"
    )
    (folder / VERIFICATION).write_text(signed_by(told, place.key).model_dump_json())
    board = place.board(folder)
    assert not list(board.folder.rglob(VERIFICATION))


# ------------------------------------------------------------------ who is left out


def test_what_was_changed_on_the_board_is_left_out_and_said(place: Shop) -> None:
    board = place.board(
        place.submission("good", seed=1), place.submission("bad", weak, seed=2),
        place.submission("worse", weak, seed=3), place.submission("oracle", seed=2),
    )  # fmt: skip
    folders = {s.manifest.system.name: s.folder for s in board.submissions() if s.manifest}
    set_cell(folders["bad"], 4, "sbert", "0.99")
    edit_manifest(folders["worse"], lambda told: told["system"].update(revision="9"))
    (board.folder / "empty").mkdir()
    found = rank(board, place.benchmark)
    assert [entry.system for entry in found.entries] == ["good"]
    told = dict(found.left_out)
    assert "not the file that was signed" in told[folders["bad"].name]
    assert "changed after signing" in told[folders["worse"].name]
    assert "only a maintainer" in told[folders["oracle"].name]
    assert "manifest.json is missing" in told["empty"]


def test_a_copy_under_another_folder_takes_nobodys_place(place: Shop) -> None:
    board = place.board(place.submission("mine", seed=1, revision="copied"))
    one = board.submissions()[0].folder
    shutil.copytree(one, board.folder / "aaa")
    found = rank(board, place.benchmark)
    assert [entry.slug for entry in found.entries] == [one.name]
    assert dict(found.left_out)["aaa"].startswith(f"its folder should be called {one.name}")


def test_rank_and_build_as_a_maintainer_types_them(board: Board, place: Shop, tmp_path: Path) -> None:
    spec = ("--board", str(board.root))
    early = cli.run("leaderboard", "build", "--board", str(tmp_path), home=tmp_path)
    assert early.returncode == 1
    assert "type chatgenbench leaderboard rank" in early.stderr
    done = cli.run("leaderboard", "rank", *spec, "--benchmark", str(place.benchmark.root), home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "reached by echo" in done.stdout
    assert "not on this board: oracle, stuffing, popular, random" in done.stdout
    told = json.loads((board.root / "results.json").read_text())
    assert len(told["entries"]) == 4
    built = cli.run("leaderboard", "build", *spec, home=tmp_path)
    assert (built.returncode, built.stderr) == (0, "")
    assert (board.root / "site" / "index.html").is_file()
