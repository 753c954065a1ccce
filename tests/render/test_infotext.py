from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chatgenbench.benchmark import Benchmark
from chatgenbench.render import Pool, request_for
from chatgenbench.render.infotext import Infotext, describe, parse, write
from tests.render.conftest import PlanOf

TRICKY = st.sampled_from(
    [
        "Negative prompt: x",
        "Steps: 1, Seed: 2, Size: 3x4",
        '"',
        "\\",
        "\n",
        ", ",
        ": ",
        "<lora:ink:1>",
        "日本",
        "\u2028",
    ]
)
PROMPT = st.lists(st.text(max_size=12) | TRICKY, max_size=6).map("".join)
KEYS = ("Steps", "Sampler", "CFG scale", "Model", "Lora hashes", "Seed")
PARAMETERS = st.lists(PROMPT, min_size=6, max_size=6).map(lambda values: dict(zip(KEYS, values, strict=True)))


@given(PROMPT, PROMPT, PARAMETERS)
def test_everything_reads_back_as_written(prompt: str, negative: str, parameters: dict[str, str]) -> None:
    info = Infotext(prompt, negative, parameters)
    assert parse(write(info)) == info


@given(PROMPT)
def test_any_text_can_be_read(text: str) -> None:
    assert isinstance(parse(text), Infotext)


def test_plain_prompts_look_as_other_tools_write_them() -> None:
    parameters = {"Steps": "20", "Sampler": "Euler a", "CFG scale": "7", "Lora hashes": "ink: ab, wax: cd"}
    assert write(Infotext("a fox,\nred", "blurry", parameters)) == (
        "a fox,\nred\nNegative prompt: blurry\n"
        'Steps: 20, Sampler: Euler a, CFG scale: 7, Lora hashes: "ink: ab, wax: cd"'
    )


def test_a1111_text_is_understood() -> None:
    info = parse(
        "masterpiece, (fox:1.2)\nin snow\nNegative prompt: lowres,\nbad hands\n"
        "Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 398648148753014, Size: 512x768, "
        'Model hash: 6ce0161689, Model: v1-5, Lora hashes: "a: 12, b: 34", Version: v1.9.4'
    )
    assert info.prompt == "masterpiece, (fox:1.2)\nin snow"
    assert info.negative_prompt == "lowres,\nbad hands"
    assert info.parameters["Schedule type"] == "Karras"
    assert info.parameters["Lora hashes"] == "a: 12, b: 34"
    assert info.parameters["Size"] == "512x768"


def test_text_without_parameters_is_all_prompt() -> None:
    assert parse("note: a fox\nat night: blue") == Infotext("note: a fox\nat night: blue")


def test_a_picture_carries_its_parameters(benchmark: Benchmark, plan: PlanOf, pool: Pool) -> None:
    wished = plan("ink", 'ein "Fuchs", 狐\nzwei', "böse, schlecht", clip_skip=2, lora_weight=0.75)
    request, _ = request_for(wished, benchmark, 0, "engine/1 cpu")
    info = describe(request, benchmark.catalog.get("fox"), benchmark.catalog.get("ink"))
    pool.put(request.digest, Image.new("RGB", (32, 32)), write(info))
    read = parse(pool.read(request.digest).info["parameters"])
    assert read == info
    assert read.prompt == wished.prompt
    ink = benchmark.catalog.get("ink").sha256[:10]
    expected = {"Steps": "3", "Clip skip": "2", "Lora hashes": f"ink: {ink}", "Lora weight": "0.75", "Size": "32x32"}
    assert expected.items() <= dict(read.parameters).items()
