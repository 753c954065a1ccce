"""A Ray cluster whose nodes die and join, that sees other folders, or that is not there."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import InfraError, UserError
from chatgenbench.render import Picture, Pool, engine_fingerprint, lease_requests, request_for
from chatgenbench.render.cluster import device_of, nodes
from chatgenbench.render.inline import InlineExecutor
from chatgenbench.render.ray_executor import Painter, RayExecutor
from chatgenbench.render.worker import Duty, Unfit
from chatgenbench.schema import RenderRequest
from tests.render.conftest import PlanOf
from tests.render.killing import Siege, kills
from tests.render.two_nodes import NODE

BATCH = 2


@pytest.fixture
def requests(benchmark: Benchmark, plan: PlanOf) -> list[RenderRequest]:
    many = [plan(("fox", "owl", "ink", "wax")[at % 4], f"{at} foxes", seed=at) for at in range(32)]
    return [request_for(one, benchmark, 0, "e")[0] for one in many]


def test_a_node_that_dies_is_done_without_and_one_that_joins_is_used(
    cluster: Any, benchmark: Benchmark, requests: list[RenderRequest], tmp_path: Path
) -> None:
    plain = InlineExecutor(benchmark, Pool(tmp_path / "plain"), BATCH)
    expected = {r.digest: r.image_sha256 for r in plain.run(lease_requests(requests)) if isinstance(r, Picture)}
    doomed, joined = cluster.add_node(**NODE), None
    executor = RayExecutor(benchmark, Pool(tmp_path / "pool"), BATCH, "cpu", claim="GPU")
    try:
        stream = executor.run(lease_requests(requests))
        results = [next(stream)]
        assert doomed.node_id in {worker.place for worker in executor._crew}
        cluster.remove_node(doomed, allow_graceful=False)
        joined = cluster.add_node(**NODE)
        _wait_until_gone(doomed.node_id)
        for result in stream:
            results.append(result)
            used = {worker.place for worker in executor._crew}
        assert {r.digest: r.image_sha256 for r in results if isinstance(r, Picture)} == expected
        assert len(results) == len(requests)
        assert doomed.node_id not in used
        assert joined.node_id in used
    finally:
        executor.close()
        if joined is not None:
            cluster.remove_node(joined)


def test_killed_again_and_again_it_ends_with_the_pictures_of_an_inline_run(
    cluster: Any, benchmark: Benchmark, tmp_path: Path
) -> None:
    siege = Siege(benchmark, tmp_path, os.getpid(), cluster.address)
    siege.lay(kills(2))
    siege.check(benchmark, Pool(tmp_path / "plain"))


def test_nodes_that_cannot_see_the_benchmark_end_the_run_in_one_line(
    cluster: Any, benchmark: Benchmark, requests: list[RenderRequest], pool: Pool, tmp_path: Path
) -> None:
    elsewhere = replace(benchmark, root=tmp_path / "elsewhere")
    executor = RayExecutor(elsewhere, pool, BATCH, "cpu", claim="GPU")
    with pytest.raises(InfraError, match=r"Ray node \S+: the benchmark's folder .*elsewhere is not there: put it on"):
        list(executor.run(lease_requests(requests)))
    executor.close()
    assert not any((pool.root / ".staging").iterdir())


def test_a_node_with_another_pool_or_other_libraries_says_so(benchmark: Benchmark, pool: Pool, tmp_path: Path) -> None:
    duty = Duty(benchmark, pool.spec, BATCH, "cpu", 1, 1)
    unshared = Painter(duty, pool.root / ".staging/host-1-mark", "engine", {}).ready("n1")
    assert isinstance(unshared, Unfit)
    assert unshared.reason.startswith(f"Ray node n1: the picture pool {pool.root} is not there, or another folder")
    other = Painter(duty, tmp_path, "chatgenbench-render/1 diffusers/0.1", {}).ready("n1")
    assert isinstance(other, Unfit)
    assert engine_fingerprint("cpu", "float32") in other.reason
    assert "install the same versions" in other.reason


def test_it_draws_on_what_the_cluster_has(cluster: Any, benchmark: Benchmark, pool: Pool) -> None:
    assert device_of("auto") == "cuda"  # the nodes declare GPUs
    assert device_of("cpu") == "cpu"
    with pytest.raises(UserError, match="takes all GPUs: type cuda or cpu"):
        device_of("cuda:1")
    two_each = 2 * len(nodes())  # on CPUs, of which each node has two
    assert len(RayExecutor(benchmark, pool, BATCH, "cpu")._places()) == two_each
    assert len(RayExecutor(benchmark, pool, BATCH, "cpu", workers=3)._places()) == 3


def _wait_until_gone(node: str) -> None:
    end = time.monotonic() + 120
    while any(one.id == node for one in nodes()):
        assert time.monotonic() < end, "the cluster never noticed that a node died"
        time.sleep(0.2)
