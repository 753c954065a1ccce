from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.errors import BenchmarkError
from chatgenbench.render.checkpoints import Shelf
from tests.render import tiny
from tests.render.test_shelf import drawn, sha

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"
TEXT = "encoder.layers.1.mlp.fc1"


def flat(prefix: str, name: str) -> str:
    return f"{prefix}_{name.replace('.', '_')}"


def loha(layer: str, size: tuple[int, int]) -> tuple[dict[str, Any], torch.Tensor]:
    """Tensors of a LoHa layer, and what they add to the weight: (w1a w1b) * (w2a w2b) * alpha / rank."""
    factors = [torch.randn(size[at % 2], 2) if at % 2 == 0 else torch.randn(2, size[1]) for at in range(4)]
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    tensors = {f"{layer}.{name}": factor for name, factor in zip(names, factors, strict=True)}
    delta = (factors[0] @ factors[1]) * (factors[2] @ factors[3]) * (1.0 / 2)
    return {**tensors, f"{layer}.alpha": torch.tensor(1.0)}, delta


def lokr(layer: str, size: tuple[int, int]) -> tuple[dict[str, Any], torch.Tensor]:
    """Tensors of a LoKr layer with whole factors, and what they add: their Kronecker product."""
    left, right = torch.randn(2, 2), torch.randn(size[0] // 2, size[1] // 2)
    tensors = {f"{layer}.lokr_w1": left, f"{layer}.lokr_w2": right, f"{layer}.alpha": torch.tensor(1.0)}
    return tensors, torch.kron(left, right)


@pytest.fixture(scope="module")
def world(benchmark: Benchmark, tmp_path_factory: pytest.TempPathFactory) -> tuple[Benchmark, dict[str, Any]]:
    """The tiny world with a LoHa, a LoKr and one that fits nothing; what the first two add to which weights."""
    root = tmp_path_factory.mktemp("lycoris")
    for name in ("fox", "ink", "wax"):
        shutil.copytree(benchmark.root / "models" / name, root / "models" / name)
    torch.manual_seed(11)
    one, in_unet = loha(flat("lora_unet", LAYER), (16, 16))
    two, in_text = loha(flat("lora_te_text_model", TEXT), (32, 16))
    three, by_lokr = lokr(flat("lora_unet", LAYER), (16, 16))
    odd, _ = loha("lora_unet_down_blocks_7_nowhere", (16, 16))
    files = {"haze": {**one, **two}, "kelp": three, "alien": {**three, **odd}}
    records = [json.loads(r.model_dump_json()) for r in benchmark.catalog if r.id != "owl"]
    for name, tensors in files.items():
        save_file({key: value.contiguous() for key, value in tensors.items()}, root / f"{name}.safetensors")
        records.append(tiny.record(name, root / f"{name}.safetensors", root, "lora", base="fox"))
    adds = {"haze": [("unet", LAYER, in_unet), ("text_encoder", TEXT, in_text)], "kelp": [("unet", LAYER, by_lokr)]}
    return load_benchmark(str(tiny.write_benchmark(root, records))), adds


def merged(world: Benchmark, adds: list[tuple[str, str, torch.Tensor]], weight: float) -> Any:
    """A picture of the base with the sum written into its weights."""
    shelf = Shelf(world)
    pipeline = shelf.take(sha(world, "fox"), None, 1.0)
    for part, layer, delta in adds:
        module = getattr(pipeline, part).get_submodule(layer)
        module.weight.data += delta * weight
    return drawn(shelf, "fox")


@pytest.mark.parametrize("name", ["haze", "kelp"])
@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_pictures_are_those_of_the_sum_of_weights(
    name: str, weight: float, world: tuple[Benchmark, dict[str, Any]]
) -> None:
    benchmark, adds = world
    found, plain = drawn(Shelf(benchmark), "fox", name, weight), drawn(Shelf(benchmark), "fox")
    assert np.abs(found - merged(benchmark, adds[name], weight)).max() < 1e-4
    assert np.abs(found - plain).max() > 1e-3


def test_switching_among_kinds_leaves_no_trace(world: tuple[Benchmark, dict[str, Any]]) -> None:
    benchmark, _ = world
    cases = [("fox", None), ("fox", "haze"), ("fox", "ink"), ("fox", "kelp", 0.5), ("fox", "wax"), ("fox", "haze", 0.5)]
    cold = {case: drawn(Shelf(benchmark), *case) for case in cases}
    warm = Shelf(benchmark)
    for case in (*cases, *reversed(cases)):
        assert np.abs(drawn(warm, *case) - cold[case]).max() < 1e-5, case
    assert warm.loaded == 5


def test_a_layer_that_the_base_does_not_have_is_told(world: tuple[Benchmark, dict[str, Any]]) -> None:
    benchmark, _ = world
    told = (
        r"model 'alien' cannot be loaded: 1 of its 2 layers are not in the base, e.g. lora_unet_down_blocks_7_nowhere"
    )
    with pytest.raises(BenchmarkError, match=told):
        Shelf(benchmark).take(sha(benchmark, "fox"), sha(benchmark, "alien"), 1.0)
