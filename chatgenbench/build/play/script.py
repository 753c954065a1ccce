"""What the language model is told, and how its answers are read."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from chatgenbench.build.minhash import normalise
from chatgenbench.build.play.cast import Assignment
from chatgenbench.remote.completion import whole
from chatgenbench.schema import Kind, ModelRecord

#: Fewest and most turns of the person.
TURNS: dict[Kind, tuple[int, int]] = {"single": (1, 1), "multimodal": (1, 1), "history": (2, 4)}
_HOW: dict[Kind, str] = {
    "single": "Write one message.",
    "multimodal": "You attach a reference picture whose look you like; refer to it in passing ('like this one'). It "
    "does not show what you want to see. Write one message.",
    "history": "Write {low} to {high} messages that you send one after the other. The first is only a rough wish; the "
    "next ones add to it or change your mind. What counts is what you want in the end.",
}
_EXAMPLE: dict[Kind, list[str]] = {
    "single": ["hey can you make me a little boat on a calm lake, sunset, soft like a painting"],
    "multimodal": ["love how this one looks! same feel please but with a boat on a calm lake at sunset"],
    "history": ["i need a picture of a lake", "with a little boat on it. evening, orange sky", "oh and soft, painted"],
}
_SHOWN: dict[Kind, list[tuple[str, list[str]]]] = {
    "single": [
        ("wooden rowing boat on a calm lake, sunset, oil painting, soft brush strokes", [_EXAMPLE["single"][0]]),
        (
            "portrait of an old wizard, long beard, pixel art, 16 bit",
            [
                "could i get an old wizard with a long beard? "
                "like in those games from when i was a kid, all little squares"
            ],
        ),
        (
            "red fox in the snow, wildlife photography",
            ["a fox please, a red one standing in snow. as if somebody really photographed it"],
        ),
    ],
    "multimodal": [
        ("wooden rowing boat on a calm lake, sunset, oil painting, soft brush strokes", [_EXAMPLE["multimodal"][0]]),
        (
            "portrait of an old wizard, long beard, pixel art, 16 bit",
            ["i want it like this picture, but with an old wizard and his long beard"],
        ),
        (
            "red fox in the snow, wildlife photography",
            ["see this one? same look please, only i need a red fox in snow"],
        ),
    ],
    "history": [
        ("wooden rowing boat on a calm lake, sunset, oil painting, soft brush strokes", _EXAMPLE["history"]),
        (
            "portrait of an old wizard, long beard, pixel art, 16 bit",
            [
                "make me a wizard",
                "an old one, with a really long beard",
                "no wait, do it in those little squares like in old games",
            ],
        ),
        (
            "red fox in the snow, wildlife photography",
            ["i'd like some animal in snow", "a red fox would be nice, like a real photo"],
        ),
    ],
}
#: What a small model is told of the prompt, in characters.
_SHORT = 160
_FENCE = re.compile(r"^```\w*\n?|\n?```$")
_BULLET = re.compile(r"^\s*(?:(?:message\s*)?\d+[.):]|[-*•])\s*", re.IGNORECASE)
_QUOTES = "\"'“”‘’ \t"
#: What a model is told of the look, in characters.
_LOOK = 300


def schema(kind: Kind) -> dict[str, Any]:
    """JSON schema of an answer: `{"messages": [text, ...]}`."""
    low, high = TURNS[kind]
    turns = {"type": "array", "items": {"type": "string"}, "minItems": low, "maxItems": high}
    return {
        "type": "object", "properties": {"messages": turns}, "required": ["messages"], "additionalProperties": False,
    }  # fmt: skip


def request(
    task: Assignment, model: ModelRecord | None, structured: bool, objection: str | None = None
) -> list[dict[str, str]]:
    """The messages that ask for one chat; `objection` says what was wrong with the last one."""
    if not structured:
        return _by_example(task)
    p = task.persona
    system = (
        f"You play {p.name}, {p.age}, {p.job}. Mood: {p.mood}. Language: {p.language_level}. Voice: {p.voice}. "
        f"{p.name} types to an assistant that makes pictures and knows nothing of models, samplers or settings. "
        "Stay in the voice; use everyday words of your own; never copy the description, never name a model. "
        f"Answer with JSON only, such as {json.dumps({'messages': _EXAMPLE[task.kind]})}"
    )
    low, high = TURNS[task.kind]
    look = f"\nThe look: {_plain_look(model)}" if model is not None else ""
    user = (
        f"The picture you want: {normalise(task.record.plan.prompt)}{look}\n"
        f"{_HOW[task.kind].format(low=low, high=high)} {task.style.how[0].upper()}{task.style.how[1:]}."
    )
    if objection:
        user += f"\nYour last try was not good: {objection}. Write it differently."
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def _by_example(task: Assignment) -> list[dict[str, str]]:
    """For models too small to be told what to do: they go on with what they see."""
    p = task.persona
    system = f"You write what people type to ask for a picture. Now you are {p.name}, {p.age}, {p.job}, {p.mood}."
    messages = [{"role": "system", "content": system}]
    for prompt, turns in _SHOWN[task.kind]:
        messages.append({"role": "user", "content": f"Picture: {prompt}"})
        messages.append({"role": "assistant", "content": "\n".join(turns)})
    wanted = normalise(task.record.plan.prompt)[:_SHORT]
    return [*messages, {"role": "user", "content": f"Picture: {wanted}"}]


def _plain_look(model: ModelRecord) -> str:
    """The model's description without its names, so that they are not even there to be copied."""
    text = " ".join(model.description.split())
    for name in sorted({model.name, model.file_stem, *model.trigger_words}, key=len, reverse=True):
        if len(name) >= 3:
            text = re.sub(re.escape(name), "it", text, flags=re.IGNORECASE)
    return text[:_LOOK]


def read(text: str, kind: Kind, structured: bool) -> list[str] | None:
    """The person's turns out of an answer, or None when there are none to be had."""
    bare = _FENCE.sub("", text.strip()).strip()
    with suppress(ValueError):
        try:
            found = json.loads(bare)
        except RecursionError:
            return None
        turns = found.get("messages") if isinstance(found, dict) else found
        if isinstance(turns, list) and all(isinstance(turn, str) for turn in turns):
            return [whole(turn).strip() for turn in turns]
        return None
    if structured:
        return None
    lines = [_BULLET.sub("", line).strip(_QUOTES) for line in bare.splitlines() if line.strip(_QUOTES)]
    return lines[: TURNS[kind][1]] if kind == "history" else [" ".join(lines)]


def facts_request(chat: str) -> list[dict[str, str]]:
    """The messages that ask what picture somebody wants, from the chat alone."""
    system = "You read what somebody wrote to an assistant that makes pictures."
    user = f"{chat}\n\nIn one sentence: what must the picture show in the end, and how should it look?"
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]
