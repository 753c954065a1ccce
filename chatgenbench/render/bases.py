"""Which checkpoint a LoRA is drawn on.

`--base FAMILY=MODEL` decides for every LoRA of a family.  Otherwise it is the checkpoint that the catalog names for the
LoRA.  Where it names none that is there, it is the checkpoint of the family that most training demonstrations use (of
equals the first by id), or the family's own repository where the catalog has no checkpoint of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.errors import UnknownNameError, UserError
from chatgenbench.render.families import FAMILIES, Family, family_of
from chatgenbench.render.sources import Hub, parse
from chatgenbench.schema import Licence, ModelRecord


@dataclass(frozen=True)
class Based:
    """A benchmark whose LoRAs all have their base, and the rule that chose it, in one line a family."""

    benchmark: Benchmark
    rules: dict[str, str]


def with_bases(benchmark: Benchmark, chosen: Mapping[str, str]) -> Based:
    """Give every LoRA of a known family its base.

    Args:
        chosen: family -> catalog id or `hf:OWNER/NAME@COMMIT`, from `--base`.

    Raises:
        UserError: a family, model or pairing that does not exist.
    """
    forced = {_family(name).name: _chosen(benchmark.catalog, _family(name), model) for name, model in chosen.items()}
    records, rules = dict(benchmark.catalog.records), {}
    for family in FAMILIES.values():
        loras = [r for r in benchmark.catalog if r.type == "lora" and family_of(r.base_model) is family]
        without = [r for r in loras if not _has_base(benchmark.catalog, r)]
        if family.name in forced:
            base = forced[family.name]
            rules[family.name] = f"{family.title} LoRAs are drawn on {base.id} (--base)"
            _put(records, loras, base)
        elif loras:
            rules[family.name] = f"{family.title} LoRAs are drawn on the checkpoint that the catalog names for each"
            if without:
                base = _default(benchmark, family)
                rules[family.name] += f", {len(without)} without one on {base.id}"
                _put(records, without, base)
    if records == benchmark.catalog.records:
        return Based(benchmark, rules)
    return Based(replace(benchmark, catalog=Catalog(records.values())), rules)


def choices(pairs: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """(family, model) of every `FAMILY=MODEL`, by family.

    Raises:
        UserError: one that is not of this form, or a family twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, mark, model = pair.partition("=")
        if not mark or not model.strip():
            raise UserError(f"--base '{pair}': write FAMILY=MODEL, e.g. sdxl={FAMILIES['sdxl'].source}")
        key = _family(name).name
        if key in found:
            raise UserError(f"--base names a model for {key} twice: name one")
        found[key] = model.strip()
    return tuple(sorted(found.items()))


def _family(name: str) -> Family:
    family = FAMILIES.get(name.strip().casefold())
    if family is None:
        raise UnknownNameError("family", name, FAMILIES)
    return family


def _chosen(catalog: Catalog, family: Family, model: str) -> ModelRecord:
    if model.startswith("hf:"):
        source = parse(model)
        assert isinstance(source, Hub)
        return _record_of(family, source)
    record = catalog.get(model)
    if record.type != "checkpoint":
        raise UserError(f"--base {family.name}={model}: it is a LoRA, name a checkpoint")
    if (own := family_of(record.base_model)) is not family:
        kind = own.title if own else record.base_model
        raise UserError(f"--base {family.name}={model}: it is of {kind}, not of {family.title}")
    return record


def _has_base(catalog: Catalog, lora: ModelRecord) -> bool:
    return bool(lora.base) and catalog.find(lora.base or "") is not None


def _default(benchmark: Benchmark, family: Family) -> ModelRecord:
    found = [r for r in benchmark.catalog if r.type == "checkpoint" and family_of(r.base_model) is family]
    if not found:
        return _record_of(family, family.source)
    used = Counter(record.id for d in benchmark.train if (record := benchmark.catalog.find(d.plan.model)) is not None)
    return min(found, key=lambda record: (-used[record.id], record.id))


def _record_of(family: Family, source: Hub) -> ModelRecord:
    """A repository of the hub as a catalog entry."""
    return ModelRecord(
        id=str(source), name=source.repo, file_stem=source.repo.partition("/")[2], type="checkpoint",
        base_model=family.base_model, description=f"What LoRAs of {family.title} are drawn on.", sha256=source.sha256,
        files={"diffusers" if source.file is None else "checkpoint": str(source)},
        licence=Licence(spdx="NOASSERTION", commercial=False),
    )  # fmt: skip


def _put(records: dict[str, ModelRecord], loras: Iterable[ModelRecord], base: ModelRecord) -> None:
    records.setdefault(base.id, base)
    for lora in loras:
        records[lora.id] = lora.model_copy(update={"base": base.id})
