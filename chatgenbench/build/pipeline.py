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
from chatgenbench.schema import digest_of

Funnel = dict[str, dict[str, Any]]
Results = Iterator[Record | Drop]


class Progress(Protocol):
    """Where a build tells how far it is; `total` is None while nobody knows."""

    def tick(self, name: str, done: int, total: int | None) -> None: ...


class Stages:
    """The stages between collecting and role-play, one after the other.

    Args:
        allow_private: pictures may lie at private addresses (a mirror of one's own).
    """

    def __init__(
        self, workspace: Workspace, source: Source, settings: Settings, progress: Progress, allow_private: bool = False
    ) -> None:
        self.workspace, self.source, self.settings, self.progress = workspace, source, settings, progress
        self._allow_private = allow_private
        self._given: Any = ["source", settings.source, source.revision, chatgenbench.__version__]

    def run(self) -> Funnel:
        """Do what is not done yet; the counters of every stage, in order."""
        s = self.settings
        return {
            "parse": self._stage("parse", [], self._parse),
            "filter": self._stage("filter", [asdict(s.limits), sorted(s.removals.names)], self._filter),
            "pictures": self._pictures(),
            "dedupe": self._stage("dedupe", asdict(s.dedupe), self._dedupe),
            "split": self._stage("split", asdict(s.split), self._split),
        }

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
        if self.workspace.done("pictures", given) is None:
            pictures.download(
                self._kept("filter"), self.workspace.pictures, journal, limits, self.progress.tick, Count(),
                self._allow_private,
            )  # fmt: skip
        return self._stage("pictures", settings, lambda count: pictures.attach(self._kept("filter"), journal, limits))

    def _dedupe(self, count: Count) -> Results:
        found = dedupe.dedupe(self.workspace.lines("pictures"), self.settings.dedupe)
        found.save_clusters(self._clusters)
        return found.apply(self._kept("pictures"))

    @property
    def _clusters(self) -> Path:
        return self.workspace.stages / "clusters.npy"

    def _split(self, count: Count) -> Results:
        path = self.workspace.lines("dedupe")
        columns = split.read(path, dedupe.load_clusters(self._clusters), self.settings.split.seed)
        found = split.assign(columns, self.settings.split)
        for note in found.notes:
            count.noted[note] += 1
        for index, record in enumerate(self._kept("dedupe")):
            place = found.of(index, record.id)
            if isinstance(place, Drop):
                yield place
            else:
                yield Placed(**record.model_dump(), split=place, component=int(found.component[index]))
