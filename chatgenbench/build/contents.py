"""The lines and facts of a published dataset that are no part of the benchmark itself: provenance, chats, the build."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import Field

from chatgenbench.schema import FreestyleInput, Noun

Form = Literal["full", "release"]


class Provenance(Noun):
    """One line of `records.jsonl`: where a demonstration came from and what its parts hash to.

    sha256 of prompts are of their UTF-8 bytes.  `whole` is false when prompt, negative prompt, picture and address are
    left out.  `creator` is never in a release.
    """

    id: str
    source: str
    page: str = ""
    url: str = ""
    base_model: str
    prompt_sha256: str
    negative_prompt_sha256: str
    picture_sha256: str = ""
    licence: str
    attribution: str = ""
    redistributable: bool = False
    whole: bool = True
    creator: str = ""
    level: int = 0
    approximated: tuple[str, ...] = ()


class Chat(Noun):
    """One line of `chats.jsonl`: a freestyle input and how it was made.

    `request` is the key of the exact request in the builder's workspace; `seed` the one the model was given;
    `closeness` the cosine of chat and prompt; `facts` the share (0..1) of the prompt's key facts that the chat tells.
    """

    id: str
    demonstration: str
    input: FreestyleInput
    persona: str = ""
    style: str = ""
    model: str = ""
    request: str = ""
    response_id: str = ""
    seed: int | None = None
    attempts: int = Field(default=1, ge=1)
    closeness: float | None = None
    facts: float | None = None


class About(Noun):
    """`build.json`: all that the cards tell and the other files do not."""

    name: str
    version: str
    label: str
    licence: str
    created: str
    contact: str
    weights: str
    few_shot_threshold: int
    form: Form
    made_with: str
    sources: tuple[tuple[str, str, str], ...]
    settings: dict[str, Any]
    funnel: dict[str, Any]


def text_sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
