"""The full form out of a release: what it leaves out is fetched again by the reader, and checked by sha256."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from chatgenbench.benchmark import FILES, Manifest, _from_hub
from chatgenbench.build.contents import About, Chat, Provenance, text_sha256
from chatgenbench.build.draft import check_free, draft_of, read_sums, sha256_of
from chatgenbench.build.records import Drop, Record
from chatgenbench.build.removals import Removals
from chatgenbench.build.workspace import Workspace
from chatgenbench.build.writer import Writer
from chatgenbench.errors import UserError
from chatgenbench.schema import Demonstration, ModelRecord, Noun

#: Records asked for at once; so many are in memory.
BATCH = 500
#: What is read of a release, beside its pictures.
PARTS = (*FILES, "records.jsonl", "chats.jsonl", "build.json", "leaks.json")
#: Why a demonstration may be lost, beside the reasons that `fetch` gives.
REASONS = {
    "gone": "its source does not give it any more",
    "unanswered": "its source never answered, and hydration was told to go on without it",
    "prompt-changed": "prompt or negative prompt are not what was published",
    "picture-missing": "the record came without its picture",
    "picture-changed": "the picture is not what was published",
    "removal": "somebody asked to have it, its model or its creator's pictures left out",
}

Fetch = Callable[[list[str]], Iterator[tuple[str, Record | Drop]]]
N = TypeVar("N", bound=Noun)


def hydrate(
    folder: Path, out: Path, fetch: Fetch, root: Path | None = None, removals: Removals | None = None
) -> dict[str, Any]:
    """Write to `out` the full form of the release in `folder` (or `hf:OWNER/NAME[@REVISION]`); returns the counts.

    Demonstrations that cannot be brought back as they were are dropped with their chats and items.  When none is lost,
    `out` is the same benchmark (the same hash) as the builder's own full form.

    Args:
        fetch: gives each of some record ids as a record, or why there is none; order does not matter.
        root: folder that the fetched records' picture paths start from (default: the current one).
        removals: what to leave out beside.  Users are known of what is fetched only, by the salt of `root`.

    Returns:
        `seen`, `kept` and `dropped` (by reason) of demonstrations; `items`, `items_lost`, `inputs_lost`.

    Raises:
        UserError: `folder` is no release or was changed since, `out` is taken, or no item is left.
        InfraError: the disk refuses, or what `fetch` raises.
    """
    folder = located(folder)
    release = _Release(folder)
    check_free(out)
    if out.resolve() == folder.resolve() or folder.resolve() in out.resolve().parents:
        raise UserError(f"--out {out} lies in the release itself: choose another place")
    root = root or Path()
    refill = _Refill(release, fetch, root, (removals or Removals()).resolved(Workspace(root).salt))
    with draft_of(out) as draft:
        writer = Writer(draft, release.about, refill.catalog, release.leaks, refill.counts)
        writer.write(refill.parts(), release.nouns("chats.jsonl", Chat), refill.picture)
    lost = sum(writer.left_out.values())
    return {**refill.counts(), "items": writer.tally.items, "items_lost": release.items - writer.tally.items,
            "inputs_lost": lost}  # fmt: skip


def located(folder: Path) -> Path:
    """The folder itself, or where the dataset `hf:OWNER/NAME[@REVISION]` lies once it was fetched."""
    name = str(folder)
    return _from_hub(name.removeprefix("hf:")) if name.startswith("hf:") else folder


class _Release:
    """A published folder, seen to be whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = self._one("benchmark.json", Manifest)
        if manifest.form != "release":
            raise UserError(f"{folder} is in its full form already: use it as it is")
        sums = read_sums(folder)
        for name in PARTS:
            if not (folder / name).is_file() or sha256_of(folder / name) != sums.get(name):
                raise UserError(f"{folder / name} is missing or was changed since it was published: fetch it again")
        facts = orjson.loads((folder / "build.json").read_bytes())
        self.about = About.model_validate({key: facts[key] for key in About.model_fields} | {"form": "full"})
        self.leaks: Mapping[str, Any] = orjson.loads((folder / "leaks.json").read_bytes())
        self.catalog = list(self.nouns("catalog.jsonl", ModelRecord))
        with (folder / "items.jsonl").open("rb") as file:
            self.items = sum(1 for _ in file)

    def nouns(self, name: str, noun: type[N]) -> Iterator[N]:
        """The lines of a file, one at a time."""
        with (self.folder / name).open("rb") as file:
            for line in file:
                yield noun.model_validate(orjson.loads(line))

    def _one(self, name: str, noun: type[N]) -> N:
        try:
            return noun.model_validate_json((self.folder / name).read_bytes())
        except (OSError, ValidationError):
            inside = self.folder / "dataset"
            meant = f"; did you mean {inside}?" if (inside / name).is_file() else ""
            raise UserError(f"{self.folder} is no published dataset: {name} is missing or damaged{meant}") from None


class _Refill:
    """The demonstrations of a release with what was left out of them."""

    def __init__(self, release: _Release, fetch: Fetch, root: Path, removals: Removals) -> None:
        self._release, self._fetch, self._root, self._removals = release, fetch, root, removals
        named = {model.id for model in release.catalog if removals.hits_model(model.id)}
        self._gone = {model.id for model in release.catalog if model.id in named or model.base in named}
        self.catalog = [model for model in release.catalog if model.id not in self._gone]
        self._dropped: Counter[str] = Counter()
        self._seen = 0
        self._pictures: dict[str, Path] = {}

    def counts(self) -> dict[str, Any]:
        dropped = dict(sorted(self._dropped.items()))
        return {"seen": self._seen, "kept": self._seen - sum(dropped.values()), "dropped": dropped}

    def picture(self, path: str) -> Path:
        """Where the picture lies whose path in the dataset is given: fetched, or in the release."""
        found = self._pictures.get(path, self._release.folder / path)
        return found.resolve()  # a dataset of the hub is a folder of links, and a link may not be linked

    def parts(self) -> Iterator[tuple[Demonstration, Provenance]]:
        batch: list[tuple[Demonstration, Provenance]] = []
        demonstrations = self._release.nouns("demonstrations.jsonl", Demonstration)
        for pair in zip(demonstrations, self._release.nouns("records.jsonl", Provenance), strict=True):
            batch.append(pair)
            if len(batch) == BATCH:
                yield from self._filled(batch)
                batch = []
        yield from self._filled(batch)

    def _filled(self, batch: list[tuple[Demonstration, Provenance]]) -> Iterator[tuple[Demonstration, Provenance]]:
        wanted = [record.id for pair in batch if not (record := pair[1]).whole and not self._removed(*pair)]
        fetched = dict(self._fetch(wanted)) if wanted else {}
        for demonstration, record in batch:
            self._seen += 1
            if self._removed(demonstration, record):
                self._dropped["removal"] += 1
                continue
            if record.whole:
                yield demonstration, record
                continue
            found = fetched.get(record.id, Drop(record.id, "gone"))
            reason = found.reason if isinstance(found, Drop) else self._objection(found, demonstration, record)
            if isinstance(found, Drop) or reason:
                self._dropped[reason or "gone"] += 1
                continue
            yield _joined(demonstration, record, found)

    def _removed(self, demonstration: Demonstration, record: Provenance) -> bool:
        """Whether the list names it, as far as the release tells; users are seen when it is fetched."""
        names = {record.id, record.creator, record.picture_sha256, demonstration.picture_sha256} - {""}
        models = (demonstration.plan.model, *demonstration.plan.ranking)
        return (
            not self._removals.names.isdisjoint(names)
            or not self._gone.isdisjoint(models)
            or any(map(self._removals.hits_model, models))
        )

    def _objection(self, found: Record, demonstration: Demonstration, record: Provenance) -> str | None:
        if self._removals.hits(found):
            return "removal"
        told = (record.prompt_sha256, record.negative_prompt_sha256)
        if (text_sha256(found.plan.prompt), text_sha256(found.plan.negative_prompt)) != told:
            return "prompt-changed"
        if not demonstration.picture:
            return None
        path = self._root / found.picture
        if not found.picture or not path.is_file():
            return "picture-missing"
        if sha256_of(path) != demonstration.picture_sha256:
            return "picture-changed"
        self._pictures[demonstration.picture] = path
        return None


def _joined(demonstration: Demonstration, record: Provenance, found: Record) -> tuple[Demonstration, Provenance]:
    """The release's plan with the fetched texts: what was published of it stays as it was published."""
    texts = {"prompt": found.plan.prompt, "negative_prompt": found.plan.negative_prompt}
    plan = demonstration.plan.model_copy(update=texts)
    return (
        demonstration.model_copy(update={"plan": plan, "attribution": found.attribution}),
        record.model_copy(update={"whole": True, "url": found.url, "attribution": found.attribution}),
    )
