"""diff.html and the matching behind it: true numbers, sealed page, clear refusals."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatgenbench.compare import match, write_diff
from chatgenbench.compare.diff import row_data
from chatgenbench.compare.differences import differences
from chatgenbench.compare.fairness import unfair
from chatgenbench.errors import BenchmarkError, RunFolderError, UserError
from tests import cli
from tests.compare.conftest import Duel, settle
from tests.report import report_world as world


class Page:
    """A page's markup, its scripts, its text without them, and its content security policy."""

    def __init__(self, path: Path) -> None:
        self.html = path.read_text("utf-8")
        self.scripts = re.findall(r"<script[^>]*>(.*?)</script>", self.html, re.S)
        self.markup = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", self.html, flags=re.S)
        self.text = unescape(re.sub(r"<[^>]*>", "", self.markup))
        self.policy = unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', self.html)[0])


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def changed(folder: Path, to: Path, name: str, change: Any) -> Path:
    """A copy of a run whose JSON file `name` went through `change`."""
    copied(folder, to)
    value = json.loads((to / name).read_text())
    change(value)
    (to / name).write_text(json.dumps(value))
    return to


def test_rows_counts_and_differences_are_those_of_the_scores(large: Duel) -> None:
    found = large.match()
    assert len(found.pairs) == 80
    assert found.metrics[:3] == ("bertscore", "selection_top1", "arguments_mean")
    by_name = {d.metric: d for d in differences(found, found.headline)}
    top1 = by_name["selection_top1"]
    assert (top1.a, top1.b, top1.difference, top1.better) == (1, 0, 1, "a")
    assert (top1.a_better, top1.b_better, top1.equal) == (80, 0, 0)
    clip = by_name["clipscore"]
    a = [found.a.scores[p.item.id]["clipscore"] for p in found.pairs]
    b = [found.b.scores[p.item.id]["clipscore"] for p in found.pairs]
    assert clip.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert clip.low <= clip.difference <= clip.high
    assert all(d.p_holm >= d.p_value for d in by_name.values())


def test_a_run_against_itself_differs_nowhere(duel: Duel, tmp_path: Path) -> None:
    same = match((duel.a, copied(duel.a, tmp_path / "again")))
    assert same.names == ("oracle (oracle)", "oracle (again)")
    found = differences(same, same.metrics)
    assert {(d.difference, d.better, d.a_better, d.b_better) for d in found} == {(0, None, 0, 0)}
    _, headline = write_diff(same, tmp_path / "diff.html")
    assert {d.p_holm for d in headline} == {1}


def test_the_page_is_sealed_and_hostile_texts_stay_texts(large: Duel, tmp_path: Path) -> None:
    path, _ = write_diff(large.match(), tmp_path / "diff.html")
    page = Page(path)
    assert len(page.scripts) == 2
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert page.policy.startswith(f"default-src 'none'; script-src 'sha256-{digest}'")
    assert not re.search(r"""\b(src|href|action)=["']?(https?:|//|javascript:)""", page.markup)
    assert not re.search(r"<[^>]*\son\w+=", page.markup)
    assert "url(" not in page.html
    rows = json.loads(page.scripts[0])["rows"]
    prompt = next(part for part in rows[4]["plan"] if part["name"] == "prompt")
    assert "".join(text for text, _ in prompt["sides"][1]) == world.HOSTILE
    assert world.LABEL in page.text


def test_every_row_is_there_and_only_the_strongest_have_pictures(large: Duel, tmp_path: Path) -> None:
    found = large.match()
    data = row_data(found, budget=10)
    assert len(data["rows"]) == 80
    first = data["first"]
    embedded = [abs(row["ahead"][first]) for row in data["rows"] if row["embedded"]]
    others = [abs(row["ahead"][first]) for row in data["rows"] if not row["embedded"]]
    assert len(embedded) == data["pictured"] == 10
    assert min(embedded) >= max(others)
    write_diff(found, tmp_path / "diff.html", budget=10)
    assert "Pictures of the 10 rows that differ most in ImageReward are embedded" in Page(tmp_path / "diff.html").text


def test_only_shared_rows_count(duel: Duel, tmp_path: Path) -> None:
    short = world.write_run(tmp_path / "short", duel.benchmark, duel.pool, "short", limit=5)
    found = match((duel.a, settle(short, duel.benchmark, duel.pool)))
    assert len(found.pairs) == 5
    write_diff(found, tmp_path / "diff.html")
    assert "5 shared rows of" in Page(tmp_path / "diff.html").text
    assert "A has 7 more, not used here" in Page(tmp_path / "diff.html").text


def test_what_makes_a_comparison_unfair_is_told(duel: Duel, tmp_path: Path) -> None:
    def other_seed_and_engine(manifest: dict[str, Any]) -> None:
        manifest["identity"]["seed"] = 7
        manifest["engine"] = "another"

    found = match((duel.a, changed(duel.a, tmp_path / "other", "run.json", other_seed_and_engine)))
    assert unfair(*found.runs) == [
        "unfair: these runs differ in the seed (A: 0, B: 7)",
        "unfair: these runs differ in the engine that drew (A: test, B: another)",
    ]
    assert unfair(*duel.match().runs) == []


def test_numbers_of_other_weights_or_texts_are_not_compared(duel: Duel, tmp_path: Path) -> None:
    def weights(summary: dict[str, Any]) -> None:
        summary["run"]["weights"]["hpsv2"]["sha256"] = "cd" * 32

    def text(summary: dict[str, Any]) -> None:
        summary["run"]["text"] = "plan"

    found = match((duel.a, changed(duel.a, tmp_path / "weights", "summary.json", weights)))
    assert found.left_out["hpsv2"] == "other weights"
    assert "hpsv2" not in found.metrics
    found = match((duel.a, changed(duel.a, tmp_path / "text", "summary.json", text)))
    assert {"clipscore", "imagereward", "hpsv2"} <= found.left_out.keys()
    assert "clip_image" in found.metrics
    assert any("the text that image metrics read" in line for line in unfair(*found.runs))


def test_runs_that_cannot_be_compared_are_refused(duel: Duel, tmp_path: Path) -> None:
    other = world.write_benchmark(tmp_path / "other", pairs=3)
    foreign = settle(world.write_run(tmp_path / "foreign", other, duel.pool), other, duel.pool)
    with pytest.raises(UserError, match="different versions of 'miniature'"):
        match((duel.a, foreign))
    part = world.write_run(tmp_path / "part", duel.benchmark, duel.pool, unanswered=["i2-single"])
    with pytest.raises(RunFolderError, match=r"not finished.*type its eval command again"):
        match((duel.a, settle(part, duel.benchmark, duel.pool)))
    torn = copied(duel.a, tmp_path / "torn")
    (torn / "summary.json").unlink()
    with pytest.raises(RunFolderError, match="not finished"):
        match((duel.a, torn))
    with pytest.raises(RunFolderError, match=r"run\.json is missing"):
        match((duel.a, tmp_path))
    with pytest.raises(BenchmarkError):
        match((duel.a, duel.b), str(tmp_path / "other"))


def test_runs_without_shared_rows_are_refused(duel: Duel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chatgenbench.compare import pairing

    real = pairing.read_run
    halves = iter((slice(0, 6), slice(6, None)))

    def half(*arguments: Any) -> Any:
        from dataclasses import replace

        run = real(*arguments)
        return replace(run, rows=run.rows[next(halves)])

    monkeypatch.setattr(pairing, "read_run", half)
    with pytest.raises(UserError, match="share no rows"):
        duel.match()


def test_the_command_prints_a_table_and_the_path(duel: Duel, tmp_path: Path) -> None:
    out = tmp_path / "pages" / "diff.html"
    done = cli.run("diff", str(duel.a), str(duel.b), "--out", str(out), home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for part in ("Model top-1", "A better", "the stage at fault is", f"page: {out}", world.LABEL):
        assert part in done.stdout
    assert out.is_file()


@pytest.mark.parametrize("second", ["missing", "folder"])
def test_the_command_refuses_in_one_line(duel: Duel, tmp_path: Path, second: str) -> None:
    (tmp_path / "folder").mkdir()
    done = cli.run_here("diff", str(duel.a), str(tmp_path / second), "--out", str(tmp_path / "d.html"), home=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "d.html").exists()


def test_a_page_that_cannot_be_written_is_told_in_one_line(duel: Duel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cli.run_here("diff", str(duel.a), str(duel.b), "--out", str(tmp_path / "file" / "d.html"), home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("cannot be made a folder (File exists): choose another --out")
