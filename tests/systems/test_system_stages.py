"""Systems made of stages: what may be written, who answers for what, and what a failing stage leaves to the others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import InfraError, UnknownNameError, UserError
from chatgenbench.schema import Failure, FreestyleInput, Plan
from chatgenbench.systems import ask, ready, resolve
from chatgenbench.systems.guard import done, keep
from chatgenbench.systems.stages import STAGES, stage_names
from chatgenbench.systems.stages.protocol import Arguer, Chooser, Writer

PLAYS = {"writer": Writer, "chooser": Chooser, "arguer": Arguer}


def answers(spec: str, benchmark: Benchmark, inputs: Sequence[FreestyleInput], batch: int = 2) -> list[Plan | Failure]:
    system = resolve(spec, benchmark, 0)
    ready(system, benchmark)
    return [answer for _, answer, _ in ask(system, inputs, benchmark.catalog, batch)]


def plans(spec: str, benchmark: Benchmark, inputs: Sequence[FreestyleInput], batch: int = 2) -> list[Plan]:
    found = answers(spec, benchmark, inputs, batch)
    assert all(isinstance(answer, Plan) for answer in found), found
    return [answer for answer in found if isinstance(answer, Plan)]


def test_every_stage_plays_its_role_and_describes_itself(benchmark: Benchmark) -> None:
    for name, role, summary in stage_names():
        made = STAGES[name.partition(":")[0]].make(None, benchmark, 0)
        assert isinstance(made, PLAYS[role])
        assert made.revision
        assert summary
        assert "\n" not in summary


def test_parts_come_from_their_stages(benchmark: Benchmark, inputs: list[FreestyleInput]) -> None:
    gold = [benchmark.gold(item).plan for item in benchmark.items]
    found = plans("oracle | fixed:oilPaint_v2 | popular-args", benchmark, inputs)
    assert [p.prompt for p in found] == [g.prompt for g in gold]
    assert [p.negative_prompt for p in found] == [g.negative_prompt for g in gold]
    assert {p.model for p in found} == {"oilPaint_v2"}
    assert {p.arguments.steps for p in found} == {20}
    chosen = plans("chat | oracle | oracle", benchmark, inputs)
    assert [p.model for p in chosen] == [g.model for g in gold]
    assert [p.arguments.steps for p in chosen] == [g.arguments.steps for g in gold]
    assert [p.prompt for p in chosen] == [chat.text for chat in inputs]
    assert all(p.arguments.seed is None for p in chosen)


def test_missing_stages_have_defaults(benchmark: Benchmark) -> None:
    named = {
        spec: resolve(spec, benchmark, 0).name for spec in ("fixed:oilPaint_v2", "echo|bm25-cards", "popular-args")
    }
    assert named == {
        "fixed:oilPaint_v2": "chat | fixed:oilPaint_v2 | model-args",
        "echo|bm25-cards": "echo | bm25-cards | model-args",
        "popular-args": "chat | retrieval | popular-args",
    }


def test_a_model_takes_its_own_usual_arguments_or_its_familys(
    benchmark: Benchmark, inputs: list[FreestyleInput]
) -> None:
    steps = {m: plans(f"chat | fixed:{m}", benchmark, inputs[:1])[0].arguments.steps for m in benchmark.catalog.records}
    assert steps == {"inkSketch_v1": 20, "glossyToy_v3": 30, "oilPaint_v2": 20, "plainBase_v0": 20}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("a | b | c | d", "one to three stages"),
        ("chat | | model-args", "one to three stages"),
        ("|", "one to three stages"),
        ("hybrid | chat", "'hybrid' is a chooser, not a writer"),
        ("chat:loud | hybrid", "takes nothing after a colon: write 'chat'"),
        ("chat | fixed:nothing_v1", "unknown model 'nothing_v1'"),
        ("chat | hybird", "did you mean 'hybrid'"),
        ("nobody | hybrid", "unknown writer 'nobody'"),
    ],
)
def test_a_chain_that_cannot_work_is_told_in_one_line(spec: str, message: str, benchmark: Benchmark) -> None:
    with pytest.raises(UserError, match=message.replace("|", r"\|")) as told:
        resolve(spec, benchmark, 0)
    assert "\n" not in str(told.value)


def test_a_misspelt_stage_alone_is_suggested(benchmark: Benchmark) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'bm25-cards'"):
        resolve("bm25-card", benchmark, 0)


COUNTING = """
from chatgenbench.schema import Arguments, Failure, Plan


class Counting:
    name, revision = "counting", "7"
    asked = []

    def prepare(self, catalog, train):
        self.model = sorted(catalog.records)[0]

    def plan(self, inputs):
        Counting.asked.append([chat.id for chat in inputs])
        for chat in inputs:
            if chat.id == "i2":
                yield Failure(reason="not today")
            else:
                yield Plan(prompt=f"about {chat.id}", model=self.model,
                           arguments=Arguments(sampler="Euler", steps=9, cfg_scale=2, width=64, height=64))
"""


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    (tmp_path / "counting_system.py").write_text(COUNTING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib

    module = importlib.import_module("counting_system")
    module.Counting.asked.clear()
    asked: list[list[str]] = module.Counting.asked
    return asked


def test_a_system_in_two_places_is_asked_once_and_its_failures_stay_its_rows(
    counting: list[list[str]], benchmark: Benchmark, inputs: list[FreestyleInput]
) -> None:
    spec = "counting_system:Counting | counting_system:Counting | popular-args"
    found = answers(spec, benchmark, inputs, batch=3)
    assert counting == [["i1", "i2", "i3"], ["i4", "i5"]]
    assert isinstance(found[1], Failure)
    assert found[1].reason == "writer: not today"
    others = [plan for at, plan in enumerate(found) if at != 1]
    assert all(isinstance(p, Plan) and p.prompt.startswith("about") and p.arguments.steps == 20 for p in others)


SEARCHES = [name for name, stage in STAGES.items() if stage.role == "chooser" and name not in ("fixed", "rerank")]


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_finds_the_look_that_is_asked_for(
    name: str, benchmark: Benchmark, inputs: list[FreestyleInput]
) -> None:
    asked = [
        FreestyleInput(id="toy", kind="single", messages=({"text": "a shiny plastic toy cat"},)),  # type: ignore[arg-type]
        FreestyleInput(id="ink", kind="single", messages=({"text": "a dog as a black ink drawing"},)),  # type: ignore[arg-type]
        FreestyleInput(id="none", kind="single", messages=({"text": "???"},)),  # type: ignore[arg-type]
    ]
    toy, ink, nothing = plans(f"chat | {name}", benchmark, asked, batch=3)
    assert (toy.model, ink.model) == ("glossyToy_v3", "inkSketch_v1")
    assert toy.ranking[0] == toy.model
    assert set(toy.ranking) == set(benchmark.catalog.records)
    assert nothing.model in benchmark.catalog.records
    assert plans(f"chat | {name}", benchmark, asked, batch=1) == [toy, ink, nothing]


def test_a_written_prompt_is_searched_for_too(benchmark: Benchmark) -> None:
    vague = [FreestyleInput(id="i3", kind="single", messages=({"text": "something nice please"},))]  # type: ignore[arg-type]
    assert plans("oracle | bm25-demos", benchmark, vague)[0].model == "inkSketch_v1"


def test_the_nearest_prompts_arguments_are_those_of_the_chosen_model(
    benchmark: Benchmark, inputs: list[FreestyleInput]
) -> None:
    found = plans("chat | fixed:glossyToy_v3 | nearest-args", benchmark, inputs)
    assert {p.arguments.steps for p in found} == {30}
    assert {p.arguments.seed for p in found} == {None}
    assert plans("chat | fixed:plainBase_v0 | nearest-args", benchmark, inputs)[0].arguments.steps == 20


REMOTE = """
from chatgenbench.errors import InfraError
from chatgenbench.schema import Arguments, Costs, Plan
from chatgenbench.systems.protocol import Answered, StopRun


class Remote:
    name, revision, runs_here = "remote", "1", False
    closed = kept = 0

    def prepare(self, catalog, train):
        self.model = sorted(catalog.records)[0]

    def keep_in(self, folder):
        Remote.kept += 1

    def close(self):
        Remote.closed += 1

    def plan(self, inputs):
        for chat in inputs:
            if chat.id == "i4":
                raise StopRun(InfraError("the endpoint is gone"))
            plan = Plan(prompt="x", model=self.model,
                        arguments=Arguments(sampler="Euler", steps=9, cfg_scale=2, width=64, height=64))
            yield Answered(plan, Costs(prompt_tokens=100, completion_tokens=7, device_seconds=0.5))
"""


def test_costs_of_a_system_among_the_stages_are_counted_once_and_its_end_ends_the_run(
    benchmark: Benchmark, inputs: list[FreestyleInput], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "remote_system.py").write_text(REMOTE)
    monkeypatch.chdir(tmp_path)
    system = resolve("remote_system:Remote | bm25-cards | remote_system:Remote", benchmark, 0)
    keep(system, tmp_path)
    ready(system, benchmark)
    stream = ask(system, inputs, benchmark.catalog, 1)
    told = [(chat.id, spent.costs.tokens, spent.costs.device_seconds) for chat, _, spent in islice(stream, 3)]
    with pytest.raises(InfraError, match="the endpoint is gone"):
        next(stream)
    done(system)
    assert told == [("i1", 107, 0.5), ("i2", 107, 0.5), ("i3", 107, 0.5)]
    import remote_system  # type: ignore[import-not-found]

    assert (remote_system.Remote.kept, remote_system.Remote.closed) == (1, 1)
