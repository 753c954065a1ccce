"""Runs without pictures: plans are scored, nothing is drawn, and nothing speaks of pictures."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chatgenbench.benchmark import load_benchmark
from tests.cli import environment, kill_when, lines, run_here

LIMIT = 6
PICTURE_METRICS = ("clipscore", "imagereward", "hpsv2", "clip_image", "fid", "unified")
#: What a page, a table or a file of such a run must not say.
PICTURE_WORDS = ("CLIP score", "ImageReward", "HPS", "FID", "nified", "clipscore")


#: Runs the program, then says which of the heavy modules it had loaded.
LOADED = """
import sys
from chatgenbench.cli import app
try:
    app(sys.argv[1:])
finally:
    print("loaded:", *(m for m in ("diffusers", "peft", "torchsde") if m in sys.modules))
    print("home:", *__import__("os").listdir(__import__("os").environ["CHATGENBENCH_HOME"]))
"""


@dataclass(frozen=True)
class Place:
    """A folder for runs, the home they use and a benchmark without pictures."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def bare(self) -> str:
        return str(self.root / "bare")

    def eval(self, out: str, *more: str, limit: int = LIMIT) -> subprocess.CompletedProcess[str]:
        return run_here(*self.command(out, *more, limit=limit), home=self.home)

    def command(self, out: str, *more: str, limit: int = LIMIT) -> list[str]:
        systems = [] if "--system" in more else ["--system", "retrieval"]
        return ["eval", *systems, "--limit", str(limit), "--out", str(self.root / out), *more]


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line a command was refused with."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


def summary_of(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return loaded


def write_bare(root: Path) -> None:
    """The miniature without a single picture or file of weights for drawing."""
    source = load_benchmark("miniature").root
    root.mkdir()
    manifest = json.loads((source / "benchmark.json").read_text()) | {"name": "bare", "pictures": False}
    (root / "benchmark.json").write_text(json.dumps(manifest))
    nothing = {
        "catalog": {"files": {}, "sha256": ""}, "demonstrations": {"picture": "", "picture_sha256": ""}, "items": {},
    }  # fmt: skip
    for name, fields in nothing.items():
        rows = [json.loads(line) | fields for line in (source / f"{name}.jsonl").read_text().splitlines()]
        for row in rows:
            for message in row.get("input", {}).get("messages", ()):
                message["images"] = []
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("plans-alone")
    (root / "home").mkdir()
    write_bare(root / "bare")
    return Place(root)


@pytest.fixture(scope="module")
def compared(place: Place) -> subprocess.CompletedProcess[str]:
    """Two systems without pictures on the miniature, in `both`."""
    done = place.eval("both", "--no-render", "--system", "oracle", "--system", "random")
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def bare(place: Place) -> subprocess.CompletedProcess[str]:
    """A run on the benchmark without pictures, in `onbare`; no --no-render was typed."""
    done = place.eval("onbare", "--benchmark", place.bare)
    assert done.returncode == 0, done.stderr
    return done


# --- what is there, and what is not --------------------------------------------------------------------------------


@pytest.mark.usefixtures("compared")
def test_only_stepwise_metrics_are_in_the_tables(place: Place) -> None:
    folder = place.root / "both" / "oracle"
    frame = pd.read_parquet(folder / "scores.parquet")
    for columns in (frame.columns, pd.read_csv(folder / "submission.csv").columns):
        assert {"bertscore", "sbert", "selection_top1", "selection_mrr", "arguments_joint"} <= set(columns)
        assert not set(PICTURE_METRICS) & set(columns)
    assert set(frame["outcome"]) == {"ok"}
    assert frame["bertscore"].min() == pytest.approx(1.0)
    summary = summary_of(folder)
    shown = [summary["metrics"], summary["truncation"], summary["run"]["weights"], *summary["slices"].values()]
    assert not any(set(PICTURE_METRICS) & set(part) for part in shown)
    assert summary["run"]["draw"] is False
    assert not (folder / "pictures.jsonl").exists()


def test_table_pages_and_markdown_do_not_speak_of_picture_metrics(
    place: Place, compared: subprocess.CompletedProcess[str]
) -> None:
    markdown = run_here("report", str(place.root / "both"), "--markdown", home=place.home)
    assert markdown.returncode == 0, markdown.stderr
    pages = [place.root / "both" / name for name in ("comparison.html", "oracle/report.html", "random/report.html")]
    texts = [re.sub(r"base64,[^\"]+", "", page.read_text()) for page in pages]
    for text in (compared.stdout, markdown.stdout, *texts):
        assert "BERTScore" in text
        assert "o picture was drawn: only the plans are scored" in text
        assert not [word for word in PICTURE_WORDS if word in text]


@pytest.mark.usefixtures("compared")
def test_the_comparison_shows_prompts_where_pictures_would_stand(place: Place) -> None:
    page = (place.root / "both" / "comparison.html").read_text()
    assert '<h2 id="h-wall">Answers</h2>' in page
    assert 'class="said"' in page
    assert 'class="absent"' not in page


@pytest.mark.usefixtures("bare")
def test_a_page_of_a_benchmark_without_pictures_holds_none(place: Place) -> None:
    page = (place.root / "onbare" / "report.html").read_text()
    assert "data:image" not in page
    assert "None: every row has a plan." in page


def test_step_wise_values_are_those_of_a_run_with_pictures(place: Place) -> None:
    names = ("bertscore", "sbert", "selection_top1", "arguments_mean")
    assert place.eval("drawn", limit=3).returncode == 0
    assert place.eval("undrawn", "--no-render", limit=3).returncode == 0
    with_pictures, without = (pd.read_parquet(place.root / n / "scores.parquet") for n in ("drawn", "undrawn"))
    assert with_pictures[list(names)].equals(without[list(names)])
    told = refusal(place.eval("drawn", "--no-render", limit=3))
    assert "holds another run (with pictures, now without): choose another --out" in told
    assert "(without pictures, now with)" in refusal(place.eval("undrawn", limit=3))
    mixed = place.root / "mixed"
    mixed.mkdir()
    for name in ("drawn", "undrawn"):
        (place.root / name).rename(mixed / name)
    shown = run_here("report", str(mixed), home=place.home)
    assert shown.returncode == 0, shown.stderr
    assert "not comparable: these runs differ in whether pictures were drawn" in shown.stdout


def test_a_row_whose_plan_could_not_be_drawn_is_ok_and_one_without_a_plan_is_not(place: Place) -> None:
    items = load_benchmark("miniature").subset(2)
    arguments = {"sampler": "no such sampler", "steps": 20, "cfg_scale": 7, "width": 512, "height": 512}
    plan = {"prompt": "a cat", "model": "stampInk_bw", "arguments": arguments}
    answers = [
        {"item": items[0].id, "outcome": "ok", "plan": plan},
        {"item": items[1].id, "outcome": "system-failed", "reason": "answer is not JSON"},
    ]
    path = place.root / "plans.jsonl"
    path.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    done = place.eval("given", "--no-render", "--system", str(path), limit=2)
    assert done.returncode == 0, done.stderr
    frame = pd.read_parquet(place.root / "given" / "scores.parquet").set_index("item")
    assert frame["outcome"].to_dict() == {items[0].id: "ok", items[1].id: "system-failed"}
    assert frame.loc[items[1].id, "bertscore"] == 0
    assert "answer is not JSON" in (place.root / "given" / "report.html").read_text()


# --- a benchmark without pictures ----------------------------------------------------------------------------------


def test_a_benchmark_without_pictures_needs_no_option(place: Place, bare: subprocess.CompletedProcess[str]) -> None:
    assert "bare has no pictures: nothing is drawn, only the plans are scored" in bare.stdout
    before = (place.root / "onbare" / "summary.json").read_bytes()
    again = place.eval("onbare", "--benchmark", place.bare, "--no-render")
    assert again.returncode == 0, again.stderr
    assert "bare has no pictures" not in again.stdout
    assert (place.root / "onbare" / "summary.json").read_bytes() == before


def test_picture_metrics_are_refused(place: Place) -> None:
    systems = ("--system", "oracle", "--system", "random", "--metric", "pickscore")
    told = refusal(place.eval("refused", "--no-render", *systems))
    assert told == "error: --metric pickscore reads pictures and --no-render draws none: leave it out\n"
    told = refusal(place.eval("refused", "--benchmark", place.bare, "--dry-run", "--metric", "pickscore"))
    assert told == "error: --metric pickscore reads pictures and 'bare' has none: leave it out\n"
    assert not (place.root / "refused").exists()


def test_a_dry_run_says_that_nothing_is_drawn(place: Place) -> None:
    for more, why in ((("--no-render",), "--no-render"), (("--benchmark", place.bare), "the benchmark has none")):
        done = place.eval("dry", "--dry-run", *more)
        assert done.returncode == 0, done.stderr
        assert f"{why}: plan -> score -> report" in done.stdout
        assert "peak memory" not in done.stdout
    assert not (place.root / "dry").exists()


# --- what it needs, and how it ends --------------------------------------------------------------------------------


def test_nothing_that_draws_is_loaded_and_no_picture_weights_are_needed(place: Place, tmp_path: Path) -> None:
    from t2imetrics._weights import miniature_home

    weights, home = tmp_path / "weights", tmp_path / "home"
    weights.mkdir()
    home.mkdir()
    for part in miniature_home().iterdir():
        if part.name in ("bertscore", "sbert") or part.is_file():
            (weights / part.name).symlink_to(part)
    command = place.command(str(tmp_path / "run"), "--no-render", "--weights", str(weights), limit=3)
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *command], capture_output=True, text=True, check=False, env=environment(home)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["loaded:", "home: references"]  # no pool, no features


def test_a_killed_run_ends_with_the_same_numbers(place: Place) -> None:
    out = place.root / "killed"
    command = place.command("killed", "--no-render", limit=24)
    assert kill_when(lambda: lines(out / "plans.jsonl") >= 8, *command, home=place.home)
    assert run_here(*command, home=place.home).returncode == 0
    assert place.eval("whole", "--no-render", limit=24).returncode == 0
    resumed, whole = (pd.read_parquet(folder / "scores.parquet") for folder in (out, place.root / "whole"))
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)
