"""ChatGen-Base: its card is read, its pictures are cut as InternVL2's, and both layouts of a checkpoint answer.

The published weights are not here.  A tiny InternVL of transformers' own classes stands for their architecture; a
repository with code of its own, written for this test, keeps the `chat` contract that the published ones document.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import PlanError, UserError
from chatgenbench.schema import Failure, FreestyleInput, Message, Plan
from chatgenbench.systems import ask, resolve
from chatgenbench.systems.chatgen import ChatGen
from chatgenbench.systems.chatgen.card import instructions
from chatgenbench.systems.chatgen.tiles import grid, tiles

CARD = '''# A model
```bash
pip install something
```
```python
import torch
sys_singlemodal = """You write prompts.
Answer with a plan."""
sys_multimodal = 'You see pictures.'
path = "somewhere"
```
'''


@pytest.mark.parametrize("broken", ["", "model = AutoModel(...\n"])
def test_instructions_come_from_the_cards_code_even_where_it_is_no_whole_python(tmp_path: Path, broken: str) -> None:
    (tmp_path / "README.md").write_text(CARD.replace("path = ", broken + "path = "))
    assert instructions(tmp_path) == {
        "sys_singlemodal": "You write prompts.\nAnswer with a plan.", "sys_multimodal": "You see pictures.",
    }  # fmt: skip


def test_a_card_without_instructions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no readable README\.md"):
        instructions(tmp_path)
    (tmp_path / "README.md").write_text("```python\nsys_singlemodal = 'x'\n```\n")
    with pytest.raises(UserError, match="states no sys_multimodal"):
        instructions(tmp_path)


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_a_grid_is_as_near_in_shape_as_any(width: int, height: int) -> None:
    columns, rows = grid(width, height)
    assert 1 <= columns * rows <= 12
    off = abs(width / height - columns / rows)
    assert all(
        off <= abs(width / height - c / r) for c in range(1, 13) for r in range(1, 13) if c * r <= 12
    )  # fmt: skip


def test_grids_of_known_shapes() -> None:
    assert grid(448, 448) == (1, 1)
    assert grid(896, 448) == (2, 1)
    assert grid(300, 900) == (1, 3)
    assert grid(2000, 2000) == (3, 3)


def test_tiles_are_the_picture_in_reading_order_and_then_the_whole(tmp_path: Path) -> None:
    left, right = Image.new("RGB", (448, 448), (255, 0, 0)), Image.new("RGB", (448, 448), (0, 0, 255))
    both = Image.new("RGB", (896, 448))
    both.paste(left, (0, 0))
    both.paste(right, (448, 0))
    both.save(tmp_path / "both.png")
    found = tiles(tmp_path / "both.png")
    assert found.shape == (3, 3, 448, 448)
    red = (1 - 0.485) / 0.229
    np.testing.assert_allclose(found[0, 0, 200, 200].item(), red, rtol=1e-5)
    np.testing.assert_allclose(found[1, 0, 200, 200].item(), -0.485 / 0.229, rtol=1e-5)
    np.testing.assert_allclose(found[2, 0, 200, 50].item(), red, rtol=1e-5)
    left.save(tmp_path / "one.png")
    assert tiles(tmp_path / "one.png").shape == (1, 3, 448, 448)
    (tmp_path / "no.png").write_text("no picture")
    with pytest.raises(PlanError, match=r"no\.png cannot be read"):
        tiles(tmp_path / "no.png")


CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel


class EchoConfig(PretrainedConfig):
    model_type = "internvl_chat"
    force_image_size = 448


class EchoModel(PreTrainedModel):
    config_class = EchoConfig

    def __init__(self, config):
        super().__init__(config)
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.post_init()

    def chat(self, tokenizer, pixel_values, question, generation_config, history=None, num_patches_list=None):
        assert generation_config["do_sample"] and generation_config["max_new_tokens"] == 1024
        count = 0 if pixel_values is None else pixel_values.shape[0]
        assert count == sum(num_patches_list or [])
        turns = len(history or [])
        mark = "<image>" in question
        return (f"Prompt: {turns} turns, {count} tiles, {mark}, {question.splitlines()[-1][:20]}\\n"
                "Model: glossyToy_v3. Shiny toys.\\n"
                "Arguments: {'sampler': 'Euler a', 'steps': 20, 'cfg_scale': 7, 'width': '64', 'height': '64'}")
"""


@pytest.fixture
def published(tmp_path: Path) -> Path:
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "README.md").write_text(CARD)
    (folder / "modeling_echo.py").write_text(CODE)
    auto = {"AutoConfig": "modeling_echo.EchoConfig", "AutoModel": "modeling_echo.EchoModel"}
    config = {"model_type": "internvl_chat", "architectures": ["EchoModel"], "auto_map": auto}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"scale": torch.ones(1)}, str(folder / "model.safetensors"), {"format": "pt"})
    words = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(str(folder))
    return folder


def chats(benchmark: Benchmark) -> list[FreestyleInput]:
    return [
        FreestyleInput(id="a", kind="single", messages=(Message(text="a shiny cat"),)),
        FreestyleInput(
            id="b", kind="history",
            messages=(Message(text="a cat"), Message(role="assistant", text="which?"), Message(text="a shiny one")),
        ),
        FreestyleInput(id="c", kind="multimodal", messages=(Message(text="like this", images=("ref.png",)),)),
        FreestyleInput(id="d", kind="multimodal", messages=(Message(text="like that", images=("gone.png",)),)),
    ]  # fmt: skip


def test_the_published_layout_answers_once_its_code_is_trusted(
    published: Path, benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Image.new("RGB", (896, 448)).save(benchmark.root / "ref.png")
    system = ChatGen(str(published), benchmark, 0)
    monkeypatch.delenv("CHATGENBENCH_TRUST_REMOTE_CODE", raising=False)
    with pytest.raises(UserError, match="CHATGENBENCH_TRUST_REMOTE_CODE=1"):
        system.prepare(benchmark.catalog, benchmark.train)
    monkeypatch.setenv("CHATGENBENCH_TRUST_REMOTE_CODE", "1")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    system.prepare(benchmark.catalog, benchmark.train)
    found = list(ask(system, chats(benchmark), benchmark.catalog, 4))
    told = [answer.prompt if isinstance(answer, Plan) else answer.reason for _, answer, _ in found]
    assert told[:3] == [
        "0 turns, 0 tiles, False, a shiny cat", "1 turns, 0 tiles, False, a shiny one",
        "0 turns, 3 tiles, True, like this",
    ]  # fmt: skip
    assert isinstance(found[3][1], Failure)
    assert "gone.png cannot be read" in told[3]
    assert all(isinstance(answer, Plan) and answer.model == "glossyToy_v3" for _, answer, _ in found[:3])
    assert all((spent.costs.completion_tokens or 0) > 20 for _, _, spent in found[:3])


def test_transformers_own_layout_answers_with_a_tiny_model_of_the_same_architecture(
    tmp_path: Path, benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLProcessor,
        InternVLVideoProcessor,
        PreTrainedTokenizerFast,
    )

    from chatgenbench.systems.chatgen import models as runners

    monkeypatch.setattr(runners, "MAX_NEW_TOKENS", 6)
    special = [
        "<unk>",
        "</s>",
        "<img>",
        "</img>",
        "<IMG_CONTEXT>",
        "<video>",
        "user",
        "assistant",
        "cat",
        "shiny",
        "\n",
    ]
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(special)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {
        "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", eos_token="</s>", pad_token="</s>", extra_special_tokens=named
    )
    template = (
        "{% for m in messages %}{{ m.role }} {% for c in m.content %}{% if c.type == 'image' %}<IMG_CONTEXT> "
        "{% else %}{{ c.text }} {% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %}assistant {% endif %}"
    )
    size = {"height": 28, "width": 28}
    processor = InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=size), video_processor=InternVLVideoProcessor(size=size),
        tokenizer=tokenizer, image_seq_length=1, chat_template=template,
    )  # fmt: skip
    torch.manual_seed(0)
    config = InternVLConfig(
        vision_config={
            "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
            "image_size": [28, 28], "patch_size": [14, 14],
        },
        text_config={
            "model_type": "qwen2", "vocab_size": len(special), "hidden_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 16,
        },
        image_token_id=4, image_seq_length=1,
    )  # fmt: skip
    folder = tmp_path / "native"
    InternVLForConditionalGeneration(config).save_pretrained(str(folder))
    processor.save_pretrained(str(folder))
    (folder / "README.md").write_text(CARD)
    Image.new("RGB", (60, 40)).save(benchmark.root / "ref.png")
    system = ChatGen(str(folder), benchmark, 0)
    system.prepare(benchmark.catalog, benchmark.train)
    first = list(ask(system, chats(benchmark)[:3], benchmark.catalog, 3))
    again = list(ask(system, chats(benchmark)[:3], benchmark.catalog, 1))
    assert [answer for _, answer, _ in first] == [answer for _, answer, _ in again]
    assert all(isinstance(answer, Failure) for _, answer, _ in first)  # an untrained model says nothing that is a plan
    assert all(0 < (spent.costs.completion_tokens or 0) <= 6 for _, _, spent in first)


def test_what_is_no_model_is_told_in_one_line(tmp_path: Path, benchmark: Benchmark) -> None:
    with pytest.raises(UserError, match="holds no weights"):
        resolve("chatgen:evo-2b", benchmark, 0)
    (tmp_path / "README.md").write_text(CARD)
    with pytest.raises(UserError, match=r"config\.json is missing"):
        ChatGen(str(tmp_path), benchmark, 0).prepare(benchmark.catalog, benchmark.train)
    with pytest.raises(UserError, match="cannot be fetched from the hub") as told:
        ChatGen("2b", benchmark, 0).prepare(benchmark.catalog, benchmark.train)
    assert "\n" not in str(told.value)
