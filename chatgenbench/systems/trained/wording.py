"""The words in which trained systems are asked: training and answering share them, so they live in one place.

Plain text rather than a chat template: any causal language model can be trained to it, instruction-tuned or not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from chatgenbench.schema import ARGUMENT_KEYS, Arguments, Demonstration, FreestyleInput, ModelRecord

#: What stands for a reference picture: language models read no pictures, but should know that one was shown.
PICTURE = "[picture] "
NAMES = {"user": "Person", "assistant": "Assistant"}


def chat_text(chat: FreestyleInput) -> str:
    """The whole chat, one turn a line, with who spoke."""
    turns = (f"{NAMES[m.role]}: {PICTURE if m.images else ''}{' '.join(m.text.split())}" for m in chat.messages)
    return "\n".join(turns)


def ask_prompt(chat: FreestyleInput) -> str:
    """What stage 1 of ChatGen-Evo completes with a prompt."""
    return f"{chat_text(chat)}\nPrompt:"


def ask_model(chat: FreestyleInput, prompt: str) -> str:
    """What stage 2 of ChatGen-Evo completes with one model token."""
    return f"{chat_text(chat)}\nPrompt: {prompt}\nModel:"


def arguments_text(arguments: Arguments) -> str:
    """The five scored keys as one line of JSON."""
    return json.dumps(arguments.model_dump(mode="json", include=set(ARGUMENT_KEYS)))


def ask_arguments(record: ModelRecord, examples: Sequence[Demonstration], prompt: str) -> str:
    """What stage 3 of ChatGen-Evo completes with arguments: the model's description, its demonstrations, the prompt."""
    shown = [f"Prompt: {d.plan.prompt}\nArguments: {arguments_text(d.plan.arguments)}\n" for d in examples]
    return "\n".join((f"Model: {record.name}. {record.description}\n", *shown, f"Prompt: {prompt}\nArguments:"))


def beautify(raw: str) -> str:
    """BeautifulPrompt's own wording (model card of pai-bloom-1b1-text2prompt-sd)."""
    flat = " ".join(raw.split())
    instruction = "Instruction: Give a simple description of the image to generate a drawing prompt."
    return f"{instruction}\nInput: {flat}\nOutput:"


def ask_api(prompt: str) -> str:
    """What DiffAgent completes with a call: a text prompt, as people type it."""
    return f"Prompt: {' '.join(prompt.split())}\nAPI:"


def api_text(record: ModelRecord, arguments: Arguments) -> str:
    """DiffAgent's answer: model, type, base model and parameters (its description is left to the catalog)."""
    return f"{record.name} | {record.type} | {record.base_model} | {arguments_text(arguments)}"


def read_api(prompt: str, call: str) -> dict[str, str]:
    """The parts of a call as the reader of answers knows them; what is missing stays missing."""
    parts = [part.strip() for part in call.split("|")]
    arguments = next((part for part in parts if part.startswith("{")), "")
    return {"prompt": prompt, "model": parts[0], "arguments": arguments}
