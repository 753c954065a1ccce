from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.errors import BenchmarkError, RenderError, UnknownNameError, UserError, WeightsError
from chatgenbench.render import Pool, draw, request_for
from chatgenbench.render.bases import choices, with_bases
from chatgenbench.render.families import FAMILIES, family_of, variant_of
from chatgenbench.render.resolver import Fetching, Resolver
from chatgenbench.render.singlefile import CONFIGS, clip_tokenizer, described, written
from chatgenbench.schema import Outcome
from tests.render import hosts, tiny, worlds
from tests.render.conftest import PlanOf


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return load_benchmark(str(worlds.build(tmp_path_factory.mktemp("zoo"))))


def test_every_family_draws(zoo: Benchmark, pool: Pool, plan: PlanOf) -> None:
    plans = [
        ("SDXL", plan("lynx", sampler="DPM++ 2M Karras", negative_prompt="blurry", clip_skip=2)),
        ("SDXL LoRA", plan("moss", sampler="DPM++ 2M Karras", negative_prompt="blurry", clip_skip=2)),
        ("SD 3.5", plan("seal", negative_prompt="blurry")),
        ("Flux.1", plan("heron", sampler="Euler", width=40, clip_skip=2)),
    ]
    rows = {row.item: row for row in draw(plans, zoo, pool, seed_of=lambda item: 1)}
    assert {name: (row.outcome, row.reason) for name, row in rows.items()} == {
        name: (Outcome.OK, None) for name, _ in plans
    }
    assert len({row.image_sha256 for row in rows.values()}) == 4
    assert pool.read(str(rows["Flux.1"].picture)).size == (32, 32)
    assert rows["SD 3.5"].approximated == "Euler a: drawn with Euler, as SD 3.5 is a rectified flow"
    assert rows["Flux.1"].approximated == "size 40x32 drawn as 32x32; clip skip 2 has no meaning for this model"


@pytest.mark.parametrize(
    ("base_model", "family"),
    [
        ("SD 1.5", "sd1"), ("SD 2.1 768", "sd2"), ("SDXL 1.0", "sdxl"), ("Pony", "sdxl"), ("Illustrious", "sdxl"),
        ("NoobAI", "sdxl"), ("SDXL Lightning", "sdxl"), ("SD 3.5 Large", "sd3"), ("Flux.1 S", "flux1"),
        (" flux.1 d", "flux1"), ("Kolors", None), ("Pony V7", None), ("Wan Video", None), ("Flux.1 Kontext", None),
        ("", None),
    ],
)  # fmt: skip
def test_base_models_and_their_families(base_model: str, family: str | None) -> None:
    found = family_of(base_model)
    assert (found and found.name) == family


#: Parameters of the published networks.
PARAMETERS = {
    ("sd1", "unet"): 859_520_964, ("sd1", "vae"): 83_653_863, ("sd1", "text_encoder"): 123_060_480,
    ("sd2-768", "text_encoder"): 340_387_840,
    ("sdxl", "unet"): 2_567_463_684, ("sdxl", "text_encoder_2"): 694_659_840,
    ("sd35-medium", "transformer"): 2_243_171_520, ("flux1-dev", "transformer"): 11_901_408_320,
}  # fmt: skip


def test_configurations_are_those_of_the_published_networks() -> None:
    import diffusers
    import torch
    import transformers

    for (variant, part), parameters in PARAMETERS.items():
        about = json.loads((CONFIGS / f"{variant}.json").read_text())
        library, name = about["model_index"][part]
        with torch.device("meta"):
            if library == "diffusers":
                model = getattr(diffusers, name).from_config(about[part])
            else:
                cls = getattr(transformers, name)
                model = cls(cls.config_class(**about[part]))
        assert sum(p.numel() for p in model.parameters()) == parameters, (variant, part)


def test_a_configuration_is_a_folder_that_diffusers_reads(tmp_path: Path) -> None:
    import diffusers
    from transformers import CLIPTokenizer

    for variant, family in (("sd2", FAMILIES["sd2"]), ("sdxl", FAMILIES["sdxl"]), ("flux1-dev", FAMILIES["flux1"])):
        folder = written(variant, family, tmp_path)
        assert written(variant, family, tmp_path) == folder
        index = json.loads((folder / "model_index.json").read_text())
        named = {name for name, value in index.items() if isinstance(value, list) and value[0]}
        there = {entry.name for entry in folder.iterdir() if entry.is_dir()}
        assert named - there == set(family.outside) - {"text_encoder"}
        cls = getattr(diffusers, index["scheduler"][1])
        cls.from_pretrained(str(folder), subfolder="scheduler", local_files_only=True)
        for part in (name for name in there if name.startswith("tokenizer")):
            tokenizer = CLIPTokenizer.from_pretrained(str(folder / part), local_files_only=True)
            expected = 49407 if family.name != "sd2" and part == "tokenizer" else 0
            assert tokenizer("a fox", padding="max_length", max_length=5).input_ids[4] == expected
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


def test_the_tokenizer_is_clips() -> None:
    from open_clip import SimpleTokenizer

    text = "A photo of an astronaut riding a (horse:1.3), 8k — très détaillé"
    expected = SimpleTokenizer()([text])[0].tolist()
    assert clip_tokenizer("!")(text, padding="max_length", max_length=77).input_ids == expected


def test_variants_are_read_from_the_file() -> None:
    def variant(family: str, *tensors: str, base_model: str = "") -> str:
        return variant_of(FAMILIES[family], base_model, tensors)

    assert variant("sd2", base_model="SD 2.1") == "sd2"
    assert variant("sd2", base_model="SD 2.1 768") == "sd2-768"
    assert [variant("sdxl", "x"), variant("sdxl", "x", "v_pred")] == ["sdxl", "sdxl-v"]
    blocks = [f"model.diffusion_model.joint_blocks.{n}.x_block.mlp.fc1.weight" for n in range(38)]
    assert variant("sd3", *blocks) == "sd35-large"
    assert variant("sd3", *blocks[:24]) == "sd3-medium"
    assert variant("sd3", *blocks[:24], "joint_blocks.0.x_block.attn2.qkv.weight") == "sd35-medium"
    assert variant("flux1", "guidance_in.in_layer.weight") == "flux1-dev"
    assert variant("flux1", "img_in.weight") == "flux1-schnell"


def changed(benchmark: Benchmark, root: Path, **changes: dict[str, Any]) -> Benchmark:
    """The benchmark with other fields in the records named."""
    records = [json.loads(r.model_dump_json()) | changes.get(r.id, {}) for r in benchmark.catalog]
    root.mkdir(exist_ok=True)
    return load_benchmark(str(tiny.write_benchmark(root, records)))


def test_other_families_are_refused_by_name(zoo: Benchmark, plan: PlanOf, tmp_path: Path) -> None:
    remote = {"files": {"checkpoint": "civitai:1"}, "base_model": "Kolors"}
    odd = changed(zoo, tmp_path / "a", lynx=remote, moss={"base_model": "Wan Video"})
    with pytest.raises(RenderError, match=r"models of 'Kolors' are not drawn here: only SD 1.x, .* and Flux.1 are"):
        request_for(plan("lynx"), odd, 1, "e")
    odd = changed(zoo, tmp_path / "b", moss={"base_model": "Wan Video"})
    with pytest.raises(RenderError, match="models of 'Wan Video' are not drawn here"):
        request_for(plan("moss"), odd, 1, "e")


def test_a_lora_on_another_family_is_refused(zoo: Benchmark, plan: PlanOf, tmp_path: Path) -> None:
    odd = changed(zoo, tmp_path, moss={"base": "heron"})
    with pytest.raises(BenchmarkError, match=r"LoRA 'moss' is made for SDXL, and its base 'heron' is Flux.1: mend"):
        request_for(plan("moss"), odd, 1, "e")


def test_a_lora_without_a_base_gets_the_most_used_of_its_family(zoo: Benchmark, plan: PlanOf, tmp_path: Path) -> None:
    lost = changed(zoo, tmp_path / "a", moss={"base": ""})
    with pytest.raises(BenchmarkError, match="LoRA 'moss' names no base that the catalog has"):
        request_for(plan("moss"), lost, 1, "e")
    based = with_bases(lost, {})
    assert based.benchmark.catalog.get("moss").base == "lynx"
    assert based.rules["sdxl"].endswith("1 without one on lynx")
    alone = changed(zoo, tmp_path / "b", moss={"base": "gone"}, lynx={"base_model": "Kolors"})
    base = with_bases(alone, {}).benchmark.catalog.base_of(
        alone.catalog.get("moss").model_copy(update={"base": str(FAMILIES["sdxl"].source)})
    )
    assert base.files == {"diffusers": str(FAMILIES["sdxl"].source)}
    assert len(request_for(plan("moss"), with_bases(alone, {}).benchmark, 1, "e")[0].checkpoint) == 64


def test_a_base_of_ones_own_draws_every_lora_of_the_family(zoo: Benchmark) -> None:
    assert with_bases(zoo, {}).benchmark is zoo
    source = f"hf:me/own@{'a' * 40}"
    based = with_bases(zoo, dict(choices([f"SDXL={source}"])))
    assert based.benchmark.catalog.base_of(based.benchmark.catalog.get("moss")).id == source
    assert based.rules["sdxl"] == f"SDXL LoRAs are drawn on {source} (--base)"


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        ("sdxl", "--base 'sdxl': write FAMILY=MODEL"),
        ("sdx=lynx", "unknown family 'sdx': did you mean .*'sdxl'"),
        ("sdxl=lynxx", "unknown model 'lynxx': did you mean 'lynx'"),
        ("sdxl=moss", "it is a LoRA, name a checkpoint"),
        ("sdxl=heron", "it is of Flux.1, not of SDXL"),
        ("sdxl=hf:me/own@main", "is no file of the hub: write hf:OWNER/NAME@COMMIT"),
    ],
)
def test_a_base_that_cannot_be_meant_is_told(pair: str, told: str, zoo: Benchmark) -> None:
    with pytest.raises((UserError, UnknownNameError), match=told):
        with_bases(zoo, dict(choices([pair])))


def test_parts_that_a_file_leaves_out_are_named_offline(zoo: Benchmark, tmp_path: Path) -> None:
    path = tmp_path / "flux.safetensors"
    entries = {"double_blocks.0.img_attn.norm.key_norm.scale": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
    path.write_bytes(hosts.head(entries) + b"0")
    record = zoo.catalog.get("heron").model_copy(update={"files": {"checkpoint": "flux.safetensors"}})
    resolver = Resolver(zoo, Fetching(tmp_path / "weights"))
    told = (
        r"model 'heron' needs text_encoder, text_encoder_2, tokenizer_2, vae of black-forest-labs/FLUX.1-schnell, and "
        r"hf:black-forest-labs/FLUX.1-schnell@\w{40} is not on this machine, and \$HF_HUB_OFFLINE is set"
    )
    with pytest.raises(WeightsError, match=told), described(record, path, resolver, None):
        pass
