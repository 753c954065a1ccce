"""`meta` objects in every spelling seen, and infotext: exact values, and nothing foreign ever raises."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgenbench.build import fields, metadata, resources
from chatgenbench.build.records import Generation, Resource
from chatgenbench.render.infotext import Infotext, write
from chatgenbench.render.samplers import known as known_samplers

RECORDED = Path(__file__).parent.parent / "data" / "civitai"
FLAT = {"prompt": "a fox", "sampler": "Euler a", "cfgScale": 7, "steps": 20, "seed": 5, "Size": "512x768"}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KEYS = [
    "prompt", "negativePrompt", "sampler", "Schedule type", "scheduler", "steps", "cfgScale", "CFG scale", "seed",
    "Size", "width", "height", "clipSkip", "Clip skip", "hashes", "resources", "civitaiResources",
    "additionalResources",
    "Model", "Model hash", "Lora hashes", "AddNet Model 1", "AddNet Weight A 1", "comfy", "versionIds", "models",
    "Script", "workflow", "Denoising strength", "Hires upscale", "Distilled CFG Scale",
]  # fmt: skip


def read(**changes: Any) -> Generation:
    found = metadata.read({**FLAT, **changes}, 1, 1)
    assert isinstance(found, Generation), found
    return found


def test_flat_fields_are_read() -> None:
    found = read(negativePrompt="ugly", clipSkip=2)
    assert (found.prompt, found.negative_prompt, found.sampler) == ("a fox", "ugly", "Euler a")
    assert (found.steps, found.cfg_scale, found.seed, found.clip_skip) == (20, 7.0, 5, 2)
    assert (found.width, found.height) == (512, 768)


@pytest.mark.parametrize(
    ("given_fields", "expected"),
    [
        ({"sampler": "DPM++ 2M", "Schedule type": "Karras"}, "DPM++ 2M Karras"),
        ({"sampler": "DPM++ 2M Karras", "Schedule type": "Karras"}, "DPM++ 2M Karras"),
        ({"sampler": "DPM++ 2M Karras", "Schedule type": "Automatic"}, "DPM++ 2M Karras"),
        ({"sampler": "DPM++ 2M", "Schedule type": "Automatic"}, "DPM++ 2M Karras"),
        ({"sampler": "dpmpp_2m", "scheduler": "karras"}, "DPM++ 2M Karras"),
        ({"sampler": "dpmpp_2m_sde_gpu", "scheduler": "exponential"}, "DPM++ 2M SDE Exponential"),
        ({"sampler": "euler_ancestral", "scheduler": "normal"}, "Euler a"),
        ({"sampler": "ddim", "scheduler": "ddim_uniform"}, "DDIM"),
        ({"sampler": "euler_simple"}, "Euler Simple"),
        ({"sampler": "Euler a", "Sampler sigma": "karras"}, "Euler a Karras"),
        ({"sampler": "Undefined"}, "Undefined"),
        ({"sampler": "euler", "scheduler": "linear_quadratic"}, "euler linear_quadratic"),
        ({"sampler": 7}, None),
    ],
)
def test_sampler_spellings(given_fields: dict[str, Any], expected: str | None) -> None:
    assert read(**given_fields).sampler == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (512, 768)),
        ({"Size": None, "width": 640, "height": "480"}, (640, 480)),
        ({"Size": None}, (1, 1)),
        ({"Size": "0x0"}, (1, 1)),
        ({"Size": None, "Hires upscale": "2", "Denoising strength": "0.5"}, (None, None)),
        ({"Size": None, "workflow": "txt2img-hires"}, (None, None)),
        ({"First pass size": "512x512", "Size": "1024x1024", "Denoising strength": "0.7"}, (512, 512)),
    ],
)
def test_size_is_that_of_the_first_pass(changes: dict[str, Any], expected: tuple[int | None, int | None]) -> None:
    found = read(**changes)
    assert (found.width, found.height) == expected


def test_numbers_come_as_text_and_wrong_types_as_none() -> None:
    found = read(cfgScale="3.5", steps="30", seed="398648148753014")
    assert (found.cfg_scale, found.steps, found.seed) == (3.5, 30, 398648148753014)
    odd = read(cfgScale={"a": 1}, steps=True, seed=math.nan, negativePrompt=["x"], clipSkip="two", Size=[512, 512])
    assert (odd.cfg_scale, odd.steps, odd.seed, odd.negative_prompt, odd.clip_skip) == (None, None, None, "", None)
    assert read(seed=-1).seed is None
    assert read(cfgScale=math.inf).cfg_scale is None


def test_distilled_guidance_is_the_cfg_scale() -> None:
    assert read(cfgScale=1, **{"Distilled CFG Scale": "3.5"}).cfg_scale == 3.5
    assert read(cfgScale=4, **{"Distilled CFG Scale": "3.5"}).cfg_scale == 4


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        (None, "no-meta"),
        ({}, "no-meta"),
        ([], "no-meta"),
        ({"steps": 20}, "no-prompt"),
        ({**FLAT, "prompt": "  "}, "no-prompt"),
        ({**FLAT, "prompt": {"a": 1}}, "no-prompt"),
        ({**FLAT, "Denoising strength": "0.75"}, "image-guided"),
        ({**FLAT, "Mask blur": "4"}, "image-guided"),
        ({**FLAT, "ControlNet 0": "Module: canny"}, "image-guided"),
        ({**FLAT, "Script": "X/Y/Z plot"}, "image-grid"),
        ({"comfy": "{broken"}, "comfy-unreadable"),
    ],
)
def test_reasons(meta: Any, reason: str) -> None:
    assert metadata.read(meta, 512, 512) == reason
    assert reason in metadata.REASONS


def test_every_place_of_resources() -> None:
    found = read(
        prompt="a fox <lora:Detail:0.6:0.3>, <lyco:Glow:1.2> night",
        resources=[
            {"type": "model", "name": "dream", "hash": "AABBCCDDEE"},
            {"type": "lora", "name": "Detail", "weight": None},
            {"type": "upscaler", "name": "4x"},
            {"type": "embed", "name": "EasyNegative", "hash": "c74b4e810b"},
        ],
        hashes={"model": "aabbccddee", "lora:detail": "112233445566", "vae": "0123456789"},
        civitaiResources=[{"type": "lora", "modelVersionId": 77, "weight": 0.4}],
        additionalResources=[{"name": "urn:air:sdxl:lora:civitai:1@88", "strength": 0.9}],
        **{"Model hash": "aabbccddee", "Model": "dream"},
    ).resources
    assert found == (
        Resource(kind="lora", version=77, weight=0.4),
        Resource(kind="checkpoint", name="dream", hash="aabbccddee"),
        Resource(kind="lora", name="Detail", hash="112233445566", weight=0.6),
        Resource(kind="embedding", name="EasyNegative", hash="c74b4e810b"),
        Resource(kind="lora", version=88, weight=0.9),
        Resource(kind="lora", name="Glow", weight=1.2),
        Resource(kind="vae", hash="0123456789"),
    )


def test_recorded_meta_of_additional_networks_and_damaged_keys() -> None:
    body = json.loads((RECORDED / "OwenTruong__civitdl/model_dict-example.da73b561.json").read_bytes())
    metas = [image["meta"] for version in body["modelVersions"] for image in version["images"] if image.get("meta")]
    first = metadata.read(metas[0], 512, 768)
    assert isinstance(first, Generation)
    assert (first.sampler, first.steps, first.width, first.height) == ("DPM++ SDE Karras", 24, 344, 512)
    assert first.resources[1] == Resource(kind="lora", name="figma", hash="dc746a5a4da9", weight=0.85)
    reasons = [found for meta in metas if isinstance(found := metadata.read(meta), str)]
    assert (len(metas), reasons) == (30, ["image-guided"])

    body = json.loads((RECORDED / "invoke-ai__InvokeAI/RepoCivitaiModelMetadata1.json").read_bytes())
    damaged = metadata.read(body["modelVersions"][0]["images"][0]["meta"])
    assert isinstance(damaged, Generation)
    assert Resource(kind="lora", name="sd_xl_turbo_lora_v1-128dim", hash="813ea5fb1c67") in damaged.resources


def recorded(value: Any) -> Iterator[dict[str, Any]]:
    """Every picture in a recorded body."""
    if isinstance(value, dict):
        if "meta" in value and "width" in value:
            yield value
        for inner in value.values():
            yield from recorded(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from recorded(inner)


def test_all_recorded_generation_data_is_read_or_listed_with_its_reason() -> None:
    """The bodies of two clients' recordings: by file, how many pictures were read, and why others were not."""
    found: dict[str, Counter[str]] = {}
    for path in sorted([*RECORDED.glob("OwenTruong__civitdl/*.json"), *RECORDED.glob("invoke-ai__InvokeAI/*.json")]):
        counted = found.setdefault(path.name, Counter())
        for picture in recorded(json.loads(path.read_bytes())):
            got = metadata.read(picture["meta"], picture["width"], picture["height"])
            counted["read" if isinstance(got, Generation) else got] += 1
            if isinstance(got, Generation):
                assert None not in (got.sampler, got.steps, got.cfg_scale, got.width, got.height)
    assert {name: dict(counted) for name, counted in found.items() if counted} == {
        "RepoCivitaiModelMetadata1.json": {"read": 5, "image-grid": 4, "no-meta": 2},
        "RepoCivitaiVersionMetadata1.json": {"read": 3, "image-grid": 2, "no-meta": 2},
        "model_dict-example.da73b561.json": {"read": 29, "image-guided": 1},
        "version_dict-example.c9ddf0ae.json": {"read": 9, "image-guided": 1},
        "version_dict-example.dca0428f.json": {"read": 2},
    }


@pytest.mark.parametrize(
    ("prompt", "bare"),
    [
        ("a fox <lora:x:1>", "a fox"),
        ("<lora:x:1>a fox", "a fox"),
        ("<lora:x:1>, a fox", "a fox"),
        ("a fox, <lora:x:0.7>, night", "a fox, night"),
        ("a fox <lora:x:1> <lora:y:1> at night", "a fox at night"),
        ("a fox,\n<lora:x:1>\nnight", "a fox,\n\nnight"),
        ("<lora:x:1>", ""),
        ("a <b> fox", "a <b> fox"),
        ("1girl , x,, y", "1girl , x,, y"),
    ],
)
def test_prompt_without_tags(prompt: str, bare: str) -> None:
    assert resources.without_tags(prompt) == bare


CIVITAI = (
    "a fox,\nnight\nNegative prompt: ugly\nSteps: 25, Sampler: Euler a, CFG scale: 5, Seed: 1, Size: 1024x1024, "
    "Clip skip: 2, Created Date: 2026-01-04T01:27:21.2717070Z, Civitai resources: "
    '[{"type":"checkpoint","modelVersionId":25,"modelName":"W, [x] \\"y\\""},{"type":"lora","weight":0.8,'
    '"modelVersionId":26}], Civitai metadata: {"a":[1,{"b":"}"}]}'
)


def test_civitai_json_is_cut_out_of_infotext() -> None:
    found = metadata.from_infotext(CIVITAI)
    assert isinstance(found, Generation)
    assert (found.prompt, found.negative_prompt, found.tool) == ("a fox,\nnight", "ugly", "civitai")
    assert (found.steps, found.clip_skip, found.width) == (25, 2, 1024)
    assert [(r.kind, r.version, r.weight) for r in found.resources] == [("checkpoint", 25, 1.0), ("lora", 26, 0.8)]
    torn = metadata.from_infotext(CIVITAI[:-3])
    assert isinstance(torn, Generation)
    assert torn.steps == 25


def test_lora_hashes_of_infotext() -> None:
    found = metadata.from_infotext(
        "a fox <lora:one:0.5>\nSteps: 9, Sampler: Euler, CFG scale: 2, "
        'Lora hashes: "one: aabbccddeeff, two: 001122334455"'
    )
    assert isinstance(found, Generation)
    assert found.resources == (
        Resource(kind="lora", name="one", hash="aabbccddeeff", weight=0.5),
        Resource(kind="lora", name="two", hash="001122334455"),
    )


def test_text_without_parameters_is_no_infotext() -> None:
    assert metadata.from_infotext("just a prompt") == "no-parameters"
    assert metadata.from_infotext("") == "no-parameters"
    assert metadata.from_infotext("x" * 100_000) == "no-parameters"


@pytest.mark.parametrize("unit", [" ", "a ", "a:", 'a: "', "Hashes: {", "<lora:", "-/"])
def test_long_lines_take_no_time(unit: str) -> None:
    text = unit * (59_000 // len(unit))
    began = time.process_time()
    metadata.from_infotext(text)
    metadata.from_infotext("a fox\n" + text + "\nSteps: 1, Sampler: Euler, CFG scale: 1")
    resources.without_tags(text + "<lora:x:1>")
    assert time.process_time() - began < 5


lines = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=60).filter(str.strip)


@given(
    prompt=st.lists(lines, min_size=1, max_size=3).map("\n".join),
    negative=st.lists(lines, max_size=2).map("\n".join),
    sampler=st.sampled_from(known_samplers()),
    steps=st.integers(1, 200),
    cfg=st.floats(0, 30).map(lambda x: round(x, 2)),
    seed=st.integers(0, 2**63),
    size=st.tuples(st.integers(8, 4096), st.integers(8, 4096)),
    model=lines,
)
def test_what_we_write_reads_back(
    prompt: str, negative: str, sampler: str, steps: int, cfg: float, seed: int, size: tuple[int, int], model: str
) -> None:
    parameters = {
        "Steps": str(steps), "Sampler": sampler, "CFG scale": f"{cfg:g}", "Seed": str(seed),
        "Size": f"{size[0]}x{size[1]}", "Model hash": "0123456789", "Model": model,
    }  # fmt: skip
    found = metadata.from_infotext(write(Infotext(prompt, negative, parameters)))
    assert isinstance(found, Generation)
    assert (found.prompt, found.negative_prompt) == (prompt.strip(), negative.strip())
    assert (found.sampler, found.steps, found.seed) == (sampler, steps, seed)
    assert found.cfg_scale == float(f"{cfg:g}")
    assert (found.width, found.height) == size
    assert Resource(kind="checkpoint", name=fields.stem(model), hash="0123456789") in found.resources


@given(st.text(max_size=400) | st.lists(st.sampled_from([*CIVITAI.split(","), "\n", "Hashes: {"])).map(",".join))
def test_arbitrary_text_never_raises(text: str) -> None:
    found = metadata.from_infotext(text)
    assert isinstance(found, Generation) or found in metadata.REASONS


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=12), anything, max_size=12), anything, anything)
def test_arbitrary_meta_never_raises(meta: dict[str, Any], width: Any, height: Any) -> None:
    for value in (meta, {"prompt": "a <lora:x:1>", **meta}, {**FLAT, **meta}):
        found = metadata.read(value, width, height)
        if isinstance(found, Generation):
            Generation.model_validate_json(found.model_dump_json())
        else:
            assert found in metadata.REASONS


@given(anything)
def test_foreign_types_never_raise(value: Any) -> None:
    found = metadata.read(value)
    assert isinstance(found, Generation) or found in metadata.REASONS
