"""Pictures with embedded generation data: every recorded sample is read, or named here with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from sd_parsers import ParserManager

from chatgenbench.build import embedded
from chatgenbench.build.records import Generation, Resource

SAMPLES = Path(__file__).parent.parent / "data" / "civitai" / "enslo__sd-metadata" / "samples"
#: The samples without generation data, and why.
UNREAD = {
    "empty.jpg": "no-metadata",
    "gimp.jpg": "foreign-metadata",  # saved again by an editor, only its comment is left
    "gimp.webp": "foreign-metadata",
}
PROMPT = "general, masterpiece, best quality, amazing quality, \n1girl, solo, hatsune miku,"
NEGATIVE = "bad quality, worst quality, worst detail, sketch, censor,"
#: tool, sampler, steps, CFG scale, size of the first pass, seed, clip skip
EXPECTED: dict[str, tuple[str, str, int, float, int | None, int, int | None]] = {
    "civitai.jpeg": ("civitai", "Euler a", 25, 5.0, 1024, 1311178179, 2),
    "civitai-hires.jpg": ("civitai", "Euler a", 25, 5.0, None, 1311178179, None),
    "civitai-upscale.jpg": ("civitai", "Euler a", 25, 5.0, 1024, 1311178179, 2),
    "comfyui-comfy-image-saver.jpeg": ("comfyui", "Euler Simple", 20, 8.0, 512, 0, None),
    "comfyui-save-image-extended.jpeg": ("comfyui", "Euler a Karras", 20, 5.0, 1024, 813617545434765, 2),
    "comfyui-save-image-extended.webp": ("comfyui", "Euler a Karras", 20, 5.0, 1024, 602057552457611, 2),
    "comfyui-saveimage-plus.jpg": ("comfyui", "Euler a Karras", 20, 5.0, 1024, 577723948579568, 2),
    "forge-classic.jpeg": ("forge", "DPM++ 2M Karras", 20, 6.0, 1024, 2547514258, None),
    "forge-classic.webp": ("forge", "DPM++ 2M Karras", 20, 6.0, 1024, 2630661657, None),
    "forge-classic-hires.jpeg": ("forge", "DPM++ 2M Karras", 20, 6.0, 1024, 3452054396, None),
    "forge-classic-hires.webp": ("forge", "DPM++ 2M Karras", 20, 6.0, 1024, 2991931972, None),
    "forge-neo.jpeg": ("forge", "Euler a", 24, 6.0, 1024, 2417156106, 2),
    "forge-neo.webp": ("forge", "Euler a", 24, 6.0, 1024, 2056443400, 2),
    "reforge.jpeg": ("forge", "DPM++ 2M Karras", 20, 6.0, 1024, 584157617, None),
    "reforge-hires.jpeg": ("forge", "DPM++ 2M Karras", 20, 6.0, 1024, 3494396176, None),
    "reforge-hires.webp": ("forge", "DPM++ 2M Karras", 20, 6.0, 1024, 1010990389, None),
    "sd-next.jpg": ("sd-next", "Euler a Karras", 20, 6.0, 1024, 899700607, None),
    "sd-next-hires.jpg": ("sd-next", "DDIM Exponential", 20, 6.0, 1024, 3970581939, None),
    "sd-webui.jpg": ("a1111", "DPM++ 2M Karras", 20, 5.5, 1024, 3623174757, None),
    "sd-webui.webp": ("a1111", "DPM++ 2M Karras", 20, 5.5, 1024, 1028435836, None),
    "swarmui.jpg": ("swarmui", "Euler a Karras", 20, 7.0, 1024, 697543491, None),
}
FILES = sorted(path for path in SAMPLES.rglob("*.*"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_sample_is_read_or_listed(path: Path) -> None:
    found = embedded.read(path)
    if path.name in UNREAD:
        assert found == UNREAD[path.name]
        return
    assert isinstance(found, Generation), found
    told = (found.tool, found.sampler, found.steps, found.cfg_scale, found.width, found.seed, found.clip_skip)
    assert told == EXPECTED[path.name]
    assert found.height == found.width
    if path.name != "comfyui-comfy-image-saver.jpeg":  # whose saver wrote "unknown" for both
        assert found.prompt.startswith(PROMPT)
        assert found.negative_prompt == NEGATIVE
    assert len(found.resources) == 1


def test_no_sample_is_missing() -> None:
    assert {path.name for path in FILES} == set(EXPECTED) | set(UNREAD)


def test_resources_of_samples() -> None:
    def only(name: str) -> Resource:
        found = embedded.read(next(SAMPLES.rglob(name)))
        assert isinstance(found, Generation)
        return found.resources[0]

    wai = "waiIllustriousSDXL_v160"
    assert only("civitai.jpeg") == Resource(kind="checkpoint", name="WAI-illustrious-SDXL", version=2514310)
    assert only("civitai-hires.jpg") == Resource(kind="other", version=2514310)
    assert only("sd-webui.webp") == Resource(kind="checkpoint", name=wai, hash="45a21ea00a")
    assert only("comfyui-saveimage-plus.jpg") == Resource(kind="checkpoint", name=wai)
    assert only("swarmui.jpg").hash == "22d8cb95b807b0c242576b676a12b07ae6b782b57ae4fe07a07254801b2d5d61"


def test_an_independent_reader_agrees_where_it_reads() -> None:
    parser, agreed = ParserManager(), 0
    pictures = [Image.open(path) for path in FILES]  # all alive at once: the reader caches by id(picture)
    for path, picture in zip(FILES, pictures, strict=True):
        theirs, ours = parser.parse(picture), embedded.read(path)
        picture.close()
        if theirs is None or not theirs.prompts:
            continue
        assert isinstance(ours, Generation), path.name
        assert ours.prompt == theirs.prompts[0].value.strip(), path.name
        assert ours.negative_prompt == theirs.negative_prompts[0].value.strip(), path.name
        sampler = theirs.samplers[0]
        assert (str(ours.seed), str(ours.steps)) == (sampler.parameters["seed"], sampler.parameters["steps"])
        assert {(m.name, m.hash) for m in theirs.models} <= {(r.name, r.hash) for r in ours.resources}
        agreed += 1
    assert agreed == 15


def png(folder: Path, **chunks: str) -> Path:
    info = PngImagePlugin.PngInfo()
    for name, value in chunks.items():
        info.add_itxt(name.replace("_sd", "-sd"), value)
    Image.new("RGB", (8, 8)).save(folder / "x.png", pnginfo=info)
    return folder / "x.png"


INFOTEXT = "a fox\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"
GRAPH = {
    "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox"}},
    "2": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512}},
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "positive": ["1", 0], "latent_image": ["2", 0], "steps": 20, "cfg": 7, "sampler_name": "euler_ancestral",
            "scheduler": "normal", "seed": 1,
        },
    },
    "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}},
}  # fmt: skip
FOOOCUS = {
    "prompt": "a fox", "negative_prompt": "", "base_model": "xl", "base_model_hash": "aabbccddee", "steps": 20,
    "guidance_scale": 7, "sampler": "euler_ancestral", "scheduler": "normal", "seed": "1", "resolution": "(512, 512)",
    "loras": [["detail", 0.5, "112233445566"]],
}  # fmt: skip
NOVELAI = {
    "prompt": "a fox", "uc": "", "steps": 20, "scale": 7, "sampler": "k_euler_ancestral", "seed": 1, "width": 512,
    "height": 512,
}  # fmt: skip
INVOKE = {
    "positive_prompt": "a fox", "negative_prompt": "", "steps": 20, "cfg_scale": 7, "scheduler": "euler_a", "seed": 1,
    "width": 512, "height": 512, "model": {"name": "xl", "hash": "blake3:00"},
    "loras": [{"model": {"name": "detail"}, "weight": 0.5}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("chunks", "tool"),
    [
        ({"parameters": INFOTEXT}, "unknown"),
        ({"prompt": json.dumps(GRAPH), "workflow": "{}"}, "comfyui"),
        ({"workflow": "{}", "parameters": INFOTEXT}, "unknown"),
        ({"parameters": json.dumps(FOOOCUS)}, "fooocus"),
        ({"Comment": json.dumps(NOVELAI), "Software": "NovelAI"}, "novelai"),
        ({"invokeai_metadata": json.dumps(INVOKE)}, "invokeai"),
    ],
)
def test_png_chunks_of_tools(tmp_path: Path, chunks: dict[str, str], tool: str) -> None:
    found = embedded.read(png(tmp_path, **chunks))
    assert isinstance(found, Generation), found
    assert (found.prompt, found.sampler, found.steps, found.cfg_scale) == ("a fox", "Euler a", 20, 7.0)
    assert (found.width, found.height, found.seed, found.tool) == (512, 512, 1, tool)
    loras = [(r.name, r.weight) for r in found.resources if r.kind == "lora"]
    assert loras == ([("detail", 0.5)] if tool in ("fooocus", "invokeai") else [])


@pytest.mark.parametrize(
    "value",
    [
        b"UNICODE\x00" + INFOTEXT.encode("utf-16-be"),
        b"UNICODE\x00" + INFOTEXT.encode("utf-16-le"),
        b"ASCII\x00\x00\x00" + INFOTEXT.encode(),
        b"\x00" * 8 + INFOTEXT.encode(),
        INFOTEXT.encode(),
        INFOTEXT,
    ],
)
def test_user_comments_of_every_code(value: bytes | str) -> None:
    assert embedded.user_comment(value) == INFOTEXT


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "not-a-picture"), (b"<svg/>", "not-a-picture"), (b"\x89PNG\r\n\x1a\n\x00", "not-a-picture")],
)
def test_files_that_are_no_pictures(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "x.png").write_bytes(content)
    assert embedded.read(tmp_path / "x.png") == reason


def test_a_picture_without_text_and_one_with_foreign_text(tmp_path: Path) -> None:
    assert embedded.read(png(tmp_path)) == "no-metadata"
    assert embedded.read(png(tmp_path, Comment="made with love")) == "foreign-metadata"
    assert embedded.read(png(tmp_path, workflow='{"nodes": [], "links": []}')) == "comfy-workflow-only"


KEYS = [
    "prompt", "sui_image_params", "sui_models", "positive_prompt", "uc", "scale", "base_model", "loras", "lora",
    "loraweights", "guidance_scale", "model", "Comment", "extraMetadata", "nodes", "name", "hash", "param", "seed",
    "width", "resolution", "class_type", "inputs", "text", "ckpt_name", "latent_image", "positive",
]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8)
TOOLS: list[dict[str, Any]] = [
    {"sui_image_params": {}}, {"positive_prompt": "a fox"}, {"uc": "", "scale": 5}, {"base_model": "xl",
    "guidance_scale": 7}, {"1": {"class_type": "KSampler", "inputs": {}}}, {},
]  # fmt: skip


@given(st.builds(lambda tool, value: {**tool, **value}, st.sampled_from(TOOLS), OBJECTS))
def test_arbitrary_objects_never_raise(value: dict[str, Any]) -> None:
    found = embedded.from_text(json.dumps(value))
    assert isinstance(found, Generation) or found in embedded.REASONS


@given(st.binary(max_size=200), st.sampled_from([b"UNICODE\x00", b"ASCII\x00\x00\x00", b""]))
def test_arbitrary_comments_never_raise(data: bytes, code: bytes) -> None:
    found = embedded.from_text(embedded.user_comment(code + data))
    assert isinstance(found, Generation) or found in embedded.REASONS
