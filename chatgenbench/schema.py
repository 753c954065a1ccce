"""The nouns of chatgenbench: frozen pydantic models, one per thing the program talks about.

JSON Schemas of the public ones are kept under `chatgenbench/schemas/` and tested to match.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

#: Longest text of one message or prompt, in characters.  Civitai prompts stay far below it.
MAX_TEXT = 20_000

Text = Annotated[str, Field(max_length=MAX_TEXT)]
Kind = Literal["single", "multimodal", "history"]
Split = Literal["supervised", "few-shot"]

#: The five argument keys the paper scores (ChatGen, section 4, every published example).
ARGUMENT_KEYS = ("sampler", "steps", "cfg_scale", "width", "height")


class Noun(BaseModel):
    """Base: frozen, and an unknown field is an error instead of a silent loss."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)


class Message(Noun):
    """One turn of a chat.

    `images` are paths in the folder of a benchmark; to a system they are copies of these files, under names that say
    nothing, and over a wire keys of `pictures`.
    """

    role: Literal["user", "assistant"] = "user"
    text: Text
    images: tuple[str, ...] = ()


class FreestyleInput(Noun):
    """What a system sees: one person's chat, in their own words."""

    id: str
    kind: Kind
    messages: tuple[Message, ...] = Field(min_length=1)

    @property
    def text(self) -> str:
        """All the person said, oldest turn first, one turn a line."""
        return "\n".join(m.text for m in self.messages if m.role == "user")

    @property
    def images(self) -> tuple[str, ...]:
        """Every reference picture of the chat, oldest first."""
        return tuple(path for m in self.messages for path in m.images)


class Arguments(Noun):
    """Sampling arguments.  The first five are scored; bounds are what diffusers can be asked for at all.

    `width` and `height` are pixels; `lora_weight` scales the LoRA (1 = as trained).
    Text that spells a number is coerced ("512" -> 512); anything else is refused.
    """

    sampler: str = Field(min_length=1, max_length=80)
    steps: int = Field(ge=1, le=500)
    cfg_scale: float = Field(ge=0, le=100, allow_inf_nan=False)
    width: int = Field(ge=8, le=4096)
    height: int = Field(ge=8, le=4096)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    clip_skip: int | None = Field(default=None, ge=1, le=12)
    lora_weight: float | None = Field(default=None, ge=-4, le=4, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_values(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("must be a number, not true or false")
        return value


class Plan(Noun):
    """What a system answers.  `ranking` lists catalog ids best first; its head should be `model`."""

    prompt: Text
    negative_prompt: Text = ""
    model: str = Field(min_length=1, max_length=400)
    arguments: Arguments
    ranking: tuple[str, ...] = ()


class Licence(Noun):
    """SPDX id and what the model's owner allows."""

    spdx: str
    attribution: str = ""
    commercial: bool = True


class ModelRecord(Noun):
    """One model of the catalog.

    `files` maps a role to a path relative to the benchmark folder, to `civitai:VERSION?fileId=FILE`, or to
    `hf:OWNER/NAME@COMMIT` with `:FILE` behind it for a single one.  A checkpoint has `diffusers` (a folder) or
    `checkpoint` (one safetensors file; its `config` is a folder of the benchmark, and needed only where the base model
    is of no known family); a LoRA has `lora`, and `base` names the checkpoint it sits on.  A checkpoint may also have
    `vae`, and `embedding:WORD` for each word of a prompt that calls an embedding, with `#sha256=HEX` behind the path.
    `sha256` is the digest of the main file, or of the folder's weight files in name order; "" when nobody knows it:
    such a model can be named and scored, not drawn, unless a commit of the hub stands for it.
    """

    id: str
    name: str
    file_stem: str
    type: Literal["checkpoint", "lora"]
    base_model: str
    base: str | None = None
    description: str
    trigger_words: tuple[str, ...] = ()
    sha256: str = Field(pattern=r"^([0-9a-f]{64})?$")
    files: dict[str, str]
    aliases: tuple[str, ...] = ()
    licence: Licence
    near_twins: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _lora_has_base(self) -> ModelRecord:
        if self.type == "lora" and self.base is None:
            raise ValueError(f"LoRA {self.id} names no base checkpoint")
        return self


class Demonstration(Noun):
    """The human record an item came from: plan, picture (path in the benchmark folder) and provenance.

    `picture` and `picture_sha256` are "" when there is no picture.
    """

    id: str
    plan: Plan
    picture: str
    picture_sha256: str = Field(pattern=r"^([0-9a-f]{64})?$")
    split: Literal["train", "supervised", "few-shot"]
    source: str
    licence: str
    attribution: str
    slices: dict[str, str] = Field(default_factory=dict)


class Item(Noun):
    """One row of the benchmark."""

    id: str
    input: FreestyleInput
    demonstration: str
    split: Split
    slices: dict[str, str] = Field(default_factory=dict)


class TrainInput(Noun):
    """A chat that might have led to a training demonstration: what systems that are trained learn from."""

    id: str
    input: FreestyleInput
    demonstration: str
    slices: dict[str, str] = Field(default_factory=dict)


class Outcome(StrEnum):
    """How a row ended; every row ends as exactly one of these and stays in the denominator."""

    OK = "ok"
    SYSTEM_FAILED = "system-failed"
    BLOCKED = "blocked"
    INFRA_FAILED = "infra-failed"


class Failure(Noun):
    """A row without a plan or picture: why, in one line."""

    outcome: Literal[Outcome.SYSTEM_FAILED, Outcome.BLOCKED, Outcome.INFRA_FAILED] = Outcome.SYSTEM_FAILED
    reason: str = Field(max_length=500)


class Costs(Noun):
    """What one answer cost, as far as anybody counted; None: nobody did.

    Tokens are those of language models, in and out; `device_seconds` is how long the answer held the machine (GPU or
    CPU) that computed it; `usd` is its price in US dollars.
    """

    prompt_tokens: int | None = Field(default=None, ge=0, lt=2**40)
    completion_tokens: int | None = Field(default=None, ge=0, lt=2**40)
    device_seconds: float | None = Field(default=None, ge=0, lt=2**40, allow_inf_nan=False)
    usd: float | None = Field(default=None, ge=0, lt=2**40, allow_inf_nan=False)

    @property
    def tokens(self) -> int | None:
        """Tokens in and out together, if any were counted."""
        known = [count for count in (self.prompt_tokens, self.completion_tokens) if count is not None]
        return sum(known) if known else None


class PlannedRow(Noun):
    """One line of `plans.jsonl`: what the system answered for one item (`reason` when it did not).

    `latency` is how many seconds the answer took: of its own where the answers of a batch were timed one by one, else
    the batch's time divided by its rows.  `tokens` is the sum of the two kinds; see `Costs` for the others.
    `note` is what the system wants readers to know of an answer that counts as any other.
    """

    item: str
    outcome: Outcome
    plan: Plan | None = None
    reason: str | None = None
    latency: float = 0.0
    tokens: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    device_seconds: float | None = None
    usd: float | None = None
    note: str | None = None


class RenderRequest(Noun):
    """Everything that decides pixels.  `digest` is the picture's name in the pool.

    `checkpoint` and `lora` are sha256 digests of weights; `engine` is the renderer's fingerprint.
    """

    prompt: str
    negative_prompt: str
    checkpoint: str
    lora: str | None = None
    lora_weight: float = 1.0
    sampler: str
    steps: int
    cfg_scale: float
    width: int
    height: int
    clip_skip: int | None = None
    seed: int
    engine: str

    @property
    def digest(self) -> str:
        """sha256 (64 hex digits) of the canonical JSON of this request."""
        return digest_of(self.model_dump(mode="json"))


class DrawnRow(Noun):
    """One line of `pictures.jsonl`: the picture of one item, or why there is none.

    `picture` is the pool's name (request digest); `image_sha256` the digest of the PNG file;
    `approximated` says what of the plan could only be drawn nearly as asked: a sampler without an exact equivalent, a
    size, a prompt that was cut or whose weights were not read.
    """

    item: str
    outcome: Outcome
    picture: str | None = None
    image_sha256: str | None = None
    reason: str | None = None
    approximated: str | None = None
    seconds: float = 0.0


def digest_of(value: Any) -> str:
    """sha256 (64 hex digits) of `value` as canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
