"""The models of the hub as a catalog: versions by id, hash and name, and the checkpoints that LoRAs sit on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chatgenbench.build.funnel import Count
from chatgenbench.build.records import Record, Resource
from chatgenbench.build.versions import Version, versions_of
from chatgenbench.schema import Licence, ModelRecord


class Hub:
    """Every version of the collected models that a plan can name.

    What cannot be in a catalog is counted in `count.noted`: `model-type` (embeddings, upscalers ...), `no-model-file`,
    `no-sha256`.  Equal bodies give equal answers, in whatever order they come.
    """

    def __init__(self, models: Iterable[Mapping[str, Any]], count: Count) -> None:
        self._versions: dict[int, Version] = {}
        for body in models:
            for version in versions_of(body, count):
                self._versions.setdefault(version.number, version)
        self._by_key = {v.key: v for v in self._versions.values()}
        self._hashes: dict[str, list[Version]] = {}
        self._names: dict[str, list[Version]] = {}
        for number in sorted(self._versions):
            self._index(self._versions[number])
        self._titles = Counter(_flat(v.title) for v in self._versions.values())
        self._bases = self._default_bases()
        self._records: dict[int, ModelRecord] = {}

    def __len__(self) -> int:
        return len(self._versions)

    def find(self, resource: Resource) -> ModelRecord | None:
        """The version that a resource means, or None when it means none for sure.

        A version id counts before a hash, a hash before a name; a name that two different files share means neither.
        A hash that the hub does not know speaks against a name that it knows.
        """
        found = self._find(resource)
        return None if found is None else self._record(found)

    def version(self, number: int) -> ModelRecord | None:
        """The version with this id."""
        found = self._versions.get(number)
        return None if found is None else self._record(found)

    def flags(self, key: str) -> dict[str, Any]:
        """What the hub says of a version's state and permissions; None where it says nothing.

        Keys: nsfw, nsfwLevel, minor, poi, sfwOnly, availability, mode, format, allowCommercialUse (tuple of uses),
        allowDerivatives, allowNoCredit, allowDifferentLicense, downloads (0 when not told), baseModelType.
        Empty for an id that is not here.
        """
        found = self._by_key.get(key)
        return {} if found is None else dict(found.flags)

    def has_base(self, record: ModelRecord) -> bool:
        """Whether a plan that names this model can be drawn: a LoRA needs a checkpoint of its base model here."""
        return record.type == "checkpoint" or record.base_model in self._bases

    def catalog(
        self,
        used: Mapping[str, int],
        pairs: Mapping[str, Mapping[str, int]] | None = None,
        removed: Callable[[str], bool] = lambda key: False,
    ) -> list[ModelRecord]:
        """The models of `used` and the checkpoints that their LoRAs sit on, by id.

        `used` counts demonstrations by model id, `pairs` counts, by LoRA id, the checkpoints it was used with (see
        `pairs_of`).  A LoRA sits on the checkpoint it was used with most often (of equals: more downloads, then lower
        version id), else on the most downloaded checkpoint of its base model; one without either is left out.
        Models that are `removed` are left out, and no LoRA sits on them.
        """
        chosen: dict[str, ModelRecord] = {}
        for key in sorted(used):
            version = self._by_key.get(key)
            if version is None or removed(key):
                continue
            base = self._base(version, (pairs or {}).get(key, {}), removed) if version.type == "lora" else None
            if version.type == "lora" and base is None:
                continue
            chosen[key] = self._record(version).model_copy(update={"base": base.key if base else None})
            if base is not None:
                chosen.setdefault(base.key, self._record(base))
        return [chosen[key] for key in sorted(chosen)]

    def _base(self, lora: Version, counts: Mapping[str, int], removed: Callable[[str], bool]) -> Version | None:
        used = ((n, self._by_key.get(key)) for key, n in counts.items() if not removed(key))
        able = [(n, version) for n, version in used if version is not None and version.can_be_base]
        if able:
            return min(able, key=lambda pair: (-pair[0], pair[1].rank))[1]
        return next((v for v in self._bases.get(lora.base_model, ()) if not removed(v.key)), None)

    def _default_bases(self) -> dict[str, list[Version]]:
        """The checkpoints of each base model that a LoRA may sit on, most downloaded first."""
        found: dict[str, list[Version]] = {}
        for version in sorted((v for v in self._versions.values() if v.can_be_base), key=lambda v: v.rank):
            if version.flags["baseModelType"] in (None, "Standard"):
                found.setdefault(version.base_model, []).append(version)
        return found

    def _index(self, version: Version) -> None:
        for hash_ in dict.fromkeys(version.hashes):
            self._hashes.setdefault(hash_, []).append(version)
        for name in dict.fromkeys(map(_flat, (*version.stems, version.name, f"{version.name}{version.title}"))):
            if name:
                self._names.setdefault(name, []).append(version)

    def _find(self, resource: Resource) -> Version | None:
        if resource.version is not None:
            found = self._versions.get(resource.version)
            return found if found is not None and _fits(found, resource) else None
        if resource.hash:
            short = (resource.hash, resource.hash[:12]) if len(resource.hash) == 64 else (resource.hash,)
            lists = [self._hashes[h] for h in short if h in self._hashes]
            if lists:
                return _only([v for v in lists[0] if _fits(v, resource)])
        if not resource.name:
            return None
        named = _only([v for v in self._names.get(_flat(resource.name), ()) if _fits(v, resource)])
        if named is not None and resource.hash and len(resource.hash) in named.told:
            return None
        return named

    def _record(self, version: Version) -> ModelRecord:
        record = self._records.get(version.number)
        if record is None:
            record = self._records[version.number] = self._made(version)
        return record

    def _made(self, version: Version) -> ModelRecord:
        base = next(iter(self._bases.get(version.base_model, ())), None)
        alone = len(self._names.get(_flat(version.title), ())) == 0 and self._titles[_flat(version.title)] == 1
        aliases = (*([version.title] if alone else []), *([version.urn] if version.urn else []), *version.shown)
        return ModelRecord(
            id=version.key,
            name=f"{version.name} – {version.title}",
            file_stem=version.stem,
            type=version.type,
            base_model=version.base_model,
            base=(base.key if base else "") if version.type == "lora" else None,
            description=version.description,
            trigger_words=version.trigger_words,
            sha256=version.sha256,
            files={version.type: version.source} if version.source else {},
            aliases=tuple(dict.fromkeys(aliases)),
            licence=Licence(spdx="LicenseRef-Civitai", commercial=bool(version.flags["allowCommercialUse"])),
        )


def pairs_of(records: Iterable[Record]) -> dict[str, dict[str, int]]:
    """How often each LoRA was used with which checkpoint, from the rankings that `catalog.to_record` writes."""
    found: dict[str, dict[str, int]] = {}
    for record in records:
        if len(record.plan.ranking) == 2:
            lora, checkpoint = record.plan.ranking
            counts = found.setdefault(lora, {})
            counts[checkpoint] = counts.get(checkpoint, 0) + 1
    return found


def _flat(name: str) -> str:
    return re.sub(r"[^\w]|_", "", name).casefold()


def _fits(version: Version, resource: Resource) -> bool:
    return resource.kind in ("other", version.type)


def _only(found: list[Version]) -> Version | None:
    """The one file these versions are; the oldest where the same file was uploaded several times."""
    return found[0] if found and len({v.sha256 for v in found}) == 1 else None
