"""What `submit` writes: a table that any program reads, and a manifest that says what it is."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgenbench.errors import RunFolderError, UserError
from chatgenbench.leaderboard import columns, keys
from chatgenbench.leaderboard.board import slug_of
from chatgenbench.leaderboard.manifest import CSV, GALLERY, MANIFEST, Cost, Manifest, Who
from chatgenbench.leaderboard.submit import submit
from chatgenbench.report.data import read_run
from chatgenbench.schema import Failure, Item, Plan
from tests import cli
from tests.compare.conftest import settle
from tests.leaderboard.boards import CREATED, Shop, problems_of, weak
from tests.report import report_world as world


def test_a_sound_submission_has_no_problems(sound: Path, shop: Shop) -> None:
    assert problems_of(sound, shop) == []
    assert problems_of(sound / CSV, shop) == []


def test_pandas_reads_what_was_run(sound: Path, shop: Shop) -> None:
    frame = pd.read_csv(sound / CSV)
    assert list(frame["id"]) == [item.id for item in shop.benchmark.items]
    assert frame["outcome"].value_counts().to_dict() == {"ok": 10, "system-failed": 1, "blocked": 1}
    drawn = frame[frame["outcome"] == "ok"]
    assert (drawn["steps"] == 99).all()
    manifest = Manifest.model_validate_json((sound / MANIFEST).read_bytes())
    for name, claim in manifest.metrics.items():
        if name in frame:
            assert frame[name].mean() == pytest.approx(claim.value, abs=1e-9)


def test_the_gallery_holds_pixels_and_nothing_else(sound: Path) -> None:
    manifest = Manifest.model_validate_json((sound / MANIFEST).read_bytes())
    files = sorted((sound / GALLERY).iterdir())
    assert {f"{shot.sha256}.jpg" for shot in manifest.gallery} == {file.name for file in files}
    assert files
    for file in files:
        assert file.stat().st_size < 64_000
        assert not {b"Exif", b"parameters", b"clean style"} & {
            w for w in (b"Exif", b"clean style") if w in file.read_bytes()
        }


def test_equal_runs_have_equal_submissions(shop: Shop, tmp_path: Path) -> None:
    run = world.write_run(tmp_path / "run", shop.benchmark, shop.pool, "twice", weak, seed=1)
    who = Who(name="twice", revision="1", authors=("Ada",), licence="MIT", training_data="nothing")
    found = read_run(run, shop.benchmark, shop.pool.path)
    made = [submit(found, shop.benchmark, who, Cost(), shop.key, tmp_path / name, CREATED) for name in "ab"]
    for name in (CSV, MANIFEST):
        assert (made[0] / name).read_bytes() == (made[1] / name).read_bytes()


def test_text_that_a_spreadsheet_would_run_is_disarmed_and_read_back(shop: Shop) -> None:
    texts = ("=1+1", "+1", "-1", "@x", "\t=1", "'quoted", "\r=1", "plain, with comma", 'a "quote"\nand a line')

    def answer(item: Item, gold: Plan) -> Plan | Failure:
        return gold.model_copy(update={"prompt": texts[shop.benchmark.items.index(item) % len(texts)]})

    folder = shop.submission("formula", answer, seed=1)
    assert problems_of(folder, shop) == []
    with (folder / CSV).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert not [row["prompt"] for row in rows if row["prompt"].startswith(("=", "+", "-", "@", "\t", "\r"))]
    told = [columns.read_text(row["prompt"]) for row in rows]
    assert told == [(texts[n % len(texts)]).replace("\r", "\n") for n in range(len(rows))]


@given(st.text())
def test_text_survives_a_cell(value: str) -> None:
    cell = columns.text(value)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\n"))
    assert columns.text(columns.read_text(cell)) == cell


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_slug_is_a_plain_name(name: str, revision: str) -> None:
    slug = slug_of(name, revision)
    assert slug.isascii()
    assert slug.replace("-", "").isalnum()
    assert not slug.startswith("-")
    assert len(slug) <= 50
    assert slug != slug_of(name + "x", revision)


def test_an_unfinished_run_is_refused(shop: Shop, tmp_path: Path) -> None:
    who = Who(name="half", revision="1", authors=("Ada",), licence="MIT", training_data="nothing")
    run = world.write_run(tmp_path / "half", shop.benchmark, shop.pool, "half", weak, limit=6)
    with pytest.raises(RunFolderError, match="6 of 12 items: run it again without --limit"):
        submit(
            read_run(run, shop.benchmark, shop.pool.path),
            shop.benchmark,
            who,
            Cost(),
            shop.key,
            tmp_path / "o",
            CREATED,
        )
    assert not (tmp_path / "o").exists()


def test_a_folder_of_something_else_is_left_alone(shop: Shop, tmp_path: Path) -> None:
    who = Who(name="x", revision="1", authors=("Ada",), licence="MIT", training_data="nothing")
    run = world.write_run(tmp_path / "run", shop.benchmark, shop.pool, "x", weak)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds something else"):
        submit(
            read_run(run, shop.benchmark, shop.pool.path), shop.benchmark, who, Cost(), shop.key, tmp_path / "mine",
            CREATED,
        )  # fmt: skip
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


# ------------------------------------------------------------------ the command


def _settled(shop: Shop, tmp_path: Path) -> Path:
    return settle(
        world.write_run(tmp_path / "run", shop.benchmark, shop.pool, "mine", weak, seed=1), shop.benchmark, shop.pool
    )


def test_submit_and_check_as_a_user_types_them(shop: Shop, tmp_path: Path) -> None:
    run, key, out = _settled(shop, tmp_path), tmp_path / "k.pem", tmp_path / "out"
    spec = ("--benchmark", str(shop.benchmark.root))

    def typed(*more: str) -> subprocess.CompletedProcess[str]:
        return cli.run(
            "leaderboard", "submit", str(run), "--key", str(key), "--author", "Ada L.", "--licence", "MIT",
            "--training-data", "none", "--out", str(out), "--usd", "0.002", *spec, *more, home=tmp_path,
        )  # fmt: skip

    missing = typed()
    assert missing.returncode == 1
    assert f"keygen {key}" in missing.stderr
    cli.run("leaderboard", "keygen", str(key), home=tmp_path)
    bad = typed("--link", "http://example.org")
    assert bad.returncode == 1
    assert bad.stderr.startswith("error: --link")
    done = typed()
    assert (done.returncode, done.stderr) == (0, "")
    assert "check it:" in done.stdout
    told = json.loads((out / MANIFEST).read_text())
    assert told["system"]["authors"] == ["Ada L."]
    assert told["cost"] == {"seconds": 0.01, "tokens": None, "usd": 0.002}
    checked = cli.run("leaderboard", "check", str(out), *spec, home=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "nothing is wrong" in checked.stdout
    text = (out / CSV).read_text().replace("system-failed", "failed").replace("99", "many")
    (out / CSV).write_text(text)
    wrong = cli.run("leaderboard", "check", str(out), *spec, home=tmp_path)
    assert wrong.returncode == 1
    assert "submission.csv:2: outcome: 'failed' is no outcome: write ok, system-failed, blocked" in wrong.stdout
    assert "submission.csv:3: steps:" in wrong.stdout
    assert "problems" in wrong.stdout.splitlines()[-1]


def test_mistakes_get_one_line(shop: Shop, sound: Path, tmp_path: Path) -> None:
    keys.keygen(tmp_path / "k.pem")
    run, spec = _settled(shop, tmp_path), ("--benchmark", str(shop.benchmark.root))
    made = ("--key", str(tmp_path / "k.pem"), "--author", "A", "--licence", "MIT", "--training-data", "x")
    out = ("--out", str(tmp_path / "out"), *spec)
    for command, what in (
        (("submit", str(tmp_path / "k.pem"), *made, *out), "is not a run folder"),
        (("submit", str(run), *made, *out, "--seconds", "inf"), "--seconds: "),
        (("submit", str(run), *made, *out, "--name", " "), "--name: "),
        (("submit", str(run), *made, *out, "--name", "a\x1b[2Jb"), "--name: holds a character that cannot be seen"),
        (("submit", str(run), *made, *out, "--author", ""), "--author: "),
        (("check", str(tmp_path / "k.pem"), *spec), "is no submission: give its folder"),
        (("check", str(tmp_path / "none" / CSV), *spec), "is not there: give a submission's folder"),
        (("verify", str(tmp_path / "none"), "--rows", "1", *spec), "is no submission"),
        (("add", str(tmp_path / "k.pem"), *spec, "--board", str(tmp_path / "new")), "is no submission"),
        (("submit", str(run), *made, "--out", str(run), *spec), "holds something else"),
        (("check", str(sound), *spec, "--board", str(tmp_path / "none")), "name the board's"),
        (("rank", "--board", str(tmp_path / "none"), *spec), "leaderboard add"),
        (("build", "--board", str(tmp_path)), "leaderboard rank"),
        (("verify", str(tmp_path), "--rows", "1", *spec), "shows all"),
    ):
        done = cli.run_here("leaderboard", *command, home=tmp_path)
        assert (done.returncode, done.stderr.strip().count("\n")) == (1, 0), done.stderr
        assert what in done.stderr


def test_a_submission_is_added_once_and_a_new_board_is_said(shop: Shop, sound: Path, tmp_path: Path) -> None:
    command = ("add", str(sound), "--board", str(tmp_path / "new board"), "--benchmark", str(shop.benchmark.root))
    first = cli.run_here("leaderboard", *command, home=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert "a new board" in first.stdout
    again = cli.run_here("leaderboard", *command, home=tmp_path)
    assert again.returncode == 1
    assert "is there already: give the new one another --revision" in again.stderr
    others = shop.submission("oracle", seed=0, key=shop.key)
    refused = cli.run_here("leaderboard", "add", str(others), *command[2:], home=tmp_path)
    assert refused.returncode == 1
    assert "only a maintainer submits" in refused.stdout
