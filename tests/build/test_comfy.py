"""ComfyUI graphs: the ways people build them, and the ways they break."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgenbench.build import comfy, metadata
from chatgenbench.build.records import Generation, Resource


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def simple() -> dict[str, Any]:
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="sub\\dream.safetensors"),
        "2": node("CLIPSetLastLayer", clip=["1", 1], stop_at_clip_layer=-2),
        "3": node("CLIPTextEncode", text="a fox", clip=["2", 0]),
        "4": node("CLIPTextEncode", text="ugly", clip=["2", 0]),
        "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
        "6": node(
            "KSampler", seed=2**60, steps=25, cfg=6.5, sampler_name="dpmpp_2m", scheduler="karras", denoise=1.0,
            model=["1", 0], positive=["3", 0], negative=["4", 0], latent_image=["5", 0],
        ),
        "7": node("VAEDecode", samples=["6", 0], vae=["1", 2]),
        "8": node("SaveImage", images=["7", 0]),
    }  # fmt: skip


def read(graph: Any) -> Generation:
    found = comfy.read(graph)
    assert isinstance(found, Generation), found
    return found


def test_plain_graph() -> None:
    assert read(simple()) == Generation(
        prompt="a fox", negative_prompt="ugly", sampler="DPM++ 2M Karras", steps=25, cfg_scale=6.5, width=512,
        height=768, seed=2**60, clip_skip=2, resources=(Resource(kind="checkpoint", name="dream"),), tool="comfyui",
    )  # fmt: skip


def test_json_with_nan_and_the_pair_of_prompt_and_workflow() -> None:
    text = json.dumps(
        {"prompt": {**simple(), "9": {"is_changed": float("nan"), **node("X")}}, "workflow": {"nodes": []}}
    )
    assert "NaN" in text
    assert read(text) == read(simple())
    assert read({"prompt": json.dumps(simple())}) == read(simple())


def test_loras_of_loaders_and_stacks() -> None:
    graph = simple()
    graph["10"] = node("LoraLoader", lora_name="a.safetensors", strength_model=0.7, strength_clip=1, model=["1", 0])
    graph["11"] = node("LoraLoaderModelOnly", lora_name="b.safetensors", strength_model=0.5, model=["10", 0])
    graph["12"] = node(
        "Power Lora Loader (rgthree)", model=["11", 0],
        lora_1={"on": True, "lora": "c.safetensors", "strength": 0.3}, lora_2={"on": False, "lora": "d", "strength": 1},
    )  # fmt: skip
    graph["13"] = node(
        "CR LoRA Stack", switch_1="On", lora_name_1="e", model_weight_1=0.2, switch_2="Off", lora_name_2="f"
    )
    graph["14"] = node("Apply", model=["12", 0], lora_stack=["13", 0])
    graph["6"]["inputs"]["model"] = ["14", 0]
    loras = [(r.name, r.weight) for r in read(graph).resources if r.kind == "lora"]
    assert sorted(loras) == [("a", 0.7), ("b", 0.5), ("c", 0.3), ("e", 0.2)]


def test_texts_and_numbers_behind_links() -> None:
    graph = simple()
    graph["20"] = node("PrimitiveStringMultiline", value="a fox at night")
    graph["21"] = node("StringConcatenate", string_a=["20", 0], string_b="4k", delimiter=", ")
    graph["22"] = node("Seed (rgthree)", seed=99)
    graph["23"] = node("INTConstant", value=640)
    graph["3"]["inputs"]["text"] = ["21", 0]
    graph["6"]["inputs"]["seed"] = ["22", 0]
    graph["5"]["inputs"]["width"] = ["23", 0]
    found = read(graph)
    assert (found.prompt, found.seed, found.width) == ("a fox at night, 4k", 99, 640)


def test_flux_with_separate_parts() -> None:
    found = read(
        {
            "1": node("UNETLoader", unet_name="flux1-dev.safetensors"),
            "2": node("CLIPTextEncodeFlux", clip_l="fox", t5xxl="a fox in the snow", guidance=3.0),
            "3": node("FluxGuidance", conditioning=["2", 0], guidance=3.5),
            "4": node("BasicGuider", model=["1", 0], conditioning=["3", 0]),
            "5": node("RandomNoise", noise_seed=12),
            "6": node("KSamplerSelect", sampler_name="euler"),
            "7": node("BasicScheduler", scheduler="simple", steps=28, denoise=1, model=["1", 0]),
            "8": node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1),
            "9": node(
                "SamplerCustomAdvanced", noise=["5", 0], guider=["4", 0], sampler=["6", 0], sigmas=["7", 0],
                latent_image=["8", 0],
            ),
            "10": node("SaveImage", images=["9", 0]),
        }
    )  # fmt: skip
    assert (found.prompt, found.negative_prompt) == ("a fox in the snow", "")
    assert (found.sampler, found.steps, found.cfg_scale, found.seed) == ("Euler Simple", 28, 3.5, 12)
    assert found.resources == (Resource(kind="checkpoint", name="flux1-dev"),)


def test_custom_sampler_with_cfg_guider_and_karras_sigmas() -> None:
    graph = simple()
    graph["30"] = node("KarrasScheduler", steps=18, sigma_max=14, sigma_min=0.03, rho=7)
    graph["31"] = node("KSamplerSelect", sampler_name="euler_ancestral")
    graph["6"] = node(
        "SamplerCustom", noise_seed=4, cfg=5, model=["1", 0], positive=["3", 0], negative=["4", 0], sampler=["31", 0],
        sigmas=["30", 0], latent_image=["5", 0],
    )  # fmt: skip
    found = read(graph)
    assert (found.sampler, found.steps, found.cfg_scale, found.seed) == ("Euler a Karras", 18, 5.0, 4)


def test_first_pass_of_hires_counts() -> None:
    graph = simple()
    graph["40"] = node("LatentUpscale", samples=["6", 0], width=1024, height=1536)
    graph["41"] = node(
        "KSampler", seed=1, steps=9, cfg=4, sampler_name="euler", scheduler="normal", denoise=0.5, model=["1", 0],
        positive=["3", 0], negative=["4", 0], latent_image=["40", 0],
    )  # fmt: skip
    graph["7"]["inputs"]["samples"] = ["41", 0]
    found = read(graph)
    assert (found.steps, found.width, found.height) == (25, 512, 768)


def test_combined_and_emptied_conditionings() -> None:
    graph = simple()
    graph["50"] = node("CLIPTextEncode", text="snow", clip=["2", 0])
    graph["51"] = node("ConditioningCombine", conditioning_1=["3", 0], conditioning_2=["50", 0])
    graph["52"] = node("ConditioningZeroOut", conditioning=["3", 0])
    graph["6"]["inputs"] |= {"positive": ["51", 0], "negative": ["52", 0]}
    found = read(graph)
    assert (found.prompt, found.negative_prompt) == ("a fox AND snow", "")


def changed(key: str, **inputs: Any) -> dict[str, Any]:
    graph = simple()
    graph[key]["inputs"] |= inputs
    return graph


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in simple().items() if name != key}


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (None, "comfy-unreadable"),
        ("{", "comfy-unreadable"),
        ("[" * 100_000, "comfy-unreadable"),
        ({"1": {"class_type": 4}}, "comfy-unreadable"),
        ({"nodes": [], "links": []}, "comfy-workflow-only"),
        (without("6"), "comfy-no-first-pass"),
        (without("5"), "comfy-no-first-pass"),
        (changed("6", latent_image=["7", 0]), "comfy-no-first-pass"),
        (without("3"), "comfy-no-prompt"),
        (changed("3", text=""), "comfy-no-prompt"),
        (changed("3", text=["3", 0]), "comfy-no-prompt"),
        (changed("6", positive=["6", 0]), "comfy-no-prompt"),
        ({**simple(), "60": simple()["6"], "61": node("SaveImage", images=["60", 0])}, "comfy-several-samplers"),
    ],
)
def test_broken_graphs_have_reasons(graph: Any, reason: str) -> None:
    assert comfy.read(graph) == reason
    assert reason in comfy.REASONS


def test_wide_circles_end_soon() -> None:
    graph = simple()
    for at in range(200):
        following = [f"c{(at + 1) % 200}", 0]
        graph[f"c{at}"] = node("ConditioningCombine", conditioning_1=following, conditioning_2=following)
    graph["6"]["inputs"]["positive"] = ["c0", 0]
    assert comfy.read(graph) == "comfy-no-prompt"


def test_what_was_asked_of_the_hub_counts_before_its_graph() -> None:
    asked = {"prompt": "a hare", "steps": 30, "cfgScale": 4, "sampler": "Euler a", "seed": 3, "width": 832,
             "height": 1216, "resources": [{"modelVersionId": 25, "strength": 1}]}  # fmt: skip
    found = read({**simple(), "extraMetadata": json.dumps(asked)})
    assert (found.prompt, found.steps, found.width, found.tool) == ("a hare", 30, 832, "civitai")
    assert found.resources == (Resource(kind="other", version=25),)
    assert read({**simple(), "extraMetadata": "{"}).prompt == "a fox"


def test_flat_fields_of_meta_are_filled_from_the_graph() -> None:
    meta = {"prompt": "typed", "steps": 11, "comfy": json.dumps({"prompt": simple(), "workflow": {}})}
    found = metadata.read(meta, 2048, 2048)
    assert isinstance(found, Generation)
    assert (found.prompt, found.steps, found.sampler, found.width) == ("typed", 11, "DPM++ 2M Karras", 512)
    alone = metadata.read({"comfy": json.dumps({"prompt": simple()})}, 2048, 2048)
    assert alone == read(simple())


values = (
    st.none()
    | st.integers()
    | st.text(max_size=8)
    | st.tuples(st.sampled_from("123456789"), st.integers(0, 2)).map(list)
)
graphs = st.dictionaries(
    st.sampled_from("123456789"),
    st.fixed_dictionaries(
        {
            "class_type": st.sampled_from(
                ["KSampler", "CLIPTextEncode", "EmptyLatentImage", "SaveImage", "LoraLoader",
                 "ConditioningCombine", "X"]
            ),
            "inputs": st.dictionaries(
                st.sampled_from(
                    ["text", "model", "clip", "positive", "negative", "latent_image", "samples", "steps", "cfg",
                     "width", "height", "sampler_name", "seed", "images", "conditioning_1", "conditioning_2",
                     "lora_name"]
                ),
                values,
            ),
        }
    ),
)  # fmt: skip


@given(graphs)
def test_arbitrary_graphs_never_raise(graph: dict[str, Any]) -> None:
    found = comfy.read(graph)
    assert isinstance(found, Generation) or found in comfy.REASONS
