"""More items or more seeds: the split of a metric's spread over runs of one system."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chatgenbench.benchmark import Benchmark
from chatgenbench.compare.seeds import spread
from chatgenbench.errors import UserError
from chatgenbench.render.pool import Pool
from chatgenbench.report.data import read_run
from tests import cli
from tests.compare.conftest import settle
from tests.report import report_world as world


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Benchmark, Pool]:
    root = tmp_path_factory.mktemp("seeds")
    return root, world.write_benchmark(root / "benchmark", 10), Pool(root / "pool")


@pytest.fixture(scope="module")
def runs(place: tuple[Path, Benchmark, Pool]) -> list[Path]:
    """Three runs of one system, whose scores are drawn anew with each seed."""
    root, benchmark, pool = place
    return [
        settle(world.write_run(root / f"run-{seed}", benchmark, pool, "mine", seed=seed), benchmark, pool)
        for seed in range(3)
    ]


def test_the_parts_are_those_of_the_demonstrations_means(runs: list[Path], place: tuple[Path, Benchmark, Pool]) -> None:
    _, benchmark, pool = place
    found = spread(runs)
    assert found.seeds == (0, 1, 2)
    assert found.demonstrations == 10
    one = next(s for s in found.found if s.metric == "clipscore")
    loaded = [read_run(world.RunFolder(path), benchmark, pool.path) for path in runs]
    scores = [{row.item.id: run.scores[row.item.id]["clipscore"] for row in run.rows} for run in loaded]
    table = np.array([[np.mean([one[f"i{k}-{kind}"] for kind in ("single", "multimodal")]) for one in scores]
                      for k in range(10)])  # fmt: skip
    assert one.mean == pytest.approx(table.mean())
    rest = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    wanted = max(0.0, float(table.mean(0).var(ddof=1)) - float((rest**2).sum()) / 18 / 10)
    assert one.parts.seed == pytest.approx(wanted)
    assert one.more_items < one.error
    top1 = next(s for s in found.found if s.metric == "selection_top1")
    assert (top1.error, top1.add) == (0, None)


def test_as_a_user_types_it(runs: list[Path], tmp_path: Path) -> None:
    done = cli.run("seeds", *map(str, runs), home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine: 10 demonstrations, 3 seeds" in done.stdout
    assert "nothing varies" in done.stdout
    assert "3 seeds say little" in done.stdout


def test_runs_that_do_not_belong_together(runs: list[Path], place: tuple[Path, Benchmark, Pool]) -> None:
    root, benchmark, pool = place
    with pytest.raises(UserError, match="another --seed"):
        spread(runs[:1])
    with pytest.raises(UserError, match="same seed 0"):
        spread([runs[0], runs[0]])
    other = settle(world.write_run(root / "other", benchmark, pool, "theirs", seed=5), benchmark, pool)
    with pytest.raises(UserError, match="not of one system and revision"):
        spread([runs[0], other])
    far = world.write_benchmark(root / "benchmark-2", 3)
    strange = settle(world.write_run(root / "strange", far, pool, "mine", seed=6), far, pool)
    with pytest.raises(UserError, match="different versions"):
        spread([runs[0], strange])
