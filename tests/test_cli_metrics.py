"""Metrics from the command line: the self-test, metrics beside the usual ones, and what a report says of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

from tests.cli import environment, install, run_here
from tests.test_cli_bad_input import refused

INVERTED = """
import sys
from t2imetrics import _images
whole = _images.to_tensor
_images.to_tensor = lambda image: 1 - whole(image)
from chatgenbench.cli import main
sys.argv = ["chatgenbench", *sys.argv[1:]]
main()
"""

THEIRS = """
from dataclasses import replace
import numpy as np
import t2imetrics
class Brightness(t2imetrics.PictureScorer):
    card = t2imetrics.MetricCard(
        name="brightness", title="Brightness", unit="mean level, 0 to 255", lower=0.0, upper=255.0,
        higher_is_better=True, reads="images", text_limit=None, reduction="mean", failed_value=0.0, source="a test",
    )
    def __init__(self, setting):
        self.setting = setting
    def rows(self, batch, against):
        return np.array([np.asarray(image).mean() for image in batch.images])
"""


def test_the_selftest_passes_on_the_bundled_weights(tmp_path: Path) -> None:
    done = run_here("selftest", home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout
    assert "clipscore" in done.stdout
    one = run_here("selftest", "--metric", "hpsv2", home=tmp_path)
    assert "imagereward" not in one.stdout
    assert "unknown metric" in refused("selftest", "--metric", "hpsv3", home=tmp_path)
    assert "choose published" in refused("selftest", "--weights", "/no/such/folder", home=tmp_path)


def test_an_installation_that_computes_other_numbers_is_refused_before_it_scores(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ["eval", "--system", "oracle", "--limit", "2", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", INVERTED, *command], capture_output=True, text=True, check=False,
        env=environment(tmp_path),
    )  # fmt: skip
    assert done.returncode == 1
    assert "self-test failed: pixels" in done.stderr
    assert "inverted" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (out / "plans.jsonl").exists()


def test_a_metric_that_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    command = ("eval", "--system", "oracle", "--limit", "2", "--out", str(tmp_path / "run"))
    assert "did you mean 'pickscore'" in refused(*command, "--metric", "pick_score", home=tmp_path)
    assert "no miniature weights" in refused(*command, "--metric", "pickscore", home=tmp_path)
    assert "reads no pictures" in refused(*command, "--metric", "selection", home=tmp_path)


def test_a_metric_of_another_package_is_added_to_a_finished_run(tmp_path: Path, monkeypatch) -> None:
    site = tmp_path / "site"
    (site / "theirs-1.0.dist-info").mkdir(parents=True)
    (site / "theirs.py").write_text(THEIRS)
    (site / "theirs-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    points = "[t2imetrics.metrics]\nbrightness = theirs:Brightness\n"
    (site / "theirs-1.0.dist-info" / "entry_points.txt").write_text(points)
    install(site, "theirs", monkeypatch)
    out = tmp_path / "run"
    command = ("eval", "--system", "oracle", "--limit", "3", "--out", str(out))
    assert run_here(*command, home=tmp_path).returncode == 0
    before = pd.read_parquet(out / "scores.parquet")
    blocks = (out / "scores.jsonl").read_text().splitlines()
    done = run_here(*command, "--metric", "brightness", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Brightness" in done.stdout
    after = pd.read_parquet(out / "scores.parquet")
    pd.testing.assert_frame_equal(after[before.columns], before, check_exact=True)
    assert after["brightness"].between(1, 255).all()
    assert (out / "scores.jsonl").read_text().splitlines()[: len(blocks)] == blocks
    assert json.loads((out / "summary.json").read_text())["metrics"]["brightness"]["n"] == 3
    assert "Brightness" in (out / "report.html").read_text()


def test_a_finished_command_typed_again_computes_no_interval_anew(tmp_path: Path) -> None:
    command = ("eval", "--system", "popular", "--limit", "3", "--out", str(tmp_path / "run"))
    assert run_here(*command, home=tmp_path).returncode == 0
    summary = (tmp_path / "run" / "summary.json").stat().st_mtime_ns
    again = run_here(*command, home=tmp_path)
    assert again.returncode == 0
    assert "· intervals" not in again.stdout
    assert (tmp_path / "run" / "summary.json").stat().st_mtime_ns == summary


def test_markdown_says_what_the_numbers_are_and_the_version_is_told(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    assert run_here("eval", "--system", "popular", "--limit", "2", "--out", out, home=tmp_path).returncode == 0
    table = run_here("report", out, "--markdown", home=tmp_path).stdout
    assert table.startswith("**miniature: tiny models")
    assert "2 of 360 items" in table
    assert run_here("--version", home=tmp_path).stdout.startswith("chatgenbench 0.")
