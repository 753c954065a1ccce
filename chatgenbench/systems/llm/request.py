"""What a language model is asked: choose one of these models, write the prompt, set the arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chatgenbench.errors import shorten
from chatgenbench.schema import ARGUMENT_KEYS, Demonstration, FreestyleInput, Message, ModelRecord
from chatgenbench.systems.llm.shortlist import Shown
from chatgenbench.systems.wire.messages import data_url, read_picture

#: Characters of a model's description that are shown.
DESCRIPTION = 240
#: Characters of an example's chat that are shown.
WISH = 400
#: Changes with every word below, as answers may.
VERSION = "2"

TASK = """You turn what people say in a chat into a plan for an image generator.
A plan has a prompt, a negative prompt (may be empty), one model and its sampling arguments.

Write the prompt as experienced users of such models do: what is to be seen, in short phrases, commas between, with \
the model's trigger words if it has any. Say all that the person wants and nothing that they do not want. In a chat of \
several turns the last word counts. Choose the model whose look is what the person asks for.

Models to choose from:
{models}
{examples}
Answer with one JSON object and nothing else:
{{"prompt": "...", "negative_prompt": "...", "model": "one of the names above", "arguments": {usual}}}"""
#: Arguments of the form that is shown, where no demonstration says what is usual.
USUAL = {"sampler": "...", "steps": 20, "cfg_scale": 7, "width": 512, "height": 512}


def request(
    chat: FreestyleInput, shown: Shown, said: Mapping[str, FreestyleInput], root: Path, images: bool,
    usual: Mapping[str, Any] = USUAL,
) -> list[dict[str, Any]]:  # fmt: skip
    """The messages for one chat: the task, then the chat's own turns, with their pictures if `images`.

    Args:
        said: demonstration id -> a chat that might have led to it, where there is one.
        usual: the arguments that people set most often: small models repeat those that they are shown.
    """
    examples = "".join(f"\n{_example(d, said.get(d.id))}" for d in shown.demonstrations)
    task = TASK.format(
        models="\n".join(_line(record) for record in shown.models),
        examples=f"\nPlans that people made for other wishes:{examples}\n" if examples else "",
        usual=json.dumps(dict(usual)),
    )
    turns = [{"role": message.role, "content": _content(message, root, images)} for message in chat.messages]
    return [{"role": "system", "content": task}, *turns]


def schema(shown: Shown) -> dict[str, Any]:
    """The JSON Schema of an answer: a Plan whose model is one of those shown, in the words that endpoints know."""
    numbers: dict[str, Any] = {key: {"type": "integer"} for key in ("steps", "width", "height")}
    arguments = {"sampler": {"type": "string"}, "cfg_scale": {"type": "number"}, **numbers}
    model = {"type": "string", "enum": [record.id for record in shown.models]}
    text = {"type": "string"}
    return _object({
        "prompt": text, "negative_prompt": text, "model": model,
        "arguments": _object({key: arguments[key] for key in ARGUMENT_KEYS}),
    })  # fmt: skip


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
    }  # fmt: skip


def _line(record: ModelRecord) -> str:
    words = f" [trigger words: {', '.join(record.trigger_words)}]" if record.trigger_words else ""
    return f"- {record.id} ({record.base_model}){words}: {shorten(record.description, DESCRIPTION)}"


def _example(demonstration: Demonstration, chat: FreestyleInput | None) -> str:
    plan = demonstration.plan.model_dump()
    arguments = {key: plan["arguments"][key] for key in ARGUMENT_KEYS}
    told = {key: plan[key] for key in ("prompt", "negative_prompt", "model")} | {"arguments": arguments}
    wish = f'"{shorten(chat.text, WISH)}" -> ' if chat is not None else ""
    return f"- {wish}{json.dumps(told, ensure_ascii=False)}"


def _content(message: Message, root: Path, images: bool) -> str | list[dict[str, Any]]:
    if not message.images:
        return message.text
    if not images:
        return f"{message.text}\n(With this came {len(message.images)} reference picture(s) that cannot be shown here.)"
    pictures = [
        {"type": "image_url", "image_url": {"url": data_url(read_picture(root / name), Path(name).suffix)}}
        for name in message.images
    ]
    return [{"type": "text", "text": message.text}, *pictures]
