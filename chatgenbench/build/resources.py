"""Which weights a picture's metadata names: every place where tools and the hub write them, as one list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from chatgenbench.build import fields
from chatgenbench.build.records import Resource, ResourceKind

_TAG = re.compile(r"<(lora|lyco|locon|dora|hypernet)\s*:([^<>:]+)((?::[^<>:]*)*)>", re.IGNORECASE)
_ADDNET = re.compile(r"(.+)\(([0-9a-f]{8,64})\)", re.IGNORECASE)
_NAMED_HASH = re.compile(r"\s*\"?([^,:]+?)\s*:\s*([0-9a-fA-F]{8,64})\"?\s*(?:,|$)")
#: Mentions read of one picture; no person names more.
_MOST = 200
_KINDS: dict[str, ResourceKind] = {
    "model": "checkpoint", "checkpoint": "checkpoint", "lora": "lora", "locon": "lora", "lycoris": "lora",
    "lyco": "lora", "dora": "lora", "embed": "embedding", "embedding": "embedding", "textualinversion": "embedding",
    "ti": "embedding", "vae": "vae",
}  # fmt: skip


def kind(value: Any) -> ResourceKind:
    """The kind a tool's word stands for; "other" when it says nothing or something else."""
    return _KINDS.get(fields.fold(value), "other") if isinstance(value, str) else "other"


def of(meta: Mapping[str, Any], prompt: str) -> tuple[Resource, ...]:
    """Every resource that metadata (as `fields.folded` gives it) and the tags of a prompt name, each once.

    A resource whose kind nothing tells is "other".  Mentions of one resource are joined when they share a version id, a
    hash or a file name.  LoRAs of weight 0 are kept, for the reader to judge.
    """
    found: list[Resource] = []
    for resource in islice(_mentions(meta, prompt), _MOST):
        _join(found, resource)
    return tuple(found)


def merged(*lists: Iterable[Resource]) -> tuple[Resource, ...]:
    """Several lists as one, each resource once."""
    found: list[Resource] = []
    for resources in lists:
        for resource in resources:
            _join(found, resource)
    return tuple(found)


def without_tags(prompt: str) -> str:
    """A prompt without its LoRA tags, and without the commas and blanks that they leave behind."""
    if "<" not in prompt or not _TAG.search(prompt):
        return prompt.strip()
    bare = re.sub(r"[ \t]{2,}", " ", _TAG.sub("\x00", prompt))
    bare = re.sub(r"[ \t]*,?[ \t]*\x00(?=[ \t]*(?:,|\n|$))", "", bare)
    bare = re.sub(r"[ \t\x00]*\x00[ \t]*", " ", bare)
    bare = re.sub(r"(?m)^[ \t]*(?:,[ \t]*)+|[ \t]+$", "", bare)
    return re.sub(r"\n{3,}", "\n\n", bare).strip()


def has_hypernetwork(prompt: str) -> bool:
    """Whether a prompt asks for a hypernetwork, which no plan can name."""
    return any(match[1].casefold() == "hypernet" for match in _TAG.finditer(prompt))


def tags(prompt: str) -> list[Resource]:
    """LoRAs that a prompt asks for by `<lora:NAME:WEIGHT>` and its kin; the first weight counts."""
    found = []
    for match in _TAG.finditer(prompt):
        name, weights = fields.stem(match[2]), match[3].split(":")[1:]
        if name and match[1].casefold() != "hypernet":
            numbers = [fields.number(w.split("=")[-1]) for w in weights]
            weight = next((n for n in numbers if n is not None), 1.0)
            found.append(Resource(kind="lora", name=name, weight=weight))
    return found


def _mentions(meta: Mapping[str, Any], prompt: str) -> Iterable[Resource]:
    yield from _listed(meta.get("civitairesources"))
    yield from _listed(meta.get("resources"))
    yield from _listed(meta.get("additionalresources"))
    yield from tags(prompt)
    yield from _hashes(meta.get("hashes"))
    yield from _hash_text(meta.get("lorahashes"), "lora")
    yield from _hash_text(meta.get("tihashes"), "embedding")
    model, hash_ = fields.stem(meta.get("model")), fields.digest(meta.get("modelhash"))
    if model or hash_:
        yield Resource(kind="checkpoint", name=model, hash=hash_)
    yield from _numbered(meta)
    yield from _damaged(meta, tags(prompt))
    for name in _texts(meta.get("models")):
        yield named("checkpoint", name)
    versions = meta.get("versionids")
    for version in versions if isinstance(versions, list) else ():
        number = fields.integer(version)
        if number is not None and number > 0:
            yield Resource(kind="other", version=number)


def _listed(value: Any) -> Iterable[Resource]:
    for item in fields.items(value):
        name, told = item.get("modelName") or item.get("name"), fields.text(item.get("type"))
        urn = fields.air(item.get("air")) or fields.air(name)
        of_kind = kind(told or (urn[0] if urn else None))
        if told and of_kind == "other":
            continue  # an upscaler, a ControlNet ...: nothing a plan names
        version = fields.integer(item.get("modelVersionId")) or (urn[1] if urn else None)
        weights = (fields.number(item.get(key)) for key in ("weight", "strength", "strengthModel"))
        weight = next((w for w in weights if w is not None), 1.0)
        stem, hash_ = None if urn else fields.stem(name), fields.digest(item.get("hash"))
        if stem or hash_ or version:
            yield Resource(kind=of_kind, name=stem, hash=hash_, version=version, weight=weight)


def named(of_kind: ResourceKind, name: str, weight: float = 1.0) -> Resource:
    """A resource by file name, or by version id where the name is an AIR urn."""
    urn = fields.air(name)
    if urn:
        return Resource(kind=of_kind, version=urn[1], weight=weight)
    return Resource(kind=of_kind, name=fields.stem(name), weight=weight)


def _hashes(value: Any) -> Iterable[Resource]:
    """The object `{"model": HASH, "lora:NAME": HASH, "embed:NAME": HASH}`."""
    for key, hash_ in value.items() if isinstance(value, Mapping) else ():
        word, _, name = str(key).partition(":")
        read = fields.digest(hash_)
        if read and kind(word) != "other":
            yield Resource(kind=kind(word), name=fields.stem(name), hash=read)


def _hash_text(value: Any, of_kind: ResourceKind) -> Iterable[Resource]:
    """The list `NAME: HASH, NAME: HASH` of A1111."""
    for name, hash_ in _NAMED_HASH.findall(value) if isinstance(value, str) else ():
        read = fields.digest(hash_)
        if read:
            yield Resource(kind=of_kind, name=fields.stem(name), hash=read)


def _numbered(meta: Mapping[str, Any]) -> Iterable[Resource]:
    """`AddNet Model 1: figma(dc746a5a4da9)` and the `Lora_1 Model name` of ComfyUI's savers."""
    for number in range(1, 9) if "addnetmodel1" in meta or any(key.startswith("lora") for key in meta) else ():
        found = _ADDNET.fullmatch(str(meta.get(f"addnetmodel{number}") or ""))
        if found and fields.fold(str(meta.get(f"addnetmodule{number}", "lora"))) == "lora":
            weight = fields.number(meta.get(f"addnetweighta{number}"))
            name, hash_ = fields.stem(found[1]), fields.digest(found[2])
            yield Resource(kind="lora", name=name, hash=hash_, weight=1.0 if weight is None else weight)
        name, hash_ = fields.stem(meta.get(f"lora{number}modelname")), fields.digest(meta.get(f"lora{number}modelhash"))
        if name or hash_:
            weight = fields.number(meta.get(f"lora{number}strengthmodel"))
            yield Resource(kind="lora", name=name, hash=hash_, weight=1.0 if weight is None else weight)


def _damaged(meta: Mapping[str, Any], loras: list[Resource]) -> Iterable[Resource]:
    """Hashes under a key that an old parser of the hub cut out with its quote: `{'"NAME': 'HASH"'}`."""
    for resource in loras:
        read = fields.digest(meta.get(fields.fold(f'"{resource.name}')))
        if read:
            yield Resource(kind="lora", name=resource.name, hash=read)


def _texts(value: Any) -> list[str]:
    return [v for v in value if fields.text(v)] if isinstance(value, list) else []


def _join(found: list[Resource], new: Resource) -> None:
    for at, old in enumerate(found):
        if _same(old, new):
            found[at] = Resource(
                kind=new.kind if old.kind == "other" else old.kind,
                name=old.name or new.name,
                hash=old.hash or new.hash,
                version=old.version or new.version,
                weight=new.weight if old.weight == 1.0 else old.weight,
            )
            return
    found.append(new)


def _same(one: Resource, two: Resource) -> bool:
    if one.kind != two.kind and "other" not in (one.kind, two.kind):
        return False
    if one.version and two.version:
        return one.version == two.version
    if one.hash and two.hash:
        return one.hash == two.hash
    return bool(one.name and two.name and one.name.casefold() == two.name.casefold())
