from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL.Image import Image
from safetensors.torch import load_file, save_file

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.render import Picture, Pool, Undrawn, lease_requests, request_for
from chatgenbench.render.infotext import parse
from chatgenbench.render.inline import DRIFT, InlineExecutor
from chatgenbench.schema import Outcome, Plan, RenderRequest
from tests.render import tiny
from tests.render.conftest import PlanOf


def requests_of(benchmark: Benchmark, *plans: Plan) -> list[RenderRequest]:
    return [request_for(plan, benchmark, 0, "e")[0] for plan in plans]


def run(
    benchmark: Benchmark, pool: Pool, requests: list[RenderRequest], batch_size: int = 4
) -> dict[str, Picture | Undrawn]:
    executor = InlineExecutor(benchmark, pool, batch_size)
    results = {result.digest: result for result in executor.run(lease_requests(requests))}
    executor.close()
    return results


def pixels(pool: Pool, request: RenderRequest) -> np.ndarray[Any, Any]:
    return np.asarray(pool.read(request.digest)).astype(int)


def test_the_same_request_gives_the_same_bytes(benchmark: Benchmark, plan: PlanOf, tmp_path: Path) -> None:
    requests = requests_of(benchmark, plan("ink"), plan("ink", seed=2))
    first, second = (run(benchmark, Pool(tmp_path / name), requests) for name in "ab")
    for request in requests:
        a, b = first[request.digest], second[request.digest]
        assert isinstance(a, Picture)
        assert isinstance(b, Picture)
        assert a.image_sha256 == b.image_sha256 == Pool(tmp_path / "a").sha256(request.digest)


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE Karras", "DPM++ 2M"])
def test_the_batch_size_hardly_moves_a_pixel(sampler: str, benchmark: Benchmark, plan: PlanOf, tmp_path: Path) -> None:
    many = [plan(sampler=sampler, steps=6, seed=s, prompt=f"a fox and {s} owls", width=64, height=64) for s in range(8)]
    requests = requests_of(benchmark, *many)
    alone, together = Pool(tmp_path / "1"), Pool(tmp_path / "8")
    run(benchmark, alone, requests, batch_size=1)
    run(benchmark, together, requests, batch_size=8)
    drift = max(int(np.abs(pixels(alone, r) - pixels(together, r)).max()) for r in requests)
    print(f"{sampler}: drift {drift} of 255 between batch 1 and 8")
    assert drift <= DRIFT


def test_prompt_negative_prompt_seed_and_clip_skip_all_reach_the_picture(
    benchmark: Benchmark, plan: PlanOf, pool: Pool
) -> None:
    def bold(**change: Any) -> Plan:
        return plan(**{"cfg_scale": 40, "steps": 6, **change})

    plans = [bold(), bold(prompt="a blue owl"), bold(negative_prompt="red"), bold(seed=2), bold(clip_skip=2)]
    requests = requests_of(benchmark, *plans)
    results = run(benchmark, pool, requests)
    assert len({result.image_sha256 for result in results.values() if isinstance(result, Picture)}) == len(plans)
    pictures = [pixels(pool, request) for request in requests]
    assert all(np.abs(pictures[0] - other).max() > 0 for other in pictures[1:])
    assert pictures[0].shape == (32, 32, 3)


def test_width_and_height_are_not_swapped(benchmark: Benchmark, plan: PlanOf, pool: Pool) -> None:
    (request,) = requests_of(benchmark, plan(width=80, height=64))
    run(benchmark, pool, [request])
    assert pool.read(request.digest).size == (80, 64)
    assert parse(pool.read(request.digest).info["parameters"]).parameters["Size"] == "80x64"


def test_one_impossible_request_does_not_hurt_its_neighbours(benchmark: Benchmark, plan: PlanOf, pool: Pool) -> None:
    good, deep = requests_of(benchmark, plan(), plan(clip_skip=12))
    results = run(benchmark, pool, [good, deep])
    assert isinstance(results[good.digest], Picture)
    failed = results[deep.digest]
    assert isinstance(failed, Undrawn)
    assert failed.failure.outcome == Outcome.SYSTEM_FAILED
    assert "IndexError" in failed.failure.reason


@pytest.fixture(scope="module")
def poisoned(benchmark: Benchmark, tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """The world with a base whose embedding of the word `owl` is not a number, and one whose file was cut short."""
    root = tmp_path_factory.mktemp("poisoned")
    shutil.copytree(benchmark.root, root, dirs_exist_ok=True)
    folder = root / "models/poison"
    shutil.copytree(root / "models/fox", folder)
    path = folder / "text_encoder/model.safetensors"
    weights = load_file(path)
    key = next(key for key in weights if key.endswith("token_embedding.weight"))
    weights[key][tiny.clip_tokenizer()("owl").input_ids[1]] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    records = [json.loads(record.model_dump_json()) for record in benchmark.catalog]
    records.append(tiny.record("poison", folder, root, "diffusers"))
    (root / "models/owl.safetensors").write_bytes((root / "models/owl.safetensors").read_bytes()[:-100])
    return load_benchmark(str(tiny.write_benchmark(root, records)))


def test_a_picture_of_no_numbers_fails_alone(poisoned: Benchmark, plan: PlanOf, pool: Pool) -> None:
    fox, owl = requests_of(poisoned, plan("poison", "a fox"), plan("poison", "an owl", seed=2))
    results = run(poisoned, pool, [fox, owl])
    assert isinstance(results[fox.digest], Picture)
    failed = results[owl.digest]
    assert isinstance(failed, Undrawn)
    assert failed.failure.reason == "ValueError: the picture has values that are not numbers"
    assert not pool.has(owl.digest)


def test_damaged_weights_are_no_systems_fault_and_hurt_no_other_model(
    poisoned: Benchmark, plan: PlanOf, pool: Pool
) -> None:
    fox, owl, owl2 = requests_of(poisoned, plan("fox"), plan("owl"), plan("owl", width=64))
    results = run(poisoned, pool, [fox, owl, owl2])
    assert isinstance(results[fox.digest], Picture)
    for request in (owl, owl2):
        failed = results[request.digest]
        assert isinstance(failed, Undrawn)
        assert failed.failure.outcome == Outcome.INFRA_FAILED
        assert "owl.safetensors is not the file that the catalog describes" in failed.failure.reason


class LittleMemory(InlineExecutor):
    """Runs into the allocator's own error wherever a batch holds more than `most` pictures."""

    most = 3

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tried: list[int] = []

    def _draw(self, pipeline: Any, requests: Sequence[RenderRequest]) -> list[Image | None]:
        self.tried.append(len(requests))
        if len(requests) > self.most:
            torch.empty(2**50, dtype=torch.uint8)
        return super()._draw(pipeline, requests)


def test_when_memory_runs_out_the_batch_is_halved(benchmark: Benchmark, plan: PlanOf, pool: Pool) -> None:
    requests = requests_of(benchmark, *(plan(seed=seed) for seed in range(8)))
    results = list(LittleMemory(benchmark, pool, batch_size=8).run(lease_requests(requests)))
    pictures = [result for result in results if isinstance(result, Picture)]
    assert len(pictures) == 8
    assert len({picture.seconds for picture in pictures}) == 4  # 8, then 4 and 4, then four times 2


def test_what_fits_is_found_once_for_each_shape_and_cuts_batches_as_failing_would(
    benchmark: Benchmark, plan: PlanOf, pool: Pool
) -> None:
    executor = LittleMemory(benchmark, pool, batch_size=8)
    small = requests_of(benchmark, *(plan(seed=seed) for seed in range(22)))
    assert all(isinstance(result, Picture) for result in executor.run(lease_requests(small)))
    assert executor.tried == [8, 4, 2, 2, 2, 2, *[2] * 4, *[2, 1] * 2]
    executor.tried.clear()
    wide = requests_of(benchmark, *(plan(seed=seed, width=40) for seed in range(4)))
    assert all(isinstance(result, Picture) for result in executor.run(lease_requests(wide)))
    assert executor.tried == [4, 2, 2]


def test_what_never_fits_in_memory_is_the_machines_fault(benchmark: Benchmark, plan: PlanOf, pool: Pool) -> None:
    executor = LittleMemory(benchmark, pool, batch_size=8)
    executor.most = 0
    (failed,) = executor.run(lease_requests(requests_of(benchmark, plan())))
    assert isinstance(failed, Undrawn)
    assert failed.failure.outcome == Outcome.INFRA_FAILED
    assert "can't allocate memory" in failed.failure.reason


class Faulty(InlineExecutor):
    """Raises what a library would raise when it, not the plan, is at fault."""

    def __init__(self, *arguments: Any, error: Exception, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.error = error

    def _draw(self, pipeline: Any, requests: Sequence[RenderRequest]) -> list[Image | None]:
        raise self.error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError("`height` and `width` have to be divisible by 8"), Outcome.SYSTEM_FAILED),
        (RuntimeError("The size of tensor a (8) must match the size of tensor b (7)"), Outcome.SYSTEM_FAILED),
        (ImportError("no module named scipy"), Outcome.INFRA_FAILED),
        (NotImplementedError("operator is not implemented on this device"), Outcome.INFRA_FAILED),
        (AttributeError("'NoneType' object has no attribute 'device'"), Outcome.INFRA_FAILED),
        (OSError(5, "Input/output error"), Outcome.INFRA_FAILED),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"), Outcome.INFRA_FAILED),
    ],
)
def test_a_plan_is_blamed_only_for_what_it_asked(
    error: Exception, outcome: Outcome, benchmark: Benchmark, plan: PlanOf, pool: Pool
) -> None:
    executor = Faulty(benchmark, pool, 2, error=error)
    (failed,) = executor.run(lease_requests(requests_of(benchmark, plan())))
    assert isinstance(failed, Undrawn)
    assert failed.failure.outcome == outcome
    assert type(error).__name__ in failed.failure.reason
