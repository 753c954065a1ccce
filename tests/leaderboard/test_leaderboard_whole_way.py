"""From two runs to a site, with real pictures and real scores: honest ones are reproduced, forged ones are caught."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chatgenbench.leaderboard import keys
from chatgenbench.leaderboard.manifest import CSV, GALLERY, MANIFEST, VERIFICATION
from tests import cli
from tests.leaderboard.boards import claim_means, column, follow, read_cells, resign, write_cells

MINIATURE = Path(__file__).parents[2] / "data" / "miniature"
ITEMS = 8
#: Screenshots to be looked at.
ARTEFACTS = Path(__file__).parents[2] / "test-artefacts"


@dataclass(frozen=True)
class Way:
    """A board with two checked submissions of real runs, and the keys."""

    root: Path
    benchmark: Path
    board: Path
    folders: dict[str, Path]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        done = cli.run_here("leaderboard", *arguments, home=self.root / "home")
        return done.returncode, done.stdout, done.stderr

    def verify(self, folder: Path, rows: int, *more: str) -> tuple[int, str, dict[str, object]]:
        spec = ("--benchmark", str(self.benchmark), "--secret", str(self.root / "secret"))
        key = ("--key", str(self.root / "maintainer.pem"), "--device", "cpu", "--batch-size", "4")
        code, out, err = self.run("verify", str(folder), "--rows", str(rows), *spec, *key, *more)
        assert code in (0, 1), err
        return code, out, json.loads((folder / VERIFICATION).read_text())

    def forged(self, system: str, name: str) -> Path:
        """A copy of a submission on the board, for a cheat to work on."""
        target = self.root / "forged" / name
        shutil.copytree(self.folders[system], target)
        (target / VERIFICATION).unlink(missing_ok=True)
        return target


def write_small(root: Path) -> Path:
    """The miniature with eight of its items, of all kinds and both splits."""
    shutil.copytree(MINIATURE, root)
    lines = (root / "items.jsonl").read_text("utf-8").splitlines()
    (root / "items.jsonl").write_text("\n".join(lines[:: len(lines) // ITEMS][:ITEMS]) + "\n", "utf-8")
    return root


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Way:
    root = tmp_path_factory.mktemp("way")
    benchmark, board = write_small(root / "benchmark"), root / "board"
    keys.keygen(root / "mine.pem")
    public = keys.keygen(root / "maintainer.pem")
    (root / "secret").write_text("a secret of a maintainer, long enough")
    board.mkdir()
    (board / "maintainers.txt").write_text(public + "\n")
    done = cli.run(
        "eval", "--system", "oracle", "--system", "echo", "--benchmark", str(benchmark), "--out", str(root / "runs"),
        "--device", "cpu", "--batch-size", "4", home=root / "home",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folders = {}
    for system, name, key in (("oracle", "oracle", "maintainer"), ("echo", "my echo", "mine")):
        run, sent = root / "runs" / system, root / "sent" / system
        for command in (
            ("submit", str(run), "--key", str(root / f"{key}.pem"), "--author", "Ada", "--licence", "MIT",
             "--training-data", "none", "--out", str(sent), "--name", name, "--benchmark", str(benchmark)),
            ("check", str(sent), "--board", str(board), "--benchmark", str(benchmark)),
            ("add", str(sent), "--board", str(board), "--benchmark", str(benchmark)),
        ):  # fmt: skip
            done = cli.run_here("leaderboard", *command, home=root / "home")
            assert (done.returncode, done.stderr) == (0, ""), (command, done.stdout, done.stderr)
        folders[name] = next(p for p in (board / "submissions").iterdir() if p.name.startswith(name.replace(" ", "-")))
    return Way(root, benchmark, board, folders)


def test_an_honest_submission_climbs_and_the_board_shows_it(way: Way) -> None:
    folder = way.folders["my echo"]
    code, out, told = way.verify(folder, 3)
    assert (code, told["level"], told["failures"]) == (0, "spot-rerun", []), out
    assert len(told["rerun"]) == 3  # type: ignore[arg-type]
    code, out, told = way.verify(folder, ITEMS)
    assert (code, told["level"], told["failures"]) == (0, "reproduced", []), out
    assert told["exact"] == ITEMS
    assert {"fid", "unified"} <= set(told["largest"])  # type: ignore[arg-type]
    code, out, err = way.run("rank", "--board", str(way.board), "--benchmark", str(way.benchmark))
    assert (code, err) == (0, "")
    told = json.loads((way.board / "results.json").read_text())
    levels = {entry["system"]: entry["level"] for entry in told["entries"]}
    assert levels == {"oracle": "claimed", "my echo": "reproduced"}
    assert told["label"].startswith("miniature")
    code, out, err = way.run("build", "--board", str(way.board), "--out", str(way.root / "site"))
    assert (code, err) == (0, "")
    index = (way.root / "site" / "index.html").read_text("utf-8")
    assert "reproduced" in index
    assert told["label"] in index
    assert len(list((way.root / "site" / "s").iterdir())) == 2
    assert list((way.root / "site" / "p").iterdir())
    _browse(way.root / "site" / "index.html")


def _browse(index: Path) -> None:
    """Open the pages, tab, sort, filter and look for faults of accessibility."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine: all but the pages was tried")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with pytest.importorskip("playwright.sync_api").sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(bypass_csp=True).new_page()
        page.goto(index.as_uri())
        names = page.locator("table:visible tbody tr:visible th a")
        assert names.all_inner_texts() == ["oracle", "my echo"]
        page.get_by_role("tab", name="Plans (step-wise)").click()
        page.get_by_role("button", name="BERTScore").click()
        assert names.all_inner_texts() == ["my echo", "oracle"]
        page.get_by_label("reference systems").uncheck()
        assert names.all_inner_texts() == ["my echo"]
        assert page.locator(".level.reproduced:visible").count() > 0
        assert axe.run(page).violations_count == 0
        page.screenshot(path=ARTEFACTS / "whole-way-index.png", full_page=True)
        names.first.click()
        page.wait_for_load_state()
        assert axe.run(page).violations_count == 0
        page.screenshot(path=ARTEFACTS / "whole-way-entry.png", full_page=True)
        browser.close()


def test_raised_scores_of_plans_are_caught_without_drawing(way: Way) -> None:
    folder = way.forged("my echo", "scores")
    cells = read_cells(folder)
    for row in cells[1:]:
        row[column(cells, "bertscore")] = str(min(1.0, float(row[column(cells, "bertscore")]) + 0.05))
    write_cells(folder, cells)
    resign(folder, keys.load(way.root / "mine.pem"), claim_means(folder))
    assert way.run("check", str(folder), "--benchmark", str(way.benchmark))[0] == 0
    code, out, told = way.verify(folder, 0)
    assert (code, told["level"]) == (1, "claimed")
    assert "bertscore: claimed" in out


def test_raised_scores_of_pictures_are_caught_by_every_row_drawn_again(way: Way) -> None:
    folder = way.forged("my echo", "pictures")
    cells = read_cells(folder)
    for row in cells[1:]:
        row[column(cells, "imagereward")] = str(float(row[column(cells, "imagereward")]) + 0.2)
    write_cells(folder, cells)
    resign(folder, keys.load(way.root / "mine.pem"), claim_means(folder))
    assert way.run("check", str(folder), "--benchmark", str(way.benchmark))[0] == 0
    assert way.verify(folder, 0)[2]["level"] == "checked"
    code, out, told = way.verify(folder, 2)
    assert (code, told["level"]) == (1, "claimed")
    assert "imagereward: claimed" in out


def test_better_pictures_than_the_plans_draw_are_caught(way: Way) -> None:
    """Plans of the chat, pictures and scores of the oracle."""
    folder = way.forged("my echo", "swapped")
    cells, others = read_cells(folder), read_cells(way.folders["oracle"])
    for row, other in zip(cells[1:], others[1:], strict=True):
        for name in ("image_sha256", "image_phash", "clipscore", "imagereward", "hpsv2", "clip_image"):
            row[column(cells, name)] = other[column(others, name)]
    write_cells(folder, cells)
    shutil.rmtree(folder / GALLERY)

    def edit(told: dict[str, Any]) -> None:
        told["gallery"] = []
        claim_means(folder)(told)

    resign(folder, keys.load(way.root / "mine.pem"), edit)
    code, out, told = way.verify(folder, 3)
    assert (code, told["level"]) == (1, "claimed")
    assert "bits differ" in out


def test_fid_alone_is_caught_when_everything_is_drawn_again(way: Way) -> None:
    folder = way.forged("my echo", "fid")

    def edit(told: dict[str, Any]) -> None:
        told["metrics"]["fid"] |= {"value": 0.01, "low": 0.005, "high": 0.02}
        follow(told["metrics"])

    resign(folder, keys.load(way.root / "mine.pem"), edit)
    code, out, told = way.verify(folder, ITEMS)
    assert (code, told["level"]) == (1, "claimed")
    assert "all rows: fid: claimed 0.01" in out


def test_mistakes_of_a_maintainer(way: Way, tmp_path: Path) -> None:
    folder = str(way.folders["oracle"])
    short = tmp_path / "short"
    short.write_text("abc")
    spec = ("--benchmark", str(way.benchmark), "--rows", "1")
    code, _, err = way.run("verify", folder, *spec, "--secret", str(short))
    assert (code, err.count("\n")) == (1, 1)
    assert "at least 16 characters" in err
    code, _, err = way.run("verify", folder, *spec, "--key", str(tmp_path / "none.pem"))
    assert (code, err.count("\n")) == (1, 1)
    assert "keygen" in err
    broken = way.forged("oracle", "broken")
    (broken / CSV).write_bytes((broken / CSV).read_bytes()[:-5])
    code, _, err = way.run("verify", str(broken), *spec)
    assert code == 1
    assert "Traceback" not in err
    assert not (broken / VERIFICATION).exists()


def test_the_table_opens_as_the_run_was(way: Way) -> None:
    with io.StringIO((way.folders["oracle"] / CSV).read_text("utf-8")) as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == ITEMS
    assert {row["outcome"] for row in rows} == {"ok"}
    assert all(float(row["selection_top1"]) == 1 for row in rows)
    assert json.loads((way.folders["oracle"] / MANIFEST).read_text())["run"]["weights"] == "miniature"
