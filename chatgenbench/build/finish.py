"""The last stages: role-play over the split records, then the published dataset with its proof that nothing leaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import chatgenbench
from chatgenbench.build import leaks
from chatgenbench.build.funnel import Count
from chatgenbench.build.pipeline import Funnel, Progress
from chatgenbench.build.play.cast import Assignment, assign
from chatgenbench.build.play.run import Accepted, Estimate, Play, estimate, play
from chatgenbench.build.publish import Built, publish
from chatgenbench.build.records import Drop, Placed, Record
from chatgenbench.build.settings import Settings
from chatgenbench.build.sources import Source
from chatgenbench.build.workspace import Workspace, read_lines, write_lines
from chatgenbench.errors import UserError
from chatgenbench.remote.endpoint import Endpoint, Model
from chatgenbench.schema import ModelRecord, digest_of

T = TypeVar("T")

#: Why a demonstration that has its split is not published, and what each means.
REASONS = {
    "model-not-in-catalog": "its model cannot be listed (no file, or somebody asked to have it removed)",
    "no-chat-accepted": "it is to be tested on, and every chat that asks for it was rejected",
    "no-chat-asked": "it is to be tested on, and --max-items left no chat for it",
}


@dataclass(frozen=True)
class Edition:
    """What the dataset is called and how much of it is published.

    `created` is the date printed on its card, `weights` what metrics load when nobody says otherwise.
    """

    name: str
    created: str
    contact: str = ""
    form: Literal["full", "release"] = "release"
    weights: str = "published"


class Ending:
    """Role-play and publication of a build whose records are split."""

    def __init__(
        self, workspace: Workspace, source: Source, settings: Settings, play_settings: Play, progress: Progress
    ) -> None:
        self.workspace, self.source, self.settings = workspace, source, settings
        self.play, self.progress = play_settings, progress
        self.catalog: list[ModelRecord] = source.catalog(self._placed(), settings.removals.hits_model)
        self._models = {model.id: model for model in self.catalog}

    def _placed(self) -> Iterator[Placed]:
        return read_lines(self.workspace.lines("split"), Placed)

    def tasks(self) -> list[Assignment]:
        """Every chat to be played.

        Raises:
            UserError: no record is left to test on.
        """
        known = (record for record in self._placed() if record.plan.model in self._models)
        found = assign(known, self.play.seed, self.play.inputs, self.play.max_items, self.play.train)
        if not found:
            mend = "collect more (--max-models, --max-images), or raise --test-share"
            if self.settings.source == "bundled":
                mend = "ask for less, or raise --test-share"
            if self.settings.removals.names:
                mend = f"look at the removal list, {mend}"
            old = f"; {self.workspace.dataset} is from before: delete it" if self.workspace.dataset.exists() else ""
            raise UserError(f"no record is left to test on: {mend}; the funnel says where records went{old}")
        return found

    def estimate(self, endpoint: Endpoint) -> Estimate:
        """What the role-play may cost before anything is asked."""
        return estimate(self.tasks(), self._models, endpoint, self.play)

    def _given(self, endpoint_model: str, structured: bool) -> Any:
        split = json.loads(self.workspace.counters("split").read_text("utf-8"))["given"]
        return ["roleplay", split, asdict(self.play), endpoint_model, structured, chatgenbench.__version__]

    def played(self, endpoint_model: str, structured: bool, skip: bool = False) -> dict[str, Any] | None:
        """The counters of the role-play if it was done already, so that no language model has to be there.

        Without `skip` it is not done as long as chats stay unanswered.
        """
        done = self.workspace.done("roleplay", self._given(endpoint_model, structured))
        return None if done and not skip and "unanswered" in done["dropped"] else done

    def roleplay(self, endpoint: Endpoint, skip: bool = False) -> dict[str, Any]:
        """Play every chat; the counters, by kind of input too.  `skip`: go on without chats that are never answered."""
        given = self._given(endpoint.model, endpoint.structured)
        done = self.played(endpoint.model, endpoint.structured, skip)
        if done is None:
            self.workspace.remove("roleplay")
            count = Count()
            kept = count.through(self._chats(endpoint, count, skip))
            write_lines(self.workspace.lines("roleplay"), kept)
            done = count.as_json()
            self.workspace.finish("roleplay", given, done)
        return {name: done[name] for name in ("seen", "kept", "dropped", "noted")}

    def _chats(self, endpoint: Endpoint, count: Count, skip: bool) -> Iterator[Accepted | Drop]:
        tasks = self.tasks()
        for task in tasks:
            count.noted[f"asked: {task.kind}"] += 1
        with asyncio.Runner() as runner:
            model = runner.run(_entered(endpoint, self.workspace.root / "roleplay.jsonl"))
            try:
                yield from _steps(runner, play(tasks, self._models, model, self.play, self.progress.tick, skip))
            finally:
                runner.run(model.__aexit__(None, None, None))

    def publish(self, edition: Edition, funnel: Funnel) -> tuple[Funnel, dict[str, Any]]:
        """Write `dataset/`; the funnel with this stage, and the leak report over what is published.

        Raises:
            UserError: no chat was accepted, or something leaks.
        """
        count = Count()
        report = leaks.report(
            (leaks.row(record, record.split) for record in count.through(self._final())),
            self.settings.dedupe.prompt_similarity, self.settings.dedupe.picture_distance, self.workspace.stages,
        )  # fmt: skip
        funnel = {**funnel, "publish": count.as_json()}
        found = leaks.problems(report)
        if found:
            raise UserError(f"the splits leak ({'; '.join(found[:3])}): nothing is published; please report this")
        told = {"play": asdict(self.play), **asdict(self.settings)} | {"removals": len(self.settings.removals.names)}
        built = Built(
            name=edition.name, version=digest_of([self._digest("split"), self._digest("roleplay")])[:12],
            label=f"built with chatgenbench from {self.settings.source} records; not the paper's ChatGenBench",
            records=((_published(record), record.split) for record in Count().through(self._final())),
            catalog=self.catalog,
            inputs=read_lines(self.workspace.lines("roleplay"), Accepted), funnel=funnel, leaks=report,
            settings=json.loads(json.dumps(told, default=sorted)), sources=self.source.credits,
            created=edition.created, few_shot_threshold=self.settings.split.few_shot_threshold,
            contact=edition.contact, root=self.workspace.root, weights=edition.weights,
        )  # fmt: skip
        publish(built, self.workspace.dataset, edition.form)
        return funnel, report

    def _digest(self, stage: str) -> str:
        return str(json.loads(self.workspace.counters(stage).read_text("utf-8"))["given"])

    def _final(self) -> Iterator[Placed | Drop]:
        """Training records, and test records that somebody asks for (`REASONS` of the others)."""
        accepted = {chat.demonstration for chat in read_lines(self.workspace.lines("roleplay"), Accepted)}
        asked = {task.record.id for task in self.tasks()}
        if not accepted:
            raise UserError(
                "no chat was accepted: use a better --llm-model, or --facts words; stages/roleplay.json says why each "
                "was rejected"
            )
        for record in self._placed():
            if record.plan.model not in self._models:
                yield Drop(record.id, "model-not-in-catalog")
            elif record.split == "train" or record.id in accepted:
                yield record
            else:
                yield Drop(record.id, "no-chat-accepted" if record.id in asked else "no-chat-asked")


def _published(record: Placed) -> Record:
    """The record without what only the builder needs: the checkpoint under a LoRA is in the catalog."""
    fields = record.model_dump(exclude={"split", "component"})
    return Record.model_validate(fields | {"plan": record.plan.model_copy(update={"ranking": ()})})


async def _entered(endpoint: Endpoint, journal: Path) -> Model:
    return await Model(endpoint, journal).__aenter__()


def _steps(runner: asyncio.Runner, results: AsyncIterator[T]) -> Iterator[T]:
    """The results of an asynchronous iterator, one at a time, in a loop that rests in between."""

    async def step() -> T | None:
        return await anext(results, None)

    while (found := runner.run(step())) is not None:
        yield found
