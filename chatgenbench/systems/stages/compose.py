"""The system that three stages make together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from chatgenbench.benchmark import Catalog
from chatgenbench.errors import PlanError
from chatgenbench.schema import MAX_TEXT, Arguments, Costs, Demonstration, Failure, FreestyleInput, Plan
from chatgenbench.systems.guard import one_line
from chatgenbench.systems.protocol import Answered
from chatgenbench.systems.stages.borrowed import Borrowed
from chatgenbench.systems.stages.protocol import Arguer, Chooser, Draft, Words, Writer
from chatgenbench.systems.training import chat_prompt

SEPARATOR = "|"
#: Models named in a ranking.
HEAD = 10
R = TypeVar("R")
T = TypeVar("T")


def is_composed(spec: str) -> bool:
    """Whether a --system string is a chain of stages."""
    return SEPARATOR in spec


class Composed:
    """`writer | chooser | arguer` as one system; a row that one stage fails is not shown to the next."""

    def __init__(self, name: str, writer: Writer, chooser: Chooser, arguer: Arguer) -> None:
        self.name = name
        self._writer, self._chooser, self._arguer = writer, chooser, arguer

    @property
    def revision(self) -> str:
        """The stages' revisions."""
        return f" {SEPARATOR} ".join(stage.revision for stage in (self._writer, self._chooser, self._arguer))

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        for stage in (self._writer, self._chooser, self._arguer):
            stage.prepare(catalog, train)

    @property
    def runs_here(self) -> bool:
        """Whether all of it is computed on this machine."""
        return all(system.runs_here for system in self._borrowed())

    def keep_in(self, folder: Path) -> None:
        """Show the systems among the stages the run's folder."""
        for system in self._borrowed():
            system.keep_in(folder)

    def close(self) -> None:
        """There is nothing more to ask."""
        for system in self._borrowed():
            system.close()

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Answered]:
        failed: dict[int, Failure] = {}
        written = _step("writer", self._writer.write, dict(enumerate(inputs)), failed)
        drafts = {row: _draft(inputs[row], words) for row, words in written.items()}
        chosen = _step("chooser", self._chooser.choose, drafts, failed)
        drafts = {row: Draft(drafts[row].chat, drafts[row].words, drafts[row].rewritten, ranking)
                  for row, ranking in chosen.items()}  # fmt: skip
        argued = _step("arguer", self._arguer.argue, drafts, failed)
        for row in range(len(inputs)):
            answer = failed[row] if row in failed else _plan(drafts[row], argued[row])
            yield Answered(answer, self._costs(inputs[row].id))

    def _borrowed(self) -> list[Borrowed]:
        """The whole systems among the stages, each once."""
        stages = (self._writer, self._chooser, self._arguer)
        return list({id(stage): stage for stage in stages if isinstance(stage, Borrowed)}.values())

    def _costs(self, row: str) -> Costs:
        """What the systems among the stages said that this row cost; the time of this machine is taken by who asks."""
        known = [system.costs[row] for system in self._borrowed() if row in system.costs]
        sums = {name: [v for one in known if (v := getattr(one, name)) is not None] for name in Costs.model_fields}
        if self.runs_here:
            sums["device_seconds"] = []
        return Costs.model_validate({name: sum(values) for name, values in sums.items() if values})


def _step(
    name: str, stage: Callable[[Sequence[R]], list[T | Failure]], rows: Mapping[int, R], failed: dict[int, Failure]
) -> dict[int, T]:
    """One stage on the rows that still stand; what fails is put into `failed`, with the stage's name."""
    if not rows:
        return {}
    results = stage(list(rows.values()))
    if len(results) != len(rows):
        raise PlanError(f"the {name} gave {len(results)} results for {len(rows)} rows")
    done: dict[int, T] = {}
    for row, result in zip(rows, results, strict=True):
        if isinstance(result, Failure):
            failed[row] = Failure(outcome=result.outcome, reason=one_line(f"{name}: {result.reason}"))
        else:
            done[row] = result
    return done


def _draft(chat: FreestyleInput, words: Words) -> Draft:
    return Draft(chat, words, rewritten=words.prompt != chat_prompt(chat))


def _plan(draft: Draft, arguments: Arguments) -> Plan:
    return Plan(
        prompt=draft.words.prompt[:MAX_TEXT], negative_prompt=draft.words.negative_prompt[:MAX_TEXT],
        model=draft.ranking[0], arguments=arguments.model_copy(update={"seed": None}), ranking=draft.ranking[:HEAD],
    )  # fmt: skip
