"""What a system may say beside its plans: how many inputs it wants at once, and what readers should know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chatgenbench.benchmark import load_benchmark
from chatgenbench.evaluate.pipeline import PLAN_BATCH, plan_stage
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.schema import FreestyleInput
from chatgenbench.systems.protocol import Answered

BENCHMARK = load_benchmark("miniature")


class Batched:
    """Answers with one plan, and notes how many it was asked at once."""

    name, revision = "batched", "1"

    def __init__(self) -> None:
        self.asked: list[int] = []

    def prepare(self, catalog: object, train: object) -> None:
        """Nothing to learn."""

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Answered]:
        self.asked.append(len(inputs))
        for chat in inputs:
            yield Answered(BENCHMARK.train[0].plan, note=f"{chat.kind}:\x07 a stand-in" if chat.images else "")


class Silent:
    """Nobody watches."""

    def tick(self, name: str, done: int, total: int) -> None: ...


@pytest.mark.parametrize(("wanted", "asked"), [(None, [PLAN_BATCH, PLAN_BATCH, 4]), (16, [16, 4]), (64, [20])])
def test_a_system_is_asked_as_many_at_once_as_it_wants(wanted: int | None, asked: list[int], tmp_path: Path) -> None:
    system = Batched()
    if wanted is not None:
        system.plan_batch = wanted  # type: ignore[attr-defined]
    plan_stage(RunFolder(tmp_path), BENCHMARK, system, BENCHMARK.items[:20], Silent())
    assert system.asked == asked


def test_what_a_system_notes_of_an_answer_is_kept_with_it(tmp_path: Path) -> None:
    items = BENCHMARK.items[:20]
    plan_stage(RunFolder(tmp_path), BENCHMARK, Batched(), items, Silent())
    rows = RunFolder(tmp_path).planned()
    for item in items:
        assert rows[item.id].note == ("multimodal:\ufffd a stand-in" if item.input.images else None)
