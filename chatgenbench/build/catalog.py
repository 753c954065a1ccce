"""From a picture of the hub to a demonstration: metadata read, the target model found, the plan complete or dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from chatgenbench.build import fields, metadata, resources
from chatgenbench.build.funnel import Count
from chatgenbench.build.hub import Hub, pairs_of
from chatgenbench.build.records import Drop, Generation, Record, Resource
from chatgenbench.schema import MAX_TEXT, Arguments, ModelRecord, Plan

__all__ = ["REASONS", "Hub", "pairs_of", "to_record"]

#: Why a picture is no demonstration, each with what it means.
REASONS = {
    "no-id": "an item without an id",
    "not-a-picture": "a video or a sound",
    **metadata.REASONS,
    "prompt-too-long": f"a prompt of more than {MAX_TEXT:,} characters",
    "hypernetwork": "the prompt asks for a hypernetwork, which no plan can name",
    "several-loras": "more than one LoRA: a plan names one model",
    "lora-unknown": "a LoRA that is not among the collected models, or not for sure",
    "resource-unknown": "the metadata names a resource of unknown kind that is not among the collected models",
    "several-checkpoints": "the metadata names different checkpoints",
    "model-unknown": "a checkpoint that is not among the collected models, or not for sure",
    "no-base": "a LoRA without an open, safe checkpoint of its base model among the collected models",
    "no-sampler": "no sampler told",
    "unknown-sampler": "a sampler that cannot be drawn",
    "no-steps": "no number of steps told",
    "no-cfg": "no CFG scale told",
    "no-size": "no size of the first pass told",
    "out-of-range": "arguments that no sampler can be asked for",
}
_REACTIONS = ("likeCount", "heartCount", "laughCount", "cryCount")
#: Base models whose text encoder can skip layers; others' clip skip is an idle setting that tools write anyway.
_SKIPPING = ("SD 1", "SD 2", "SDXL", "Pony", "Illustrious", "NoobAI")
_LARGEST_SEED = 2**63
_MOST_REACTIONS = 2**31


def to_record(image: Mapping[str, Any], hub: Hub, hash_creator: Callable[[str], str], count: Count) -> Record | Drop:
    """The demonstration that a picture of the hub's `/images` is, or why it is none (`REASONS`).

    The plan's model is the LoRA where one is used, else the checkpoint.  For a LoRA whose checkpoint is known the
    plan's `ranking` names both, LoRA first: `pairs_of` reads it.  Only the hash of the uploader's name goes on.
    Noted in `count`: `model-by-hub` (the hub, not the metadata, names the model), `seed-dropped`.
    """
    number = fields.integer(image.get("id"))
    if number is None:
        return Drop("civitai-", "no-id")
    key = f"civitai-{number}"
    if image.get("type") not in (None, "image"):
        return Drop(key, "not-a-picture")
    read = metadata.read(image.get("meta"), image.get("width"), image.get("height"))
    if isinstance(read, str):
        return Drop(key, read)
    if resources.has_hypernetwork(read.prompt):
        return Drop(key, "hypernetwork")
    models = _models(read, image, hub, count)
    if isinstance(models, str):
        return Drop(key, models)
    plan = _plan(read, models, count)
    return Drop(key, plan) if isinstance(plan, str) else _record(key, number, image, plan, models[0], hash_creator)


def _models(
    read: Generation, image: Mapping[str, Any], hub: Hub, count: Count
) -> tuple[ModelRecord, ModelRecord | None, float | None] | str:
    """Target model, checkpoint under it when it is a LoRA (None if not known), and the LoRA's weight."""
    used = [(r, hub.find(r)) for r in read.resources if r.weight != 0 and r.kind in ("checkpoint", "lora", "other")]
    if any(r.kind == "other" and m is None for r, m in used):
        return "resource-unknown"
    loras = [(r, m) for r, m in used if r.kind == "lora" or (m is not None and m.type == "lora")]
    checkpoints = [(r, m) for r, m in used if r.kind == "checkpoint" or (m is not None and m.type == "checkpoint")]
    told = _told_by_hub(image, hub)
    checkpoint = _checkpoint(checkpoints, told, count)
    if not loras:
        return checkpoint if isinstance(checkpoint, str) else (checkpoint, None, None)
    lora = _lora(loras, told, count)
    if isinstance(lora, str):
        return lora
    if not hub.has_base(lora[0]):
        return "no-base"
    return lora[0], None if isinstance(checkpoint, str) else checkpoint, lora[1]


def _told_by_hub(image: Mapping[str, Any], hub: Hub) -> list[ModelRecord | None]:
    """Models of the version ids that the hub itself gives a picture; None for each that was not collected."""
    versions = image.get("modelVersionIds")
    ids = versions if isinstance(versions, list) and versions else [image.get("modelVersionId")]
    numbers = (fields.integer(value) for value in ids)
    return [hub.version(n) for n in dict.fromkeys(n for n in numbers if n is not None)]


def _checkpoint(
    named: list[tuple[Resource, ModelRecord | None]], told: list[ModelRecord | None], count: Count
) -> ModelRecord | str:
    known = {m.id: m for _, m in named if m is not None}
    if len(known) == 1:
        return next(iter(known.values()))
    if known:
        return "several-checkpoints"
    by_hub = [m for m in told if m is not None and m.type == "checkpoint"]
    if len(by_hub) == 1 and not any(r.hash or r.version for r, _ in named):
        count.noted["model-by-hub"] += 1
        return by_hub[0]
    return "model-unknown"


def _lora(
    named: list[tuple[Resource, ModelRecord | None]], told: list[ModelRecord | None], count: Count
) -> tuple[ModelRecord, float] | str:
    known = {m.id: m for _, m in named if m is not None}
    unknown = [r for r, m in named if m is None]
    if len(known) + len(unknown) > 1:
        return "several-loras"
    if known:
        weight = next((r.weight for r, _ in named if r.weight != 1), 1.0)
        return next(iter(known.values())), weight
    by_hub = [m for m in told if m is not None and m.type == "lora"]
    if len(by_hub) == 1 and None not in told and not (unknown[0].hash or unknown[0].version):
        count.noted["model-by-hub"] += 1
        return by_hub[0], unknown[0].weight
    return "lora-unknown"


def _plan(read: Generation, models: tuple[ModelRecord, ModelRecord | None, float | None], count: Count) -> Plan | str:
    target, checkpoint, weight = models
    if max(len(read.prompt), len(read.negative_prompt)) > MAX_TEXT:
        return "prompt-too-long"
    prompt = resources.without_tags(read.prompt)
    if not prompt:
        return "no-prompt"
    arguments = _arguments(read, target, weight, count)
    if isinstance(arguments, str):
        return arguments
    ranking = (target.id, checkpoint.id) if checkpoint is not None else ()
    return Plan(
        prompt=prompt, negative_prompt=read.negative_prompt, model=target.id, arguments=arguments, ranking=ranking
    )


def _arguments(read: Generation, target: ModelRecord, weight: float | None, count: Count) -> Arguments | str:
    if read.sampler is None or read.sampler.casefold() in ("undefined", "none", "unknown"):
        return "no-sampler"
    for value, reason in ((read.steps, "no-steps"), (read.cfg_scale, "no-cfg"), (read.width, "no-size")):
        if value is None:
            return reason
    sampler = fields.known(read.sampler)
    if sampler is None:
        return "unknown-sampler"
    seed = read.seed
    if seed is not None and seed >= _LARGEST_SEED:
        count.noted["seed-dropped"] += 1
        seed = None
    skip = read.clip_skip if target.base_model.startswith(_SKIPPING) else None
    values = {"steps": read.steps, "cfg_scale": read.cfg_scale, "width": read.width, "height": read.height}
    try:
        return Arguments.model_validate(
            {**values, "sampler": sampler, "seed": seed, "clip_skip": skip, "lora_weight": weight}
        )
    except ValidationError:
        return "out-of-range"


def _record(
    key: str,
    number: int,
    image: Mapping[str, Any],
    plan: Plan,
    target: ModelRecord,
    hash_creator: Callable[[str], str],
) -> Record:
    name = fields.text(image.get("username"))
    stats = image.get("stats")
    counts = [fields.integer(stats.get(field)) for field in _REACTIONS] if isinstance(stats, Mapping) else []
    tags = (fields.text(tag.get("name")) for tag in fields.items(image.get("tags")))
    return Record(
        id=key,
        source="civitai",
        url=fields.text(image.get("url")) or "",
        page=f"https://civitai.com/images/{number}",
        plan=plan,
        base_model=target.base_model,
        creator=hash_creator(name) if name else "",
        level=_level(image),
        reactions=min(_MOST_REACTIONS, sum(max(0, n) for n in counts if n is not None)),
        tags=tuple(tag for tag in tags if tag),
        licence="LicenseRef-Civitai",
    )


def _level(image: Mapping[str, Any]) -> int:
    """The browsing level; 0 (unrated) where only a word is given, since the hub says "None" of unrated pictures too."""
    levels = (fields.integer(image.get(name)) for name in ("browsingLevel", "nsfwLevel"))
    return max(0, next((level for level in levels if level is not None), 0))
