"""Ballots on disk and what they add up to."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from chatgenbench.compare import Match, VotesFile, count_votes, match
from chatgenbench.compare.ballots import Choice, Vote, left_side, order, votable, voter_name
from chatgenbench.compare.results import results_path, write_results
from chatgenbench.errors import RunFolderError, UserError
from tests.compare.conftest import Duel, settle
from tests.report import report_world as world


def cast(found: Match, path: Path, voter: str, wanted: dict[str, str]) -> VotesFile:
    """Vote for `a`, `b`, `tie` or `skip` on each item, whichever side the picture stands on."""
    file = VotesFile(path, found)
    with file.writing() as book:
        for item, winner in wanted.items():
            left = left_side(voter, item)
            sides: dict[str, Choice] = {
                left: "left",
                "b" if left == "a" else "a": "right",
                "tie": "tie",
                "skip": "skip",
            }
            book.vote(Vote(voter, item, sides[winner], left, file.pictures(item)), 1.5)
    return file


def test_sides_and_order_are_drawn_from_voter_and_item_alone() -> None:
    items = [f"item-{i}" for i in range(400)]
    sides = Counter(left_side("ada", item) for item in items)
    assert 160 < sides["a"] < 240
    assert [left_side("ada", item) for item in items] != [left_side("bob", item) for item in items]
    assert order("ada", items) == order("ada", reversed(items)) != order("bob", items)


@pytest.mark.parametrize("name", ["", "   ", "x" * 41, "a\nb", None, 3])
def test_names_that_are_none_are_refused(name: object) -> None:
    with pytest.raises(UserError, match="name"):
        voter_name(name)


def test_pairs_without_two_different_pictures_are_not_asked(duel: Duel, tmp_path: Path) -> None:
    asked = votable(duel.match())
    assert (len(asked.pairs), asked.missing) == (10, 2)
    twin = world.write_run(tmp_path / "twin", duel.benchmark, duel.pool, "twin")
    same = match((duel.a, settle(twin, duel.benchmark, duel.pool)))
    with pytest.raises(UserError, match="nothing to vote on"):
        votable(same)


def test_fewer_items_are_a_stratified_part(large: Duel) -> None:
    found = large.match()
    few, more = ({p.item.id for p in votable(found, n).pairs} for n in (8, 20))
    assert (len(few), len(more)) == (8, 20)
    assert few < more
    kinds = Counter((p.item.split, p.item.input.kind) for p in votable(found, 8).pairs)
    assert len(kinds) == 4
    assert max(kinds.values()) <= 3


def test_votes_are_read_back_and_undone(duel: Duel, tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    file = cast(duel.match(), path, "ada", {"i2-single": "a", "i3-single": "tie"})
    with file.writing() as book:
        book.undo("ada", "i3-single")
    assert [(v.item, v.winner) for v in file.read()] == [("i2-single", "a")]


def test_a_torn_last_line_is_repaired(duel: Duel, tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    cast(duel.match(), path, "ada", {"i2-single": "a", "i3-single": "b"})
    path.write_bytes(path.read_bytes()[:-9])
    file = cast(duel.match(), path, "ada", {"i4-single": "b"})
    assert [v.item for v in file.read()] == ["i2-single", "i4-single"]


def test_a_file_of_other_runs_is_refused(duel: Duel, tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    cast(duel.match(), path, "ada", {"i2-single": "a"})
    with pytest.raises(RunFolderError, match="the other way round"):
        VotesFile(path, match((duel.b, duel.a))).read()
    header, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(header.replace("weak", "strong") + "".join(rest))
    with pytest.raises(RunFolderError, match="other runs"):
        VotesFile(path, duel.match()).read()
    path.write_text(header + '{"voter": 1}\n')
    with pytest.raises(RunFolderError, match="line 2 is damaged"):
        VotesFile(path, duel.match()).read()


def test_two_programs_do_not_share_a_file(duel: Duel, tmp_path: Path) -> None:
    file = VotesFile(tmp_path / "votes.jsonl", duel.match())
    with file.writing(), pytest.raises(UserError, match="another chatgenbench"), file.writing():
        pass


def test_votes_on_other_pictures_are_not_counted(duel: Duel, tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    file = cast(duel.match(), path, "ada", {"i2-single": "a", "i3-single": "b"})
    old = json.loads(path.read_text().splitlines()[1])["pictures"][0]
    path.write_text(path.read_text().replace(f'["{old}"', f'["{"0" * 64}"', 1))
    found = count_votes(file)
    assert (found["votes"], found["on_other_pictures"]) == (1, 1)


def test_known_votes_add_up(large: Duel, tmp_path: Path) -> None:
    """Votes made from a metric: it must agree with all of them, and its mirror image with none."""
    match_ = large.match()
    pairs = votable(match_).pairs
    a, b = (dict(zip((p.item.id for p in match_.pairs), v, strict=True)) for v in match_.values("clipscore"))
    wanted = {p.item.id: "a" if a[p.item.id] > b[p.item.id] else "b" for p in pairs}
    ties = [p.item.id for p in pairs[:6]]
    ada = wanted | dict.fromkeys(ties, "tie")
    path = tmp_path / "votes.jsonl"
    cast(match_, path, "ada", ada)
    file = cast(match_, path, "bob", wanted | dict.fromkeys(ties[:2], "skip"))
    found = count_votes(file)
    rate = found["win_rate"]
    assert (rate["ties"], found["skipped"], found["votes"]) == (6, 2, 2 * len(pairs) - 2)
    wins = sum(w == "a" for w in ada.values()) + sum(wanted[i] == "a" for i in wanted if i not in ties[:2])
    assert rate["a"] == wins
    assert rate["value"] == pytest.approx((wins + 3) / rate["n"])
    assert rate["low"] < rate["value"] < rate["high"]
    clip = found["metrics"]["clipscore"]
    assert (clip["value"], clip["high"], clip["metric_ties"]) == pytest.approx((1, 1, 0))
    assert 0.8 < clip["low"] < 1
    assert found["metrics"]["selection_top1"]["value"] == pytest.approx(wins / (rate["a"] + rate["b"]))
    assert found["metrics"]["arguments_width"]["n"] == 0
    assert found["metrics"]["arguments_width"]["metric_ties"] == rate["a"] + rate["b"]
    between = found["between_voters"]
    assert (between["items_shared"], between["pairs"][0]["agreed"]) == (len(pairs) - 2, len(pairs) - 6)
    assert 0.5 < between["alpha"] < 1
    assert {"split=supervised", "split=few-shot", "kind=single", "kind=multimodal"} == rate["slices"].keys()
    assert sum(part["n"] for where, part in rate["slices"].items() if where.startswith("kind=")) == rate["n"]
    assert found["position"]["low"] < 0.5 < found["position"]["high"]
    assert json.loads(write_results(file, found).read_text())["win_rate"]["a"] == wins
    assert results_path(path) == tmp_path / "votes_results.json"


def test_few_votes_say_how_many_more_are_needed(duel: Duel, tmp_path: Path) -> None:
    from io import StringIO

    from rich.console import Console

    from chatgenbench.compare.terminal import print_results

    file = cast(duel.match(), tmp_path / "votes.jsonl", "ada", {"i2-single": "a", "i3-single": "b"})
    screen = StringIO()
    print_results(count_votes(file), file.match, Console(file=screen, width=160))
    assert "needs 28 more" in screen.getvalue()
    assert "these runs share only 6: evaluate more rows" in screen.getvalue()
    assert "%" not in screen.getvalue()


def test_a_file_without_votes_says_so(duel: Duel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no vote"):
        count_votes(cast(duel.match(), tmp_path / "votes.jsonl", "ada", {}))
