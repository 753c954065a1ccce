"""`chatgenbench pool`: counts, broken pictures, and what may go."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chatgenbench.render import Pool, upkeep
from tests import cli
from tests.report import report_world as world


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8))


def name(number: int) -> str:
    return f"{number:02x}" + "0" * 62


@pytest.fixture
def full(tmp_path: Path) -> Pool:
    """Ten pictures, the n-th n days old."""
    pool = Pool(tmp_path / "pool")
    for n in range(10):
        pool.put(name(n), noise(n), "a fox")
        moment = time.time() - n * upkeep.DAY - 60
        os.utime(pool.path(name(n)), (moment, moment))
    return pool


def typed(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return cli.run("pool", *command, home=tmp_path)


def test_stats(full: Pool, tmp_path: Path) -> None:
    (full.root / "00" / "notes.txt").write_text("mine")
    (full.root / ".staging" / "elsewhere-1-x").mkdir(parents=True)
    found = upkeep.stats(full)
    assert found.pictures == 10
    assert found.size == sum(full.path(name(n)).stat().st_size for n in range(10))
    assert (found.staged, found.strange) == (1, ("00/notes.txt",))
    done = typed(tmp_path, "stats")
    assert (done.returncode, done.stderr) == (0, "")
    assert "pictures: 10, 32.0 kB" in done.stdout
    assert "00/notes.txt" in done.stdout


def test_broken_pictures_are_named_and_removed_only_when_asked(full: Pool, tmp_path: Path) -> None:
    data = full.path(name(3)).read_bytes()
    full.path(name(3)).write_bytes(data[:-30])
    full.path(name(4)).write_bytes(full.path(name(5)).read_bytes())
    assert [digest for digest, _ in upkeep.broken(full, {})] == [name(3)]
    known = {name(4): "ab" * 32, name(5): full.sha256(name(5))}
    assert [digest for digest, _ in upkeep.broken(full, known)] == [name(3), name(4)]
    done = typed(tmp_path, "verify")
    assert done.returncode == 1
    assert f"{full.path(name(3))}: it is not a whole picture" in done.stdout
    assert full.has(name(3))
    done = typed(tmp_path, "verify", "--remove")
    assert done.returncode == 0
    assert not full.has(name(3))
    done = typed(tmp_path, "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert "every picture is whole" in done.stdout


@pytest.mark.parametrize(
    ("needed", "days", "limit", "gone"),
    [
        ((), 0.0, None, range(10)),
        ((2, 9), 0.0, None, (0, 1, 3, 4, 5, 6, 7, 8)),
        ((), 7.0, None, (7, 8, 9)),
        ((9,), 7.0, None, (7, 8)),
        ((), 0.0, 10**9, ()),
        ((), 0.0, 0, range(10)),
        ((), 0.0, float("inf"), ()),
    ],
)  # fmt: skip
def test_what_may_go(full: Pool, needed: tuple[int, ...], days: float, limit: float | None, gone: object) -> None:
    found = upkeep.disposable(full, {name(n) for n in needed}, days, limit)
    assert sorted(one.digest for one in found) == [name(n) for n in gone]  # type: ignore[attr-defined]
    assert [one.written for one in found] == sorted(one.written for one in found)


def test_only_as_many_go_as_it_takes_the_oldest_first(full: Pool) -> None:
    size = upkeep.stats(full).size
    oldest = [full.path(name(n)).stat().st_size for n in (9, 8)]
    found = upkeep.disposable(full, (), limit=size - sum(oldest))
    assert [one.digest for one in found] == [name(9), name(8)]


def test_gc_keeps_what_runs_need_and_they_say_what_is_missing(tmp_path: Path) -> None:
    benchmark, pool = world.write_benchmark(tmp_path / "benchmark", 3), Pool(tmp_path / "pool")
    mine = world.write_run(tmp_path / "runs" / "mine", benchmark, pool, "mine", seed=1)
    world.write_run(tmp_path / "runs" / "other", benchmark, pool, "other", seed=2)
    assert upkeep.stats(pool).pictures == 12
    dry = typed(tmp_path, "gc", "--keep", str(mine.path), "--dry-run")
    assert "would remove 6 pictures" in dry.stdout
    assert upkeep.stats(pool).pictures == 12
    both = typed(tmp_path, "gc", "--keep", str(tmp_path / "runs"))
    assert "removed 0 pictures" in both.stdout
    done = typed(tmp_path, "gc", "--keep", str(mine.path))
    assert (done.returncode, done.stderr) == (0, "")
    assert upkeep.stats(pool).pictures == 6
    assert typed(tmp_path, "verify", "--run", str(mine.path)).returncode == 0
    missing = typed(tmp_path, "verify", "--run", str(tmp_path / "runs" / "other"))
    assert "6 pictures of these runs are not there" in missing.stdout


def test_mistakes(full: Pool, tmp_path: Path) -> None:
    for command, what in (
        (("gc",), "say what may go"),
        (("gc", "--keep", str(tmp_path / "none")), "neither a run nor a folder of runs: nothing was removed"),
        (("stats", "--pool", str(tmp_path / "none")), "there is no pool at"),
        (("verify", "--run", str(tmp_path)), "is not a run folder"),
    ):
        done = typed(tmp_path, *command)
        assert (done.returncode, done.stderr.strip().count("\n")) == (1, 0)
        assert what in done.stderr
    assert upkeep.stats(full).pictures == 10
