"""Where records come from: the hub's stored answers, or what is bundled.  Both look alike to the stages that follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Protocol

from chatgenbench.build import bundled
from chatgenbench.build.catalog import Hub, pairs_of, to_record
from chatgenbench.build.civitai import creator_of
from chatgenbench.build.collect import Query, images, models
from chatgenbench.build.filters import Limits, check, check_record
from chatgenbench.build.funnel import Count
from chatgenbench.build.records import Drop, Record
from chatgenbench.build.store import RawStore
from chatgenbench.schema import ModelRecord


class Source(Protocol):
    """What the stages ask of a source."""

    #: (name, licence, attribution) of everything the records are made of.
    credits: tuple[tuple[str, str, str], ...]
    #: Whether its demonstrations have pictures: then one without has no place among them.
    pictures: bool

    @property
    def revision(self) -> str:
        """Changes whenever the records may."""

    def records(self, count: Count) -> Iterator[Record | Drop]:
        """Every record that was collected, parsed, or why it could not be."""

    def objection(self, record: Record, limits: Limits) -> str | None:
        """Why a record may not become a demonstration, or None."""

    def catalog(self, records: Iterable[Record], removed: Callable[[str], bool]) -> list[ModelRecord]:
        """The models of a benchmark with these demonstrations; none that is `removed`, told its id."""


class Bundled:
    """The records that come with the program."""

    credits = bundled.SOURCES
    pictures = False

    @property
    def revision(self) -> str:
        return bundled.revision()

    def records(self, count: Count) -> Iterator[Record | Drop]:
        return bundled.records()

    def objection(self, record: Record, limits: Limits) -> str | None:
        """Nothing is known of the models' licences and safety, and no picture of theirs is used: not asked."""
        return check_record(record, limits)

    def catalog(self, records: Iterable[Record], removed: Callable[[str], bool]) -> list[ModelRecord]:
        models = bundled.catalog({record.plan.model for record in records})
        return [model for model in models if not removed(model.id)]


class Civitai:
    """Answers of the public API in `store`; nothing is fetched here."""

    credits = (("Civitai, by its public API", "LicenseRef-Civitai", "its users, each under their own terms"),)
    pictures = True

    def __init__(self, store: RawStore, query: Query, salt: Callable[[], bytes]) -> None:
        self.store, self.query, self._salt = store, query, salt
        self._listed, self._models = Count(), Count()

    @property
    def revision(self) -> str:
        return self.store.digest()

    @cached_property
    def hub(self) -> Hub:
        return Hub(models(self.store, self.query, self._listed), self._models)

    def records(self, count: Count) -> Iterator[Record | Drop]:
        key, hub = self._salt(), self.hub
        count.noted.update(self._listed.noted)
        count.noted.update({f"models:{name}": number for name, number in self._models.noted.items()})

        def creator(name: str) -> str:
            return creator_of(key, name)

        for image in images(self.store, self.query, count):
            yield to_record(image, hub, creator, count)

    def objection(self, record: Record, limits: Limits) -> str | None:
        return check(record, self.hub.flags(record.plan.model), limits)

    def catalog(self, records: Iterable[Record], removed: Callable[[str], bool]) -> list[ModelRecord]:
        used: Counter[str] = Counter()

        def counted() -> Iterator[Record]:
            for record in records:
                used[record.plan.model] += 1
                yield record

        pairs = pairs_of(counted())
        return self.hub.catalog(used, pairs, removed)
