from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from chatgenbench import schemas
from chatgenbench.schema import Arguments, FreestyleInput, Message, RenderRequest

GOOD = {"sampler": "Euler a", "steps": 20, "cfg_scale": 7, "width": 512, "height": 768}


@pytest.mark.parametrize("name", sorted(schemas.PUBLIC))
def test_schema_files_match_the_models(name: str) -> None:
    assert schemas.file_of(name).read_text("utf-8") == schemas.text_of(name)
    assert json.loads(schemas.text_of(name))["additionalProperties"] is False


def test_numbers_as_text_are_coerced() -> None:
    arguments = Arguments.model_validate(GOOD | {"width": "512", "cfg_scale": "7.5", "steps": "30"})
    assert (arguments.width, arguments.cfg_scale, arguments.steps) == (512, 7.5, 30)


@pytest.mark.parametrize(
    ("key", "value"),
    [("steps", "many"), ("steps", 10**9), ("steps", 0), ("steps", True), ("width", 512.5), ("width", -8),
     ("cfg_scale", "nan"), ("cfg_scale", float("inf")), ("seed", -1), ("sampler", ""), ("eta", 0.5)],
)  # fmt: skip
def test_nonsense_arguments_are_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Arguments.model_validate(GOOD | {key: value})


def test_a_chat_tells_its_text_and_pictures_in_order() -> None:
    chat = FreestyleInput(
        id="x",
        kind="history",
        messages=(
            Message(text="a fox", images=("a.png",)),
            Message(role="assistant", text="which look?"),
            Message(text="like a stamp", images=("b.png",)),
        ),
    )
    assert chat.text == "a fox\nlike a stamp"
    assert chat.images == ("a.png", "b.png")


def test_any_change_of_a_request_changes_its_digest() -> None:
    base = RenderRequest(
        prompt="p", negative_prompt="", checkpoint="c" * 64, sampler="Euler", steps=5, cfg_scale=2.0, width=64,
        height=64, seed=1, engine="e",
    )  # fmt: skip
    changes = {"prompt": "q", "negative_prompt": "n", "checkpoint": "d" * 64, "lora": "f" * 64, "lora_weight": 0.5,
               "sampler": "DDIM", "steps": 6, "cfg_scale": 2.5, "width": 72, "height": 72, "clip_skip": 2, "seed": 2,
               "engine": "f"}  # fmt: skip
    digests = {base.model_copy(update={k: v}).digest for k, v in changes.items()} | {base.digest}
    assert len(digests) == len(changes) + 1
    assert set(changes) == set(RenderRequest.model_fields)
