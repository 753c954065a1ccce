"""Writes every file of a dataset folder, for `publish` and `hydrate` alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from chatgenbench.benchmark import TRAIN_INPUTS, Manifest
from chatgenbench.build import croissant, datacard
from chatgenbench.build.contents import About, Chat, Provenance
from chatgenbench.build.draft import Lines, line_of, place, write_sums
from chatgenbench.build.tables import Tables
from chatgenbench.build.workspace import pretty
from chatgenbench.errors import InfraError, UserError
from chatgenbench.schema import Demonstration, Item, ModelRecord, TrainInput


class Writer:
    """One dataset folder being written.

    Args:
        draft: an empty folder.
        catalog: models; a demonstration of another model is left out.
        hydration: the counts of `hydrate`, asked for when all demonstrations are written; empty otherwise.
    """

    def __init__(
        self,
        draft: Path,
        about: About,
        catalog: Sequence[ModelRecord],
        leaks: Mapping[str, Any],
        hydration: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.draft, self.about, self.leaks, self._hydration = draft, about, leaks, hydration
        self.catalog = sorted(catalog, key=lambda model: model.id)
        self.left_out: Counter[str] = Counter()
        self.tally = datacard.Tally()
        self._models = {model.id: model for model in self.catalog}
        self._references: set[str] = set()
        self._drawn = False

    def write(
        self,
        parts: Iterable[tuple[Demonstration, Provenance]],
        chats: Iterable[Chat],
        picture: Callable[[str], Path],
    ) -> None:
        """Write every file.  `picture` tells where a picture lies whose path in the dataset is given."""
        with (
            Lines(self.draft / "demonstrations.jsonl", Demonstration) as demonstrations,
            Lines(self.draft / "records.jsonl", Provenance) as records,
            Lines(self.draft / "chats.jsonl", Chat) as kept,
        ):
            for demonstration, provenance in parts:
                if demonstration.plan.model not in self._models:
                    self.left_out["demonstrations of a model that the catalog lacks"] += 1
                    continue
                demonstrations.add(demonstration.id, demonstration)
                records.add(provenance.id, provenance)
                self._picture(demonstration, provenance, picture)
                self.tally.demonstration(demonstration, provenance.whole)
                self._drawn |= demonstration.split != "train" and bool(demonstration.picture)
            self._items(demonstrations, chats, kept)
            self._tables(demonstrations, records, kept)
        self._small_files()

    def _picture(self, demonstration: Demonstration, provenance: Provenance, picture: Callable[[str], Path]) -> None:
        name = demonstration.picture
        if not name:
            return
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InfraError(f"the picture of {demonstration.id} has a path that leaves the dataset: build again")
        self._references.add(name)
        if provenance.whole:
            source = picture(name)
            if not source.is_file():
                raise InfraError(
                    f"the picture {source} of {demonstration.id} is missing: type the build's command again"
                )
            place(source, self.draft / name)

    def _items(self, demonstrations: Lines, chats: Iterable[Chat], kept: Lines) -> None:
        """Chats whose demonstration and reference pictures are there: items, or of a training demonstration.

        One item without a picture would switch the picture metrics off for all: where any test demonstration has one,
        inputs of those without are left out.
        """
        with (self.draft / "items.jsonl").open("wb") as items, (self.draft / TRAIN_INPUTS).open("wb") as train:
            for chat in chats:
                if chat.demonstration not in demonstrations:
                    self.left_out["freestyle inputs whose demonstration is not there"] += 1
                    continue
                gold: Demonstration = demonstrations.get(chat.demonstration)
                if not self._references.issuperset(chat.input.images):
                    self.left_out["freestyle inputs whose reference picture is not there"] += 1
                elif self._drawn and gold.split != "train" and not gold.picture:
                    self.left_out["freestyle inputs whose demonstration has no picture, where others have one"] += 1
                else:
                    kept.add(chat.id, chat)
                    self.tally.chat(chat.input, gold)
                    if gold.split != "train":
                        items.write(line_of(_item(chat, gold)) + b"\n")
                    else:
                        train.write(line_of(_train_input(chat)) + b"\n")
        if not self.tally.items:
            raise UserError("no freestyle input belongs to a test demonstration: collect more, or ask for more inputs")

    def _tables(self, demonstrations: Lines, records: Lines, chats: Lines) -> None:
        """Rows of Parquet: every chat in order, then the demonstrations without one."""
        spoken: set[str] = set()
        with Tables(self.draft) as tables:
            for key in chats.keys():  # noqa: SIM118
                chat: Chat = chats.get(key)
                spoken.add(chat.demonstration)
                tables.add(demonstrations.get(chat.demonstration), records.get(chat.demonstration), chat)
            for key in demonstrations.keys():  # noqa: SIM118
                if key not in spoken:
                    tables.add(demonstrations.get(key), records.get(key), None)
            self.tally.rows = tables.rows

    def _small_files(self) -> None:
        about = self.about.model_copy(update={"licence": self.about.licence or ", ".join(sorted(self.tally.licences))})
        manifest = Manifest(
            name=about.name, version=about.version, label=about.label, licence=about.licence, weights=about.weights,
            default_model=self._default_model(), few_shot_threshold=about.few_shot_threshold, form=about.form,
            hydrated=self.tally.withheld == 0, pictures=self.tally.items_without_picture == 0,
        )  # fmt: skip
        facts = about.model_dump(mode="json") | {
            "settings": _sorted(about.settings),
            "left_out": dict(sorted(self.left_out.items())),
            "hydration": self._hydration(),
        }
        files = {
            "benchmark.json": pretty(manifest.model_dump(mode="json")),
            "catalog.jsonl": b"".join(line_of(model) + b"\n" for model in self.catalog),
            "build.json": pretty(facts),
            "leaks.json": pretty(_sorted(self.leaks)),
            "funnel.svg": datacard.funnel_chart(about.funnel).encode(),
            "README.md": datacard.card(facts, self.leaks, self.tally, manifest).encode(),
            "DATASHEET.md": datacard.datasheet(facts, self.leaks, self.tally, manifest).encode(),
        }
        for name, data in files.items():
            (self.draft / name).write_bytes(data)
        (self.draft / "croissant.json").write_bytes(pretty(croissant.metadata(facts, self.draft)))
        write_sums(self.draft)

    def _default_model(self) -> str:
        """The checkpoint that draws most training demonstrations (all, when nobody trains); of equals, the first id."""
        counts = self.tally.train_models or self.tally.test_models
        drawn: Counter[str] = Counter()
        for key, number in counts.items():
            base = self._models[key].base
            drawn[base if base in self._models else key] += number
        return min(drawn, key=lambda key: (-drawn[key], key))


def _item(chat: Chat, gold: Demonstration) -> Item:
    slices = {"style": chat.style} if chat.style else {}
    return Item.model_validate(
        {"id": chat.id, "input": chat.input, "demonstration": gold.id, "split": gold.split, "slices": slices}
    )


def _train_input(chat: Chat) -> TrainInput:
    slices = {"style": chat.style} if chat.style else {}
    return TrainInput(id=chat.id, input=chat.input, demonstration=chat.demonstration, slices=slices)


def _sorted(value: Any) -> Any:
    """Mappings by key all the way down: whoever made them, equal content is equal bytes."""
    if isinstance(value, Mapping):
        return {str(key): _sorted(value[key]) for key in sorted(value, key=str)}
    return [_sorted(one) for one in value] if isinstance(value, list | tuple) else value
