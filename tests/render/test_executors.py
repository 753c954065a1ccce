"""What every executor promises, asked of each in turn."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.errors import InfraError
from chatgenbench.render import Executor, LocalExecutor, Picture, Pool, Undrawn, lease_requests, request_for
from chatgenbench.render.inline import InlineExecutor
from chatgenbench.render.ray_executor import RayExecutor
from chatgenbench.schema import Outcome, Plan, RenderRequest
from tests.render.conftest import PlanOf
from tests.render.killing import drawing, kill, outlive

BATCH = 3


class Make(Protocol):
    """Makes the executor that is asked; one worker is enough where their number says nothing, and half as slow."""

    def __call__(self, benchmark: Benchmark, pool: Pool, workers: int = 1) -> Executor: ...


def inline(benchmark: Benchmark, pool: Pool, workers: int = 1) -> Executor:
    return InlineExecutor(benchmark, pool, BATCH)


def local(benchmark: Benchmark, pool: Pool, workers: int = 1) -> Executor:
    return LocalExecutor(benchmark, pool, BATCH, ("cpu",) * workers)


def on_ray(benchmark: Benchmark, pool: Pool, workers: int = 1) -> Executor:
    return RayExecutor(benchmark, pool, BATCH, "cpu", claim="GPU", workers=workers)


@pytest.fixture(params=[inline, local, on_ray])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    if request.param is on_ray:
        request.getfixturevalue("cluster")
    made: list[Executor] = []

    def new(benchmark: Benchmark, pool: Pool, workers: int = 1) -> Executor:
        made.append(request.param(benchmark, pool, workers))
        return made[-1]

    yield new
    for executor in made:
        executor.close()


def asked(benchmark: Benchmark, *plans: Plan) -> list[RenderRequest]:
    return [request_for(plan, benchmark, 0, "e")[0] for plan in plans]


def mixed(benchmark: Benchmark, plan: PlanOf) -> list[RenderRequest]:
    models = ("fox", "owl", "ink", "wax")
    return asked(benchmark, *(plan(models[at % 4], f"{at} foxes", seed=at) for at in range(22)))


def outcomes(results: list[Picture | Undrawn]) -> dict[str, str]:
    return {r.digest: r.image_sha256 if isinstance(r, Picture) else str(r.failure.outcome) for r in results}


def test_every_request_has_one_result_and_the_pictures_are_those_of_an_inline_run(
    make: Make, benchmark: Benchmark, plan: PlanOf, tmp_path: Path
) -> None:
    requests = mixed(benchmark, plan)
    plain = InlineExecutor(benchmark, Pool(tmp_path / "plain"), BATCH)
    expected = outcomes(list(plain.run(lease_requests(requests))))
    pool = Pool(tmp_path / "pool")
    results = list(make(benchmark, pool, 2).run(lease_requests(requests)))
    assert len(results) == len(requests)
    assert outcomes(results) == expected
    assert {r.digest: pool.sha256(r.digest) for r in requests} == expected


@pytest.mark.parametrize("make", [local, on_ray], indirect=True)
def test_a_worker_that_is_killed_changes_nothing(
    make: Make, benchmark: Benchmark, plan: PlanOf, tmp_path: Path
) -> None:
    requests = mixed(benchmark, plan)
    plain = InlineExecutor(benchmark, Pool(tmp_path / "plain"), BATCH)
    expected = outcomes(list(plain.run(lease_requests(requests))))
    stream = make(benchmark, Pool(tmp_path / "pool"), 2).run(lease_requests(requests))
    first = next(iter(stream))
    victim = drawing(os.getpid())[-1]
    kill(victim.pid)
    results = [first, *stream]
    assert outcomes(results) == expected
    assert len(results) == len(requests)
    assert not outlive({victim})


def test_it_can_be_broken_off_run_again_and_closed_twice(
    make: Make, benchmark: Benchmark, plan: PlanOf, pool: Pool
) -> None:
    executor = make(benchmark, pool)
    assert list(executor.run([])) == []
    stream = executor.run(lease_requests(asked(benchmark, *(plan(seed=at) for at in range(9)))))
    next(iter(stream))
    stream.close()  # type: ignore[attr-defined]
    for seed in (20, 30):
        wanted = asked(benchmark, *(plan("owl", seed=seed + at) for at in range(4)))
        assert sorted(r.digest for r in executor.run(lease_requests(wanted))) == sorted(r.digest for r in wanted)
    executor.close()
    executor.close()


def test_bad_weights_fail_their_own_rows(make: Make, benchmark: Benchmark, plan: PlanOf, tmp_path: Path) -> None:
    root = tmp_path / "world"
    shutil.copytree(benchmark.root, root)
    owl = root / "models/owl.safetensors"
    owl.write_bytes(owl.read_bytes()[:-9] + b"\0" * 9)
    (root / "models/ink/more.ckpt").write_bytes(b"\x80\x04.")
    moved = {"ink": "models/ink/more.ckpt", "wax": "../../etc/passwd"}
    lines = [json.loads(line) for line in (root / "catalog.jsonl").read_text().splitlines()]
    lines = [line | {"files": {"lora": moved[line["id"]]}} if line["id"] in moved else line for line in lines]
    (root / "catalog.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    world = load_benchmark(str(root))
    good = asked(world, *(plan(seed=at) for at in range(4)))
    bad = {
        "owl.safetensors is not the file that the catalog describes": asked(world, plan("owl"), plan("owl", seed=2)),
        "may be a pickle": asked(world, plan("ink")), "leaves the benchmark's folder": asked(world, plan("wax")),
    }  # fmt: skip
    requests = [*good, *(request for some in bad.values() for request in some)]
    results = {r.digest: r for r in make(world, Pool(tmp_path / "p")).run(lease_requests(requests))}
    assert all(isinstance(results[r.digest], Picture) for r in good)
    for reason, some in bad.items():
        for request in some:
            result = results[request.digest]
            assert isinstance(result, Undrawn)
            assert result.failure.outcome is Outcome.INFRA_FAILED
            assert reason in result.failure.reason


def test_a_full_disk_stops_it_and_keeps_what_is_done(
    make: Make, benchmark: Benchmark, plan: PlanOf, full_disk: Path
) -> None:
    requests = asked(benchmark, *(plan(seed=at, width=64, height=64) for at in range(12)))
    results: list[Picture | Undrawn] = []
    pool = Pool(full_disk)
    with pytest.raises(InfraError, match="cannot write to the picture pool"):
        results.extend(make(benchmark, pool).run(lease_requests(requests)))
    assert len(results) < len(requests)
    assert all(pool.verify(r.digest) for r in results)
