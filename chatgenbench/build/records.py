"""What travels between the stages of a build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from chatgenbench.schema import Noun, Plan

ResourceKind = Literal["checkpoint", "lora", "embedding", "vae", "other"]


class Resource(Noun):
    """One set of weights that a picture's metadata names, by any of: file name, hash, version id of the hub.

    `hash` is lower-case hex as found (AutoV1 8, AutoV2 10, AutoV3 12, or 64 digits); `weight` is 1 when not told.
    """

    kind: ResourceKind
    name: str | None = None
    hash: str | None = None
    version: int | None = None
    weight: float = 1.0


class Generation(Noun):
    """Generation data of one picture, as its metadata tells it and nothing more.

    `prompt` still holds LoRA tags; `sampler` is the A1111 name; `width` and `height` are pixels of the first pass.
    What the metadata does not tell is None.
    """

    prompt: str
    negative_prompt: str = ""
    sampler: str | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    clip_skip: int | None = None
    resources: tuple[Resource, ...] = ()
    tool: str = "unknown"


class Record(Noun):
    """A demonstration on its way: one picture of one person, with the plan that made it.

    `creator` is the keyed hash of the uploader's name ("" when unknown: then nobody else has the same creator).
    `level` is the hub's browsing level (1 = PG; 0 = unrated).  `picture` is a path in the workspace once downloaded,
    `phash` its 64-bit perceptual hash as 16 hex digits, `picture_sha256` the hash of that file, `original_sha256` that
    of the file as its server gave it, with metadata.  `redistributable` says that the licence lets anyone publish
    prompt and picture; otherwise only the release form's ids, hashes and arguments leave the workspace.
    """

    id: str
    source: str
    url: str = ""
    page: str = ""
    plan: Plan
    base_model: str
    creator: str = ""
    level: int = 0
    reactions: int = Field(default=0, ge=0)
    tags: tuple[str, ...] = ()
    licence: str
    attribution: str = ""
    redistributable: bool = False
    approximated: tuple[str, ...] = ()
    picture: str = ""
    picture_sha256: str = ""
    original_sha256: str = ""
    phash: str = ""


class Placed(Record):
    """A record with its split and the component it belongs to: what must not be torn apart has the same number."""

    split: Literal["train", "supervised", "few-shot"]
    component: int


@dataclass(frozen=True)
class Drop:
    """A record that goes no further, and why; `reason` is a short fixed name such as `no-prompt`, never free text."""

    id: str
    reason: str
