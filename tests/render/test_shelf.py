from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.errors import BenchmarkError
from chatgenbench.render.checkpoints import Shelf
from chatgenbench.render.weights import parameters_in
from tests.render import tiny


def sha(benchmark: Benchmark, name: str) -> str:
    return benchmark.catalog.get(name).sha256


def drawn(shelf: Shelf, base: str, lora: str | None = None, weight: float = 1.0) -> np.ndarray[Any, Any]:
    find = shelf.benchmark.catalog.get
    pipeline = shelf.take(find(base).sha256, find(lora).sha256 if lora else None, weight)
    generator = torch.Generator().manual_seed(5)
    options = {"num_inference_steps": 2, "width": 32, "height": 32, "output_type": "np"}
    return np.asarray(pipeline("a red fox", generator=generator, **options).images[0])


def test_switching_loras_leaves_no_trace(benchmark: Benchmark) -> None:
    cold = {case: drawn(Shelf(benchmark), *case) for case in (("fox", None), ("fox", "ink"), ("fox", "wax", 0.5))}
    warm = Shelf(benchmark)
    order = [("fox", None), ("fox", "ink"), ("fox", "wax", 0.5), ("fox", None), ("fox", "ink"), ("fox", "wax", 0.5)]
    for case in order:
        assert np.array_equal(drawn(warm, *case), cold[case]), case
    assert warm.loaded == 3
    assert np.abs(cold["fox", None] - cold["fox", "ink"]).max() > 0.01
    assert np.abs(cold["fox", None] - cold["fox", "wax", 0.5]).max() > 0.01


def test_a_loras_weight_scales_it_down_to_nothing(benchmark: Benchmark) -> None:
    shelf = Shelf(benchmark)
    plain, full, none = drawn(shelf, "fox"), drawn(shelf, "fox", "ink"), drawn(shelf, "fox", "ink", 0.0)
    half = drawn(shelf, "fox", "ink", 0.5)
    assert np.abs(none - plain).max() < 1e-5
    assert np.abs(half - plain).max() > 1e-3
    assert np.abs(half - full).max() > 1e-3


def test_a_lora_in_the_weights_draws_as_beside_them_and_comes_out_without_a_trace(benchmark: Benchmark) -> None:
    from diffusers import StableDiffusionPipeline
    from peft.tuners.tuners_utils import BaseTunerLayer

    plain = StableDiffusionPipeline.from_pretrained(str(benchmark.root / "models/fox"), local_files_only=True)
    own = {name: value.clone() for name, value in plain.unet.state_dict().items()}
    for name in ("ink", "wax"):
        file = benchmark.root / benchmark.catalog.get(name).files["lora"]
        plain.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=name)
    shelf = Shelf(benchmark)
    for name, weight in (("ink", 1.0), ("wax", 0.7), ("ink", 0.4)):
        plain.set_adapters([name], [weight])
        options = {"num_inference_steps": 2, "width": 32, "height": 32, "output_type": "np"}
        beside = plain("a red fox", generator=torch.Generator().manual_seed(5), **options).images[0]
        assert np.abs(drawn(shelf, "fox", name, weight) - beside).max() < 1e-4
    unet = shelf.take(sha(benchmark, "fox"), None, 1.0).unet
    assert not any(isinstance(module, BaseTunerLayer) for module in unet.modules())
    assert all(torch.equal(value, own[name]) for name, value in unet.state_dict().items())


def test_a_single_file_holds_the_same_model_as_its_folder(benchmark: Benchmark) -> None:
    from diffusers import StableDiffusionPipeline

    folder = StableDiffusionPipeline.from_pretrained(str(benchmark.root / "owl-source"), local_files_only=True)
    file = Shelf(benchmark).take(sha(benchmark, "owl"), None, 1.0)
    for part in ("unet", "vae", "text_encoder"):
        expected, found = (getattr(p, part).state_dict() for p in (folder, file))
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert file.unet.dtype == torch.float32
    assert file.scheduler.config["prediction_type"] == "v_prediction"


def test_the_least_recently_used_base_goes_first(benchmark: Benchmark) -> None:
    size = 4 * parameters_in(benchmark.root / "models/fox")
    fox, owl = sha(benchmark, "fox"), sha(benchmark, "owl")
    roomy, tight = Shelf(benchmark, limit=3 * size), Shelf(benchmark, limit=size)
    for shelf in (roomy, tight):
        for base in (fox, owl, fox):
            shelf.take(base, None, 1.0)
    assert (roomy.loaded, tight.loaded) == (2, 3)


def test_loras_of_a_tight_base_make_way_for_each_other(benchmark: Benchmark) -> None:
    shelf = Shelf(benchmark, limit=4 * parameters_in(benchmark.root / "models/fox"))
    first = drawn(shelf, "fox", "ink")
    drawn(shelf, "fox", "wax")
    assert np.array_equal(drawn(shelf, "fox", "ink"), first)
    assert shelf.loaded == 4


def copied(benchmark: Benchmark, root: Path) -> Path:
    shutil.copytree(benchmark.root, root, dirs_exist_ok=True)
    return root


def test_weights_that_are_not_the_catalogs_are_refused(benchmark: Benchmark, tmp_path: Path) -> None:
    root = copied(benchmark, tmp_path)
    lora = root / "models/ink/pytorch_lora_weights.safetensors"
    lora.write_bytes((root / "models/wax/pytorch_lora_weights.safetensors").read_bytes())
    shelf = Shelf(load_benchmark(str(root)))
    shelf.take(sha(benchmark, "fox"), sha(benchmark, "wax"), 1.0)
    for _ in range(2):
        with pytest.raises(BenchmarkError, match="is not the file that the catalog describes"):
            shelf.take(sha(benchmark, "fox"), sha(benchmark, "ink"), 1.0)
    assert np.array_equal(drawn(shelf, "fox"), drawn(Shelf(benchmark), "fox"))


@pytest.mark.parametrize(
    ("model", "damage", "message"),
    [
        ("owl", lambda r: r["files"].pop("config"), "model 'owl' cannot be loaded: .*expected shape"),
        ("owl", lambda r: r["files"].update(config="models/none"), "model 'owl' cannot be loaded: .*model_index.json"),
        ("fox", lambda r: r["files"].update(diffusers="models/none"), "are missing: fetch the benchmark again"),
    ],
)
def test_a_broken_catalog_is_told_in_one_line(
    model: str, damage: Any, message: str, benchmark: Benchmark, tmp_path: Path
) -> None:
    records = [json.loads(record.model_dump_json()) for record in benchmark.catalog]
    damage(next(record for record in records if record["id"] == model))
    root = tiny.write_benchmark(copied(benchmark, tmp_path), records)
    with pytest.raises(BenchmarkError, match=message):
        Shelf(load_benchmark(str(root))).take(sha(benchmark, model), None, 1.0)


def test_a_lora_that_fits_nothing_is_refused(benchmark: Benchmark, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    root = copied(benchmark, tmp_path)
    path = root / "models/alien.safetensors"
    save_file({"unet.nowhere.lora_A.weight": torch.ones(4, 16), "unet.nowhere.lora_B.weight": torch.ones(16, 4)}, path)
    records = [json.loads(record.model_dump_json()) for record in benchmark.catalog]
    alien = tiny.record("alien", path, root, "lora", base="fox")
    broken = load_benchmark(str(tiny.write_benchmark(root, [*records, alien])))
    with pytest.raises(BenchmarkError, match="model 'alien' cannot be loaded"):
        Shelf(broken).take(sha(broken, "fox"), sha(broken, "alien"), 1.0)
