"""Load a benchmark: the bundled miniature, a folder, or a dataset on the Hugging Face hub.

A benchmark folder holds `benchmark.json` (name, version, label, metric weights), `catalog.jsonl`,
`demonstrations.jsonl`, `items.jsonl`, and the pictures and weights those files name by relative path; it may hold
`train_inputs.jsonl`, chats of the training demonstrations for who trains a system.  A dataset in its release form has
to be hydrated first: it leaves out prompts and pictures that are not its builder's to hand on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ConfigDict, ValidationError

from chatgenbench.errors import BenchmarkError, UnknownNameError, shorten
from chatgenbench.schema import Demonstration, Item, ModelRecord, Noun, Split, TrainInput

#: Files that make up the benchmark's identity; their bytes are its hash.
FILES = ("benchmark.json", "catalog.jsonl", "demonstrations.jsonl", "items.jsonl")
#: Chats of the training demonstrations.  No part of the hash: what a system was trained on changes no item.
TRAIN_INPUTS = "train_inputs.jsonl"
BUNDLED = ("miniature",)

N = TypeVar("N", bound=Noun)


class Manifest(Noun):
    """`benchmark.json`.  `weights` is what `t2imetrics.load(..., weights=...)` is given.

    `form` is `release` when prompts and pictures that are not the builder's to hand on may be left out, `hydrated` is
    false while any is; `pictures` says whether the items' demonstrations have pictures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    label: str
    licence: str
    weights: str = "published"
    default_model: str
    few_shot_threshold: int
    form: Literal["full", "release"] = "full"
    hydrated: bool = True
    pictures: bool = True


class Catalog:
    """The models a plan may name, found by id or by any alias (file stem, version name, AIR urn, hash).

    Lookup ignores case, surrounding space and a weights suffix such as `.safetensors`.
    """

    def __init__(self, records: Iterable[ModelRecord]) -> None:
        self.records: dict[str, ModelRecord] = {r.id: r for r in records}
        self._keys: dict[str, str] = {}
        for record in self.records.values():
            names = (record.id, record.name, record.file_stem, record.sha256, record.sha256[:10], *record.aliases)
            for name in filter(None, names):
                self._keys.setdefault(self._normal(name), record.id)
        for record in self.records.values():  # an id always means itself, whatever another's alias says
            self._keys[self._normal(record.id)] = record.id

    @staticmethod
    def _normal(name: str) -> str:
        flat = name.strip().casefold()
        for suffix in (".safetensors", ".ckpt", ".pt"):
            flat = flat.removesuffix(suffix)
        return flat

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[ModelRecord]:
        return iter(self.records.values())

    def find(self, name: str) -> ModelRecord | None:
        """The record that `name` means, or None."""
        key = self._keys.get(self._normal(name))
        return None if key is None else self.records[key]

    def get(self, name: str) -> ModelRecord:
        """Like `find`, but raises UnknownNameError with suggestions."""
        record = self.find(name)
        if record is None:
            raise UnknownNameError("model", name, self.records, "`chatgenbench models` lists the catalog")
        return record

    def base_of(self, record: ModelRecord) -> ModelRecord:
        """The checkpoint a record draws with: itself, or the base its LoRA sits on."""
        return record if record.base is None else self.get(record.base)


@dataclass(frozen=True)
class Benchmark:
    """A loaded benchmark.  `root` is the folder that relative paths start from."""

    root: Path
    manifest: Manifest
    catalog: Catalog
    demonstrations: dict[str, Demonstration]
    items: tuple[Item, ...]
    hash: str = field(default="")

    @cached_property
    def train(self) -> tuple[Demonstration, ...]:
        """The demonstrations a system may learn from."""
        return tuple(d for d in self.demonstrations.values() if d.split == "train")

    @cached_property
    def train_inputs(self) -> tuple[TrainInput, ...]:
        """Chats of the training demonstrations, in the file's order; empty where the benchmark has none.

        Raises:
            BenchmarkError: a line that cannot be read, or that belongs to no training demonstration.
        """
        path = self.root / TRAIN_INPUTS
        found = tuple(_unique(path, TrainInput).values()) if path.is_file() else ()
        known = {d.id for d in self.train}
        for chat in found:
            if chat.demonstration not in known:
                told, of = shorten(chat.id, 80), shorten(chat.demonstration, 80)
                raise BenchmarkError(f"{path}: chat '{told}' is of '{of}', no training demonstration")
        return found

    @cached_property
    def train_hash(self) -> str:
        """sha256 (64 hex digits) over what a system may be trained on: training demonstrations and their chats."""
        digest = hashlib.sha256()
        for one in (*self.train, *self.train_inputs):
            digest.update(one.model_dump_json().encode() + b"\n")
        return digest.hexdigest()

    @cached_property
    def by_id(self) -> dict[str, Item]:
        return {item.id: item for item in self.items}

    def gold(self, item: Item) -> Demonstration:
        """The human record behind an item."""
        return self.demonstrations[item.demonstration]

    def require_pictures(self, items: Iterable[Item]) -> None:
        """See that the gold pictures of `items` are there; BenchmarkError names the first that is not."""
        for item in items:
            path = self.root / self.gold(item).picture
            if not path.is_file():
                raise BenchmarkError(f"{path} (item '{item.id}') is missing: fetch the benchmark again")

    def subset(self, limit: int | None) -> tuple[Item, ...]:
        """The first `limit` items of a fixed order stratified by split, kind and target model.

        A longer subset always contains a shorter one, so a limited run can be continued to the whole.
        """
        if limit is None or limit >= len(self.items):
            return self.items
        strata: dict[tuple[str, ...], list[Item]] = {}
        for item in self.items:
            strata.setdefault((item.split, item.input.kind, self.gold(item).plan.model), []).append(item)
        position: dict[str, tuple[float, str]] = {}
        for members in strata.values():
            for rank, item in enumerate(members):
                spread = int(hashlib.sha256(item.id.encode()).hexdigest()[:8], 16) / 16**8
                position[item.id] = ((rank + spread) / len(members), item.id)
        chosen = {i.id for i in sorted(self.items, key=lambda i: position[i.id])[:limit]}
        return tuple(item for item in self.items if item.id in chosen)

    def split_items(self, split: Split) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.split == split)


def load_benchmark(spec: str) -> Benchmark:
    """Load `miniature`, a folder, or `hf:OWNER/NAME[@REVISION]`.

    Raises:
        UnknownNameError: no bundled benchmark or folder of that name.
        BenchmarkError: the folder is there but cannot be read as a benchmark.
    """
    if spec in BUNDLED:
        return _read(_bundled(spec))
    if spec.startswith("hf:"):
        return _read(_from_hub(spec.removeprefix("hf:")))
    folder = Path(spec)
    if folder.is_dir():
        return _read(folder)
    hint = "or give a folder that holds benchmark.json, or hf:OWNER/NAME"
    raise UnknownNameError("benchmark", spec, BUNDLED, hint)


def _bundled(name: str) -> Path:
    """In a wheel the data sits inside the package; in a checkout it is the folder `data/`."""
    for root in (Path(__file__).parent / "_data", Path(__file__).parent.parent / "data"):
        if (root / name / "benchmark.json").is_file():
            return root / name
    raise BenchmarkError(f"the bundled benchmark '{name}' is missing from this installation: reinstall chatgenbench")


def _from_hub(repo: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name, _, revision = repo.partition("@")
    try:
        return Path(snapshot_download(name, repo_type="dataset", revision=revision or None))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = shorten(str(error), 160)
        raise BenchmarkError(f"cannot fetch dataset '{name}' from the hub: {reason}") from None


def _read(root: Path) -> Benchmark:
    for name in FILES:
        if not (root / name).is_file():
            built = root / "dataset"  # of `chatgenbench build --out root`
            meant = f"; did you mean {built}?" if (built / name).is_file() else ""
            raise BenchmarkError(f"{root} is not a benchmark: {name} is missing{meant}")
    try:
        manifest = Manifest.model_validate_json((root / "benchmark.json").read_text("utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{root / 'benchmark.json'}: {_first_problem(error)}") from None
    if not manifest.hydrated:
        raise BenchmarkError(
            f"{root} leaves out prompts and pictures: fetch them with `chatgenbench build hydrate {root} --out DIR`"
        )
    demonstrations = _unique(root / "demonstrations.jsonl", Demonstration)
    catalog = Catalog(_unique(root / "catalog.jsonl", ModelRecord).values())
    items = tuple(_unique(root / "items.jsonl", Item).values())
    benchmark = Benchmark(root, manifest, catalog, demonstrations, items, _hash(root))
    _check(benchmark)
    return benchmark


def _unique(path: Path, noun: type[N]) -> dict[str, N]:
    """The nouns of a file by id; an id that stands twice would let one silently hide the other."""
    found: dict[str, N] = {}
    for one in _lines(path, noun):
        key: str = one.id  # type: ignore[attr-defined]
        if key in found:
            raise BenchmarkError(f"{path}: id '{shorten(key)}' stands twice: keep one")
        found[key] = one
    return found


def _lines(path: Path, noun: type[N]) -> Iterator[N]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield noun.model_validate_json(line)
            except ValidationError as error:
                raise BenchmarkError(f"{path}, line {number}: {_first_problem(error)}") from None


def _first_problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return shorten(str(error))
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return shorten(f"{where}: {first['msg']}" if where else first["msg"], 200)


def _check(benchmark: Benchmark) -> None:
    if not benchmark.items:
        raise BenchmarkError(f"{benchmark.root / 'items.jsonl'} holds no items: fetch the benchmark again")
    for item in benchmark.items:
        gold = benchmark.demonstrations.get(item.demonstration)
        if gold is None:
            raise BenchmarkError(f"item '{item.id}' names demonstration '{item.demonstration}', which is not there")
        if benchmark.catalog.find(gold.plan.model) is None:
            raise BenchmarkError(f"demonstration '{gold.id}' uses model '{gold.plan.model}', not in the catalog")
    if benchmark.catalog.find(benchmark.manifest.default_model) is None:
        raise BenchmarkError(f"default_model '{benchmark.manifest.default_model}' is not in the catalog")


def _hash(root: Path) -> str:
    digest = hashlib.sha256()
    for name in FILES:
        digest.update(json.dumps([name, hashlib.sha256((root / name).read_bytes()).hexdigest()]).encode())
    return digest.hexdigest()
