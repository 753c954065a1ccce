"""The built-in systems answer as their one-line descriptions say."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError
from chatgenbench.schema import MAX_TEXT, Failure, FreestyleInput, Message, Plan
from chatgenbench.systems import System, ask, names, ready, resolve
from chatgenbench.systems.declare import BUILTINS
from chatgenbench.systems.random_plan import SAMPLERS
from chatgenbench.systems.stuffing import TAGS

LIGHT = [name for name in BUILTINS if name != "retrieval"]


def answers(name: str, benchmark: Benchmark, inputs: list[FreestyleInput], seed: int = 0, batch: int = 2) -> list[Plan]:
    system = resolve(name, benchmark, seed)
    ready(system, benchmark)
    found = [answer for _, answer, _ in ask(system, inputs, benchmark.catalog, batch)]
    assert all(isinstance(answer, Plan) for answer in found), found
    return [answer for answer in found if isinstance(answer, Plan)]


def test_every_registered_system_keeps_the_protocol_and_describes_itself(benchmark: Benchmark) -> None:
    assert set(BUILTINS) == {"oracle", "random", "popular", "echo", "retrieval", "stuffing"}
    listed = dict(names())
    for name in BUILTINS:
        system = resolve(name, benchmark, 0)
        assert isinstance(system, System)
        assert system.name == name
        assert system.revision
        assert listed[name]
        assert "\n" not in listed[name]


@pytest.mark.parametrize("name", LIGHT)
def test_answers_do_not_depend_on_batch_size(name: str, benchmark: Benchmark, inputs: list[FreestyleInput]) -> None:
    whole = answers(name, benchmark, inputs, batch=100)
    assert answers(name, benchmark, inputs, batch=1) == whole
    assert answers(name, benchmark, inputs[::-1])[::-1] == whole


def test_oracle_is_the_gold_plan_with_its_seed(benchmark: Benchmark, inputs: list[FreestyleInput]) -> None:
    gold = [benchmark.gold(item).plan for item in benchmark.items]
    assert answers("oracle", benchmark, inputs) == gold
    assert gold[0].arguments.seed == 7


def test_oracle_fails_a_chat_that_is_no_item(benchmark: Benchmark) -> None:
    stranger = FreestyleInput(id="nobody", kind="single", messages=(Message(text="hi"),))
    [(_, answer, _)] = ask(resolve("oracle", benchmark, 0), [stranger], benchmark.catalog, 4)
    assert isinstance(answer, Failure)
    assert "nobody" in answer.reason


def test_random_follows_its_seed_and_stays_in_its_ranges(benchmark: Benchmark) -> None:
    chats = [FreestyleInput(id=f"r{n}", kind="single", messages=(Message(text="x"),)) for n in range(400)]
    plans = answers("random", benchmark, chats, seed=1)
    assert plans == answers("random", benchmark, chats, seed=1)
    assert plans != answers("random", benchmark, chats, seed=2)
    assert {p.model for p in plans} == set(benchmark.catalog.records)
    assert {p.arguments.sampler for p in plans} == set(SAMPLERS)
    assert {p.prompt for p in plans} == {d.plan.prompt for d in benchmark.train}
    assert {p.arguments.width for p in plans} == {p.arguments.height for p in plans} == {32, 48, 64, 80, 96}
    assert all(1 <= p.arguments.steps <= 60 and 1 <= p.arguments.cfg_scale <= 20 for p in plans)
    assert all(p.ranking[0] == p.model and len(set(p.ranking)) == 4 for p in plans)
    assert all(p.arguments.seed is None for p in plans)


def test_popular_takes_the_most_used_model_and_its_usual_arguments(
    benchmark: Benchmark, inputs: list[FreestyleInput]
) -> None:
    plan = answers("popular", benchmark, inputs)[1]
    assert (plan.model, plan.arguments.steps) == ("glossyToy_v3", 30)
    assert plan.prompt == "some animal\nmake it a cat, glossy like a toy"


def test_echo_uses_the_default_model_and_breaks_ties_the_same_way_in_any_order(
    benchmark: Benchmark, inputs: list[FreestyleInput]
) -> None:
    plans = answers("echo", benchmark, inputs)
    assert {p.model for p in plans} == {"plainBase_v0"}
    turned = dataclasses.replace(benchmark, demonstrations=dict(reversed(benchmark.demonstrations.items())))
    assert answers("echo", turned, inputs) == plans
    assert plans[0].arguments.seed is None


def test_stuffing_is_popular_with_tags(benchmark: Benchmark, inputs: list[FreestyleInput]) -> None:
    for plain, stuffed in zip(
        answers("popular", benchmark, inputs), answers("stuffing", benchmark, inputs), strict=True
    ):
        assert stuffed == plain.model_copy(update={"prompt": f"{plain.prompt}, {TAGS}"})


@pytest.mark.parametrize("name", ["echo", "popular", "stuffing"])
def test_a_very_long_chat_is_cut_to_a_valid_prompt(name: str, benchmark: Benchmark) -> None:
    turns = tuple(Message(text="x" * MAX_TEXT) for _ in range(2))
    [plan] = answers(name, benchmark, [FreestyleInput(id="long", kind="history", messages=turns)])
    assert len(plan.prompt) == MAX_TEXT


@pytest.mark.parametrize("name", sorted(set(BUILTINS) - {"oracle"}))
def test_a_benchmark_without_training_split_is_refused_in_one_line(name: str, benchmark: Benchmark) -> None:
    bare = dataclasses.replace(benchmark, demonstrations={})
    with pytest.raises(BenchmarkError, match=f"'{name}' learns from training demonstrations"):
        ready(resolve(name, bare, 0), bare)


def test_importing_systems_does_not_import_torch() -> None:
    code = "import sys, chatgenbench.systems as s; s.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
