from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import InfraError
from chatgenbench.render import Lease, Picture, Pool, Undrawn, draw, plan_estimate
from chatgenbench.schema import DrawnRow, Outcome, Plan
from tests.render.conftest import PlanOf

ENGINE_SEED = 4


def seed_of(item: str) -> int:
    return ENGINE_SEED


def drawn(rows: list[tuple[str, Plan]], benchmark: Benchmark, pool: Pool) -> dict[str, DrawnRow]:
    result = list(draw(rows, benchmark, pool, seed_of=seed_of, batch_size=2))
    assert sorted(row.item for row in result) == sorted(item for item, _ in rows)
    return {row.item: row for row in result}


def files(pool: Pool) -> list[Path]:
    return [path for path in pool.root.rglob("*") if path.is_file()]


def test_every_item_ends_as_one_row(benchmark: Benchmark, plan: PlanOf, pool: Pool) -> None:
    rows = [
        ("a", plan()), ("same", plan(sampler="euler_a")), ("near", plan(sampler="Euler a Karras")),
        ("lora", plan("ink", seed=None)), ("nobody", plan("foxes of the north")), ("odd", plan(sampler="Monet")),
    ]  # fmt: skip
    result = drawn(rows, benchmark, pool)
    assert {item: row.outcome for item, row in result.items()} == {
        "a": Outcome.OK, "same": Outcome.OK, "near": Outcome.OK, "lora": Outcome.OK,
        "nobody": Outcome.SYSTEM_FAILED, "odd": Outcome.SYSTEM_FAILED,
    }  # fmt: skip
    assert result["a"].picture == result["same"].picture
    assert result["a"].approximated is None
    assert "without the Karras schedule" in (result["near"].approximated or "")
    assert "unknown model" in (result["nobody"].reason or "")
    assert "unknown sampler 'Monet'" in (result["odd"].reason or "")
    for row in result.values():
        if row.outcome == Outcome.OK:
            assert row.picture is not None
            assert row.image_sha256 == pool.sha256(row.picture)
    assert len(files(pool)) == 3


def test_what_lies_in_the_pool_is_not_drawn_again_unless_it_is_broken(
    benchmark: Benchmark, plan: PlanOf, pool: Pool
) -> None:
    rows = [("a", plan()), ("b", plan(seed=2))]
    first = drawn(rows, benchmark, pool)
    kept, broken = (pool.path(first[item].picture or "") for item in "ab")
    before = kept.stat()
    broken.write_bytes(broken.read_bytes()[:300])
    second = drawn(rows, benchmark, pool)
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert {item: row.image_sha256 for item, row in second.items()} == {
        item: row.image_sha256 for item, row in first.items()
    }
    assert pool.verify(first["b"].picture or "")


def test_a_full_disk_stops_the_drawing_and_blames_no_system(
    benchmark: Benchmark, plan: PlanOf, full_disk: Path
) -> None:
    pool = Pool(full_disk / "pool")
    rows = [(f"i{seed}", plan(seed=seed, width=64, height=64, steps=1)) for seed in range(12)]
    rows.append(("nobody", plan("none")))
    result = drawn(rows, benchmark, pool)
    assert result["nobody"].outcome == Outcome.SYSTEM_FAILED
    failed = [row for row in result.values() if row.outcome == Outcome.INFRA_FAILED]
    assert len(failed) >= 8
    assert all("cannot write to the picture pool" in (row.reason or "") for row in failed)
    finished = [row for row in result.values() if row.outcome == Outcome.OK]
    assert len(files(pool)) == len(finished)
    assert all(pool.verify(row.picture or "") for row in finished)


class DyingExecutor:
    """A real executor whose machine goes away after the first lease."""

    def __init__(self) -> None:
        self.closed = False

    def run(self, leases: Iterable[Lease]) -> Iterator[Picture | Undrawn]:
        first, *_ = leases
        yield from (Picture(request.digest, "0" * 64, 0.1) for request in first.requests)
        raise InfraError("worker 3 is gone")

    def close(self) -> None:
        self.closed = True


def test_any_executor_may_draw_and_keeps_what_it_finished(benchmark: Benchmark, plan: PlanOf, pool: Pool) -> None:
    executor = DyingExecutor()
    rows = [("a", plan()), ("b", plan(width=64)), ("c", plan("owl"))]
    result = list(draw(rows, benchmark, pool, seed_of=seed_of, executor=executor))
    assert sorted(row.outcome for row in result) == [Outcome.INFRA_FAILED, Outcome.INFRA_FAILED, Outcome.OK]
    assert {row.reason for row in result} == {None, "worker 3 is gone"}
    assert not executor.closed


LIGHT = """
import sys
import chatgenbench.render
from chatgenbench.render import Pool, draw, plan_estimate
from chatgenbench.benchmark import load_benchmark
from chatgenbench.schema import Plan
benchmark, pool = load_benchmark(sys.argv[1]), Pool(sys.argv[2])
arguments = dict(sampler="Euler a", steps=3, cfg_scale=3, width=32, height=32, seed=1)
rows = [("a", Plan(prompt="a red fox", model="fox", arguments=arguments))]
plan_estimate([rows], benchmark, pool, seed_of=len)
print([row.outcome.value for row in draw(rows, benchmark, pool, seed_of=len)], "torch" in sys.modules)
"""


def test_a_finished_run_is_taken_up_without_loading_torch(benchmark: Benchmark, plan: PlanOf, pool: Pool) -> None:
    drawn([("a", plan())], benchmark, pool)
    command = [sys.executable, "-c", LIGHT, str(benchmark.root), str(pool.root)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "['ok'] False"


def test_the_estimate_counts_what_drawing_would_do(
    benchmark: Benchmark, plan: PlanOf, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATGENBENCH_HOME", str(tmp_path / "home"))
    rows = [
        ("a", plan()), ("same", plan()), ("ink", plan("ink")), ("wax", plan("wax")), ("owl", plan("owl", width=64)),
        ("nobody", plan("none")),
    ]  # fmt: skip
    before = plan_estimate([rows], benchmark, pool, seed_of=seed_of)
    assert (before.rows, before.undrawable, before.unique, before.in_pool) == (6, 1, 4, 0)
    assert (before.checkpoints, before.loras) == (2, 2)
    weights = list((benchmark.root / "models").rglob("*.safetensors"))
    assert before.weight_bytes == sum(path.stat().st_size for path in weights)
    assert before.disk_bytes == 2 * (3 * 32 * 32 + 64 * 32)
    assert before.peak_memory_bytes > max(path.stat().st_size for path in weights)
    assert before.basis.keys() >= {"disk_bytes", "peak_memory_bytes", "weight_bytes"}
    assert before.fetched == before.fetch_bytes == 0
    assert before.seconds is None
    assert "draw a few first" in before.basis["seconds"]
    apart = plan_estimate([rows, rows, [("b", plan(seed=2))]], benchmark, pool, seed_of=seed_of)
    assert (apart.unique, apart.checkpoints, apart.loras) == (5, 3, 2)  # a run of its own loads its base again
    drawn(rows, benchmark, pool)
    after = plan_estimate([rows], benchmark, pool, seed_of=seed_of)
    assert (after.in_pool, after.checkpoints, after.loras, after.weight_bytes) == (4, 0, 0, 0)
    more = plan_estimate([[("big", plan(width=640, height=640))]], benchmark, pool, seed_of=seed_of)
    assert more.peak_memory_bytes > after.peak_memory_bytes
    rows.append(("new", plan(seed=77)))
    new = plan_estimate([rows], benchmark, pool, seed_of=seed_of)
    assert "measured on 4 pictures of the pool" in new.basis["disk_bytes"]
    assert new.seconds is not None
    assert new.seconds > 0
    assert "4 calls and 4 loads" in new.basis["seconds"]


def test_the_estimate_names_models_that_cannot_be_used_and_goes_on(
    benchmark: Benchmark, plan: PlanOf, pool: Pool
) -> None:
    ink = benchmark.catalog.get("ink")
    bad = [
        ink.model_copy(update={"id": name, "sha256": str(at) * 64, "files": {"lora": path}})
        for at, (name, path) in enumerate({"gone": "models/gone.safetensors", "long": "x" * 300}.items())
    ]
    there = replace(benchmark, catalog=type(benchmark.catalog)([*benchmark.catalog, *bad]))
    rows = [("a", plan("ink")), ("b", plan("gone")), ("c", plan("gone")), ("d", plan("long"))]
    found = plan_estimate([rows], there, pool, seed_of=seed_of)
    assert (found.rows, found.undrawable, found.unique, found.checkpoints, found.loras) == (4, 3, 1, 1, 1)
    assert "missing" in found.unusable["gone"]
    assert "cannot read the weights" in found.unusable["long"]
    assert sorted(row.outcome for row in draw(rows, there, pool, seed_of=seed_of)) == ["infra-failed"] * 3 + ["ok"]


def test_the_estimate_knows_how_much_is_kept_warm(
    benchmark: Benchmark, plan: PlanOf, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def peak(*models: str) -> int:
        rows = [(name, plan(name)) for name in models]
        return plan_estimate([rows], benchmark, pool, seed_of=seed_of).peak_memory_bytes

    assert peak("fox", "owl") > max(peak("fox"), peak("owl"))
    one, two = peak("fox", "ink"), peak("fox", "ink", "wax", "owl")
    monkeypatch.setattr("chatgenbench.render.estimate.LIMIT", 0)
    assert one == peak("fox", "ink")
    assert peak("fox", "ink", "wax", "owl") < two
