"""What the score stage keeps between commands, and what it refuses to keep."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import t2imetrics
from t2imetrics._weights import miniature_home, sha256_of

from chatgenbench.benchmark import load_benchmark
from chatgenbench.errors import RunFolderError, UserError
from chatgenbench.evaluate import score, summary
from chatgenbench.evaluate.features import FeatureStore
from chatgenbench.evaluate.look import Look, checked
from chatgenbench.evaluate.rows import Row, join
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.evaluate.score import Scorers
from chatgenbench.render import Pool
from tests.cli import install, run_here

LIMIT = 3

THEIRS = """
from dataclasses import replace
import numpy as np
import t2imetrics
class Single(t2imetrics.PictureScorer):
    card = t2imetrics.MetricCard(
        name="single", title="Single", unit="level", lower=0.0, upper=255.0, higher_is_better=True,
        reads="images", text_limit=None, reduction="mean", failed_value=0.0, source="a test",
    )
    def __init__(self, setting):
        self.setting = setting
    def rows(self, batch, against):
        return np.array([7.0])
class Whole(Single):
    card = replace(Single.card, name="whole", reduction="set")
"""


@dataclass(frozen=True)
class Done:
    """A finished run and the home it was made in."""

    out: Path
    home: Path

    def command(self, *more: str) -> list[str]:
        return ["eval", "--system", "oracle", "--limit", str(LIMIT), "--out", str(self.out), *more]

    def again(self, *more: str) -> subprocess.CompletedProcess[str]:
        return run_here(*self.command(*more), home=self.home)

    def refused(self, *more: str) -> str:
        """The one line that this command is refused with."""
        done = self.again(*more)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        return done.stderr

    @property
    def summary(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.out / "summary.json").read_text())
        return loaded

    @property
    def journal(self) -> Path:
        return self.out / "scores.jsonl"

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("scored")
    done = Done(folder / "run", folder / "home")
    ended = done.again()
    assert ended.returncode == 0, ended.stderr
    return done


@pytest.fixture
def copied(finished: Done, tmp_path: Path) -> Done:
    shutil.copytree(finished.out, tmp_path / "run")
    shutil.copytree(finished.home, tmp_path / "home")
    return Done(tmp_path / "run", tmp_path / "home")


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of metrics that break the rules, installed."""
    site = tmp_path / "site"
    (site / "theirs-1.0.dist-info").mkdir(parents=True)
    (site / "theirs.py").write_text(THEIRS)
    (site / "theirs-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    points = "[t2imetrics.metrics]\nsingle = theirs:Single\nwhole = theirs:Whole\n"
    (site / "theirs-1.0.dist-info" / "entry_points.txt").write_text(points)
    install(site, "theirs", monkeypatch)


# --- what a value rests on -------------------------------------------------------------------------------------


def test_a_run_scored_by_an_earlier_version_is_refused_by_reports_and_scored_anew(
    finished: Done, copied: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("scores.jsonl", "scores.parquet", "summary.json"):
        (copied.out / name).unlink()
    with monkeypatch.context() as earlier:
        earlier.setattr(score, "SCORING", 1)
        earlier.setattr(summary, "SCORING", 1)
        assert copied.again().returncode == 0
    old = copied.lines()
    copied.journal.write_text("".join(json.dumps(r | {"values": [0.25] * LIMIT}) + "\n" for r in old))
    told = run_here("report", str(copied.out), home=copied.home)
    assert told.returncode == 1
    assert "scored by another version of chatgenbench: type its eval command again" in told.stderr
    assert copied.again().returncode == 0
    assert len(copied.lines()) == 2 * len(old)
    now, expected = (pd.read_parquet(done.out / "scores.parquet") for done in (copied, finished))
    pd.testing.assert_frame_equal(now, expected, check_exact=True)
    assert copied.summary["metrics"] == finished.summary["metrics"]
    assert run_here("report", str(copied.out), home=copied.home).returncode == 0


def test_a_mark_changes_with_failed_value_unit_and_scoring_version(monkeypatch: pytest.MonkeyPatch) -> None:
    scorers = Scorers("miniature", "cpu", 32)
    card = scorers["hpsv2"].card
    marks = [scorers.marks(("hpsv2",))["hpsv2"]]
    for other in (replace(card, failed_value=-50.0), replace(card, unit="points"), replace(card, note="else"), card):
        scorers["hpsv2"].card = other
        marks.append(scorers.marks(("hpsv2",))["hpsv2"])
    assert marks[-1] == marks[0]
    monkeypatch.setattr(score, "SCORING", score.SCORING + 1)
    marks[-1] = scorers.marks(("hpsv2",))["hpsv2"]
    assert len(set(marks)) == len(marks)


def test_other_files_beside_the_same_weights_are_another_network(tmp_path: Path) -> None:
    made = []
    for name, mean in (("a", None), ("b", [0.1, 0.2, 0.3])):
        folder = tmp_path / name / "clip"
        shutil.copytree(miniature_home() / "clip", folder)
        config, about = (json.loads((folder / f).read_text()) for f in ("open_clip_config.json", "weights.json"))
        if mean is not None:
            config["preprocess_cfg"]["mean"] = mean
            (folder / "open_clip_config.json").write_text(json.dumps(config))
        about["sha256"]["open_clip_config.json"] = sha256_of(folder / "open_clip_config.json")
        (folder / "weights.json").write_text(json.dumps(about))
        scorers = Scorers(str(tmp_path / name), "cpu", 32)
        scorers.suite = t2imetrics.Suite(("fid",), tmp_path / name, "cpu")  # the folder has no other network
        made.append((scorers.marks(("fid",))["fid"], scorers.store(tmp_path).folder, scorers["fid"].card.weights))
    assert made[0][2].sha256 == made[1][2].sha256
    assert made[0][0] != made[1][0]
    assert made[0][1] != made[1][1]


# --- metrics of other packages ---------------------------------------------------------------------------------


def test_one_value_for_a_whole_batch_is_refused_and_nothing_is_kept_of_it(theirs: None, copied: Done) -> None:
    before = copied.journal.read_bytes()
    assert "'single' gave" in copied.refused("--metric", "single")
    assert copied.journal.read_bytes() == before
    assert "single" not in pd.read_parquet(copied.out / "scores.parquet")


def test_metrics_that_are_no_column_are_refused_before_anything_is_drawn(theirs: None, tmp_path: Path) -> None:
    done = Done(tmp_path / "new", tmp_path / "home")
    assert "'whole' gives one value for a whole set" in done.refused("--metric", "whole")
    assert "'fid' gives one value for a whole set of pictures: every run has it" in done.refused("--metric", "fid")
    assert "'sbert' reads no pictures: every run has it" in done.refused("--metric", "sbert", "--weights", "published")
    assert not (done.out / "plans.jsonl").exists()


@pytest.mark.parametrize("values", [[1.0], 1.0, [[1.0, 2.0]], [1.0, float("nan")], [1.0, 101.0], [-3.0, 2.0]])
def test_values_of_another_shape_or_range_are_refused(values: Any) -> None:
    card = replace(t2imetrics.card("clip_image"), lower=0.0, failed_value=-2.0)
    with pytest.raises(UserError, match="metric 'clip_image' gave"):
        checked(card, np.array(values), 2)
    assert checked(card, np.array([-2.0, 100.00001], np.float32), 2).dtype == np.float64


# --- features --------------------------------------------------------------------------------------------------


def test_features_do_not_depend_on_what_was_computed_before(finished: Done, tmp_path: Path) -> None:
    benchmark, scorers, pool = (
        load_benchmark("miniature"),
        Scorers("miniature", "cpu", 32),
        Pool(finished.home / "pool"),
    )
    rows = join(RunFolder(finished.out), benchmark, benchmark.subset(LIMIT))

    def features(home: str, some: list[Row]) -> list[bytes]:
        look = Look(benchmark, scorers.suite, pool.path, "gold", scorers.store(tmp_path / home))
        return [found.tobytes() for found in look.features(some, lambda *told: None)]

    at_once = features("a", rows)
    features("b", rows[1:2])
    assert features("b", rows) == at_once
    features("c", [rows[2], rows[0]])
    assert features("c", rows) == at_once


def test_a_damaged_feature_file_is_made_anew(finished: Done, copied: Done) -> None:
    files = sorted((copied.home / "features").rglob("*.npy"))
    whole = {path: path.read_bytes() for path in files}
    width = np.load(files[0]).shape[0]
    np.save(files[0], np.full(width, np.nan))
    np.save(files[1], np.zeros(width - 1))
    files[2].write_bytes(b"")
    files[3].write_bytes(whole[files[3]][:-5])
    files[4].write_bytes(b"PK" + bytes(len(whole[files[4]]) - 2))
    ended = copied.again()
    assert ended.returncode == 0, ended.stderr
    assert {path: path.read_bytes() for path in files} == whole
    assert copied.summary["metrics"] == finished.summary["metrics"]


def test_a_store_gives_back_what_it_was_given(tmp_path: Path) -> None:
    store, rows = FeatureStore(tmp_path, 4), np.random.default_rng(0).normal(size=(2, 4))
    store.add(["aa", "ab"], rows)
    assert store.missing(["ab", "b", "aa", "b"]) == ["b"]
    np.testing.assert_array_equal(store.get(["ab", "aa"]), rows[::-1])
    assert FeatureStore(tmp_path, 5).missing(["aa"]) == ["aa"]


# --- the journal of scores -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    ["NaN", "Infinity", "1e999", "9999.0", "-0.5", '"1234"', "null", "true", "1" + "0" * 400],
)
def test_a_value_that_the_metric_cannot_have_given_is_a_damaged_line(
    finished: Done, tmp_path: Path, values: str
) -> None:
    marks = {line["block"].rpartition(" ")[0] for line in finished.lines()}
    cards = {mark: t2imetrics.card(mark.split()[0]) for mark in marks}
    folder = RunFolder(tmp_path)
    shutil.copy(finished.journal, folder.score_journal)
    assert len(score._finished(folder, cards)) == len(finished.lines())
    lines = finished.journal.read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if '"clipscore ' in line)
    block = json.loads(lines[number])["block"]
    for text in (f"[1.0, 1.0, {values}]", values):
        lines[number] = f'{{"block": "{block}", "values": {text}}}'
        folder.score_journal.write_text("\n".join(lines) + "\n")
        with pytest.raises(RunFolderError, match=f"line {number + 1} is damaged"):
            score._finished(folder, cards)


def test_a_damaged_score_is_told_with_its_line(copied: Done) -> None:
    lines = copied.lines()
    lines[0]["values"][0] = 10**400
    copied.journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "scores.jsonl, line 1 is damaged: mend or delete that line" in copied.refused()


# --- what is printed -------------------------------------------------------------------------------------------


def test_a_run_of_one_item_has_the_headings_of_any_other(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    done = run_here(
        "eval", "--system", "oracle", "--limit", "1", "--metric", "clipscore", "--out", out, home=tmp_path / "home"
    )
    assert done.returncode == 0, done.stderr
    assert "FID ↓" in done.stdout
    assert "Unified ↑" in done.stdout
    assert done.stdout.count("CLIP score ↑") == 1
