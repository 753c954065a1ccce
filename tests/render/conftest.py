from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.render import Pool
from chatgenbench.schema import Arguments, Plan
from tests.render import tiny, two_nodes

torch.set_num_threads(1)

PlanOf = Callable[..., Plan]


@pytest.fixture(scope="session")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return load_benchmark(str(tiny.build(tmp_path_factory.mktemp("tiny"))))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A Ray cluster of two nodes, to which this process is connected: it takes some seconds, so there is one."""
    import ray

    from chatgenbench.render.cluster import connect

    with two_nodes.cluster() as found:
        connect(found.address)
        yield found
        ray.shutdown()


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "pool")


@pytest.fixture(scope="session")
def plan() -> PlanOf:
    def make(model: str = "fox", prompt: str = "a red fox", negative_prompt: str = "", **arguments: Any) -> Plan:
        usual = {"sampler": "Euler a", "steps": 3, "cfg_scale": 3, "width": 32, "height": 32, "seed": 1}
        return Plan(
            prompt=prompt, negative_prompt=negative_prompt, model=model, arguments=Arguments(**{**usual, **arguments})
        )

    return make


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that holds about two small pictures: a real small file system, or else a real limit on file sizes."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)
