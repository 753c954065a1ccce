from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.errors import BenchmarkError
from chatgenbench.render import Pool, draw, request_for
from chatgenbench.schema import Outcome
from tests.render import hosts, tiny
from tests.render.conftest import PlanOf


def with_extras(benchmark: Benchmark, root: Path) -> Benchmark:
    """The tiny world, and `fox` again as three more models: with owl's VAE (a folder, a file) and with an embedding."""
    for name in ("fox", "ink", "wax", "owl-config"):
        shutil.copytree(benchmark.root / "models" / name, root / "models" / name)
    (root / "models/owl.safetensors").write_bytes((benchmark.root / "models/owl.safetensors").read_bytes())
    shutil.copytree(benchmark.root / "owl-source/vae", root / "vae")
    whole = load_file(root / "models/owl.safetensors")
    vae = {key.removeprefix("first_stage_model."): value for key, value in whole.items() if key.startswith("first")}
    save_file(vae, root / "vae.safetensors")
    torch.manual_seed(5)
    save_file({"emb_params": torch.randn(2, tiny.WIDTH) * 3}, root / "sunny.safetensors")
    records = [json.loads(record.model_dump_json()) for record in benchmark.catalog]
    fox = next(record for record in records if record["id"] == "fox")
    for name, extra, path in (
        ("vaefolder", "vae", "vae"), ("vaefile", "vae", "vae.safetensors"),
        ("sunny", "embedding:sunny-v7", "sunny.safetensors"),
    ):  # fmt: skip
        file = root / path if (root / path).is_file() else root / path / "diffusion_pytorch_model.safetensors"
        sha256 = hosts.sha256(file.read_bytes()) if (root / path).is_file() else tiny.weights_digest(root / path)
        files = fox["files"] | {extra: f"{path}#sha256={sha256}"}
        records.append(fox | {"id": name, "name": name, "file_stem": name, "files": files})
    return load_benchmark(str(tiny.write_benchmark(root, records)))


def test_a_vae_and_an_embedding_change_pictures_and_their_names(
    benchmark: Benchmark, pool: Pool, plan: PlanOf, tmp_path: Path
) -> None:
    world = with_extras(benchmark, tmp_path / "world")
    plans = [(name, plan(name, "sunny-v7 hills")) for name in ("fox", "vaefolder", "vaefile", "sunny")]
    rows = {row.item: row for row in draw(plans, world, pool, seed_of=lambda item: 1)}
    assert {name: row.reason for name, row in rows.items()} == dict.fromkeys(rows)
    assert len({row.picture for row in rows.values()}) == 4
    assert rows["vaefolder"].image_sha256 != rows["fox"].image_sha256
    assert rows["sunny"].image_sha256 != rows["fox"].image_sha256
    folder, file = (pool.read(str(rows[name].picture)) for name in ("vaefolder", "vaefile"))
    assert folder.tobytes() == file.tobytes()


def test_another_file_than_the_catalog_says_is_refused(
    benchmark: Benchmark, pool: Pool, plan: PlanOf, tmp_path: Path
) -> None:
    world = with_extras(benchmark, tmp_path / "world")
    save_file({"emb_params": torch.zeros(2, tiny.WIDTH)}, world.root / "sunny.safetensors")
    row = next(draw([("r", plan("sunny"))], world, pool, seed_of=lambda item: 1))
    assert row.outcome is Outcome.INFRA_FAILED
    assert "sunny.safetensors is not the file that the catalog describes" in str(row.reason)


def test_extras_need_a_sha256(benchmark: Benchmark, plan: PlanOf) -> None:
    record = benchmark.catalog.get("fox")
    loose = record.model_copy(update={"files": record.files | {"vae": "vae.safetensors"}})
    benchmark.catalog.records["fox"] = loose
    try:
        with pytest.raises(BenchmarkError, match="'vae' of model 'fox' has no sha256: add #sha256="):
            request_for(plan("fox"), benchmark, 1, "e")
    finally:
        benchmark.catalog.records["fox"] = record
