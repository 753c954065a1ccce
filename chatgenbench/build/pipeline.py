"""`collect -> parse -> filter -> pictures -> dedupe -> split`: every record of a source finds its place, or why not.

A stage that was finished from the same input and settings is not done again; what it keeps and counts is on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import orjson

import chatgenbench
from chatgenbench.build import dedupe, pictures, split
from chatgenbench.build.funnel import Count
from chatgenbench.build.records import Drop, Placed, Record
from chatgenbench.build.settings import Settings
from chatgenbench.build.sources import Source
from chatgenbench.build.workspace import Workspace, read_lines, write_lines
from chatgenbench.errors import UserError
from chatgenbench.remote.pauses import patience
from chatgenbench.schema import digest_of

#: The stages whose results name a picture's file.
AFTER_LOSS = ("pictures", "dedupe", "split", "roleplay")

Funnel = dict[str, dict[str, Any]]
Results = Iterator[Record | Drop]


class Progress(Protocol):
    """Where a build tells how far it is; `total` is None while nobody knows."""

    def tick(self, name: str, done: int, total: int | None) -> None: ...


class Stages:
    """The stages between collecting and role-play, one after the other.

    Args:
        allow_private: pictures may lie at private addresses (a mirror of one's own).
        skip: go on without pictures that are never answered.
    """

    def __init__(
        self,
        workspace: Workspace,
        source: Source,
        settings: Settings,
        progress: Progress,
        allow_private: bool = False,
        skip: bool = False,
    ) -> None:
        self.workspace, self.source, self.settings, self.progress = workspace, source, settings, progress
        self._allow_private, self._skip = allow_private, skip
        self._given: Any = None

    def run(self) -> Funnel:
        """Do what is not done yet; the counters of every stage, in order."""
        s = self.settings
        self._given = self._begin
        return {
            "parse": self._parsed(),
            "filter": self._filtered(),
            "pictures": self._pictures(),
            "dedupe": self._stage("dedupe", asdict(s.dedupe), self._dedupe),
            "split": self._stage("split", asdict(s.split), self._split),
        }

    def run_offline(self) -> Funnel:
        """As far as it goes without the network: to the end, unless pictures are missing."""
        self._given = self._begin
        first = {"parse": self._parsed(), "filter": self._filtered()}
        return first if self.pictures_missing() else self.run()

    def pictures_missing(self) -> int | None:
        """How many pictures are still to be fetched; None for a source without any.  Call it after `filter`."""
        if not self.source.pictures:
            return None
        journal = self.workspace.root / "pictures.jsonl"
        limits = self.settings.limits
        return pictures.missing(self._kept("filter"), self.workspace.pictures, journal, limits, self._skip)

    @property
    def _begin(self) -> Any:
        return ["source", self.settings.source, self.source.revision, chatgenbench.__version__]

    def _parsed(self) -> dict[str, Any]:
        return self._stage("parse", [], self._parse)

    def _filtered(self) -> dict[str, Any]:
        s = self.settings
        return self._stage("filter", [asdict(s.limits), sorted(s.removals.names)], self._filter)

    def _stage(self, name: str, settings: Any, make: Callable[[Count], Results]) -> dict[str, Any]:
        """One pass that writes `stages/NAME.jsonl` whole, unless it was made from just this before."""
        self._given = [name, digest_of(self._given), settings]
        done = self.workspace.done(name, self._given)
        if done is None:
            self.workspace.remove(name)
            count = Count()
            try:
                write_lines(self.workspace.lines(name), self._watched(name, count, make(count)))
            except orjson.JSONDecodeError:
                stages = self.workspace.stages
                raise UserError(f"a file in {stages} is damaged: delete {stages} and type the command again") from None
            done = count.as_json()
            self.workspace.finish(name, self._given, done)
        self.progress.tick(name, done["seen"], done["seen"])
        return {key: done[key] for key in ("seen", "kept", "dropped", "noted")}

    def _watched(self, name: str, count: Count, results: Results) -> Iterator[Record]:
        for record in count.through(results):
            if count.kept % 500 == 1:
                self.progress.tick(name, count.seen, None)
            yield record

    def _kept(self, stage: str) -> Iterator[Record]:
        return read_lines(self.workspace.lines(stage), Record)

    def _parse(self, count: Count) -> Results:
        return self.source.records(count)

    def _filter(self, count: Count) -> Results:
        for record in self._kept("parse"):
            reason = (
                "removal"
                if self.settings.removals.hits(record)
                else self.source.objection(record, self.settings.limits)
            )
            yield Drop(record.id, reason) if reason else record

    def _pictures(self) -> dict[str, Any]:
        """Fetch what is missing (resumable by itself), then join."""
        journal, limits = self.workspace.root / "pictures.jsonl", self.settings.limits
        settings = [limits.nsfw_threshold]
        given = ["pictures", digest_of(self._given), settings]
        done = self.workspace.done("pictures", given)
        asked_again = done and not self._skip and "picture-unanswered" in done["dropped"]
        if done and (asked_again or pictures.lost(self.workspace.lines("pictures"), self.workspace.root)):
            done = None
            for name in AFTER_LOSS:  # what comes back may be another picture: whatever follows is made anew
                self.workspace.remove(name)
        if done is None and self.source.pictures:
            pictures.download(
                self._kept("filter"), self.workspace.pictures, journal, limits, self.progress.tick, self._allow_private,
                patience(), self._skip,
            )  # fmt: skip
        return self._stage("pictures", settings, lambda count: self._pictured(journal))

    def _pictured(self, journal: Path) -> Results:
        """Records with their pictures; the removal list may name a picture by what it holds, so it is asked again."""
        records = self._kept("filter")
        if not self.source.pictures:
            yield from records
            return
        for found in pictures.attach(records, journal, self.settings.limits):
            removed = isinstance(found, Record) and self.settings.removals.hits(found)
            yield Drop(found.id, "removal") if removed else found

    def _dedupe(self, count: Count) -> Results:
        found = dedupe.dedupe(self.workspace.lines("pictures"), self.settings.dedupe)
        found.save_clusters(self._clusters)
        return found.apply(self._kept("pictures"))

    @property
    def _clusters(self) -> Path:
        return self.workspace.stages / "clusters.npy"

    def _split(self, count: Count) -> Results:
        path = self.workspace.lines("dedupe")
        columns = split.read(path, dedupe.load_clusters(self._clusters, path), self.settings.split.seed)
        found = split.assign(columns, self.settings.split)
        for note in found.notes:
            count.noted[note] += 1
        for index, record in enumerate(self._kept("dedupe")):
            place = found.of(index, record.id)
            if isinstance(place, Drop):
                yield place
            else:
                yield Placed(**record.model_dump(), split=place, component=int(found.component[index]))
