"""`--certify K`: rows drawn again at another batch size, and what moved."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.errors import InfraError
from chatgenbench.evaluate.certify import certificate_file, certificate_of, certify, drift
from chatgenbench.evaluate.pipeline import Finished, evaluate
from chatgenbench.evaluate.run import Settings
from chatgenbench.quiet import quiet
from chatgenbench.render import Pool
from chatgenbench.report import write_report
from chatgenbench.report.notes import certificate
from chatgenbench.systems import resolve
from tests.cli import run as typed

SETTINGS = Settings(benchmark="miniature", system="oracle", limit=6, device="cpu")


class Silent:
    def tick(self, name: str, done: int, total: int) -> None:
        assert done <= total


@dataclass(frozen=True)
class Place:
    root: Path
    benchmark: Benchmark
    run: Finished

    def certify(self, count: int, run: Finished | None = None, **changes: Any) -> Finished:
        with quiet():
            return certify(
                run or self.run, replace(SETTINGS, **changes), self.benchmark, Pool(self.root / "pool"), Silent(), count
            )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root, benchmark = tmp_path_factory.mktemp("certify"), load_benchmark("miniature")
    with pytest.MonkeyPatch.context() as patch, quiet():
        patch.setenv("CHATGENBENCH_HOME", str(root / "home"))
        system = resolve("oracle", benchmark, 0)
        run = evaluate(root / "run", SETTINGS, benchmark, system, Pool(root / "pool"), Silent())
    return Place(root, benchmark, run)


def test_rows_are_drawn_again_and_the_drift_is_told_everywhere(place: Place) -> None:
    folder = place.run.folder
    run = place.certify(3)
    summary = json.loads(folder.summary.read_text())
    assert summary == json.loads(json.dumps(run.summary))
    found = certificate_of(summary)
    assert found is not None
    assert (found["rows"], found["batch_size"]) == (3, 8)
    assert (found["device"], found["dtype"]) == ("cpu", "float32")
    assert found["pixels"]["max"] <= 2
    assert set(found["scores"]) == {"clipscore", "imagereward", "hpsv2", "clip_image"}
    rows = json.loads(certificate_file(folder).read_text())["items"]
    assert len({row["item"] for row in rows}) == 3
    assert all(first != second for first, second in (row["batches"] for row in rows))
    assert drift(rows) == {key: found[key] for key in ("rows", "alone", "pixels", "scores")}
    line = certificate(summary)
    assert line is not None
    assert line.startswith("certified: 3 rows drawn again at another batch size (")
    assert "scores moved by at most CLIP score " in line
    write_report(folder, place.benchmark, Pool(place.root / "pool").path)
    assert "3 rows drawn again at another batch size" in folder.report.read_text()


def test_it_goes_on_where_it_was_and_draws_nothing_twice(place: Place) -> None:
    place.certify(3)
    drawn = place.run.folder.path / "certificate"
    before = {path: path.stat().st_mtime_ns for path in drawn.rglob("*.png")}
    run = place.certify(4)
    after = {path: path.stat().st_mtime_ns for path in drawn.rglob("*.png")}
    assert before.items() < after.items()
    assert run.summary["certificate"]["rows"] == 4


def test_a_picture_that_is_not_what_the_plan_draws_shows(place: Place) -> None:
    """The second drawing of one row is replaced by its negative: pixels and scores must move."""
    place.certify(3)
    row = json.loads(certificate_file(place.run.folder).read_text())["items"][0]
    one = Pool(place.run.folder.path / "certificate").path(row["picture"])
    kept = one.read_bytes()
    ImageOps.invert(Image.open(one).convert("RGB")).save(one)
    try:
        found = place.certify(6).summary["certificate"]
    finally:
        one.write_bytes(kept)
    assert found["pixels"]["max"] > 50
    assert found["scores"]["clip_image"]["max"] > 1


def test_rows_drawn_one_by_one_are_drawn_again_in_pairs(place: Place) -> None:
    found = place.certify(6, batch_size=1).summary["certificate"]
    assert (found["rows"], found["alone"]) == (6, 0)
    assert found["pixels"]["max"] <= 2


def test_an_unfinished_run_is_not_certified_and_a_certificate_of_other_pictures_is_left_out(place: Place) -> None:
    broken = replace(place.run, summary=place.run.summary | {"incomplete": 1})
    with pytest.raises(InfraError, match="complete it first"):
        place.certify(3, broken)
    assert certificate_of({"run": {"state": "a"}, "certificate": {"of": "b"}}) is None


def test_a_run_without_pictures_has_nothing_to_certify(tmp_path: Path) -> None:
    asked = ("eval", "--system", "oracle", "--no-render", "--certify", "2", "--out", str(tmp_path / "none"))
    done = typed(*asked, home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip() == "error: --certify draws pictures again, and this run has none: leave it out"
