"""`ask` gives exactly one usable answer per input, whatever the system does."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.errors import InfraError, UserError
from chatgenbench.schema import Arguments, Costs, Demonstration, Failure, FreestyleInput, Outcome, Plan
from chatgenbench.systems import Answered, Prices, StopRun, ask, ready

ARGUMENTS = Arguments(sampler="Euler", steps=20, cfg_scale=3, width=64, height=64)
PLAN = Plan(prompt="a cat", model="inkSketch_v1", arguments=ARGUMENTS)


class Stub:
    """A system that answers by one function over the batch."""

    name = "stub"
    revision = "1"

    def __init__(self, answer: Callable[[Sequence[FreestyleInput]], Iterable[object]]) -> None:
        self._answer = answer

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        raise RuntimeError("no GPU\nfound")

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterable[Plan | Failure]:
        return self._answer(inputs)  # type: ignore[return-value]


def asked(
    benchmark: Benchmark, answer: Callable[[Sequence[FreestyleInput]], Iterable[object]], batch_size: int = 2
) -> list[Plan | Failure]:
    inputs = [item.input for item in benchmark.items]
    rows = list(ask(Stub(answer), inputs, benchmark.catalog, batch_size))
    assert [chat for chat, _, _ in rows] == inputs
    assert all(spent.seconds >= 0 for _, _, spent in rows)
    return [found for _, found, _ in rows]


def reasons(found: list[Plan | Failure]) -> list[str | None]:
    return [f.reason if isinstance(f, Failure) else None for f in found]


def test_good_answers_pass_and_names_become_catalog_ids(benchmark: Benchmark) -> None:
    plan = PLAN.model_copy(update={"model": "INKSKETCH_V1.safetensors", "ranking": ("glossyToy", "nobody")})
    found = asked(benchmark, lambda batch: [plan for _ in batch])
    assert {f.model for f in found if isinstance(f, Plan)} == {"inkSketch_v1"}
    assert {f.ranking for f in found if isinstance(f, Plan)} == {("glossyToy_v3", "nobody")}


def test_dicts_are_coerced_and_checked(benchmark: Benchmark) -> None:
    good = PLAN.model_dump() | {"arguments": ARGUMENTS.model_dump() | {"steps": "20"}}
    bad = good | {"arguments": ARGUMENTS.model_dump() | {"steps": 10**9, "width": "wide"}}
    found = asked(benchmark, lambda batch: [good, bad][: len(batch)])
    assert found[0] == PLAN
    assert reasons(found)[1] == (
        "not a valid plan: steps: Input should be less than or equal to 500 (got 1000000000) (and 1 more)"
    )


def test_an_unknown_model_gets_a_suggestion(benchmark: Benchmark) -> None:
    plan = PLAN.model_copy(update={"model": "inkSketch_v2"})
    found = asked(benchmark, lambda batch: [plan for _ in batch])
    assert all(
        (r or "").startswith("unknown model 'inkSketch_v2': did you mean 'inkSketch_v1'") for r in reasons(found)
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda batch: [], "gave 0 answers to 2 inputs"),
        (lambda batch: [PLAN] * (len(batch) + 1), "gave more than 2 answers to 2 inputs"),
        (lambda batch: itertools.repeat(PLAN), "gave more than 2 answers to 2 inputs"),
        (lambda batch: None, "raised TypeError: 'NoneType' object is not iterable"),
        (lambda batch: ["text"] * len(batch), "answered with str, not with a Plan"),
        (lambda batch: [None] * len(batch), "answered with NoneType, not with a Plan"),
        (lambda batch: [PLAN.model_copy(update={"prompt": 3})] * len(batch), "not a valid plan: prompt"),
        (lambda batch: [PLAN.model_copy(update={"prompt": "\ud800"})] * len(batch), "not a valid plan: prompt"),
    ],
)
def test_bad_batches_fail_their_rows_with_the_reason(
    benchmark: Benchmark, answer: Callable[[Sequence[FreestyleInput]], Iterable[object]], reason: str
) -> None:
    first = reasons(asked(benchmark, answer))[0]
    assert first is not None
    assert reason in first


def test_an_exception_keeps_the_answers_given_before_it(benchmark: Benchmark) -> None:
    def answer(batch: Sequence[FreestyleInput]) -> Iterator[Plan]:
        yield PLAN
        raise RuntimeError("CUDA out of memory\n" + "x" * 5000)

    found = asked(benchmark, answer, batch_size=3)
    assert [isinstance(f, Plan) for f in found] == [True, False, False, True, False]
    reason = reasons(found)[1]
    assert reason is not None
    assert reason.startswith("the system raised RuntimeError: CUDA out of memory x")
    assert len(reason) == 300


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (SystemExit(3), Outcome.SYSTEM_FAILED),
        (RecursionError("deep"), Outcome.SYSTEM_FAILED),
        (InfraError("endpoint unreachable"), Outcome.INFRA_FAILED),
        (ValueError("\udfff"), Outcome.SYSTEM_FAILED),
    ],
)
def test_what_a_system_raises_decides_the_outcome(benchmark: Benchmark, error: BaseException, outcome: Outcome) -> None:
    def answer(batch: Sequence[FreestyleInput]) -> Iterable[Plan]:
        raise error

    found = asked(benchmark, answer)
    assert {f.outcome for f in found if isinstance(f, Failure)} == {outcome}
    assert len(found) == 5


@pytest.mark.parametrize("error", [UserError("the key is refused"), InfraError("gone")])
def test_a_system_may_stop_the_run_after_what_it_answered(benchmark: Benchmark, error: UserError | InfraError) -> None:
    def answer(batch: Sequence[FreestyleInput]) -> Iterator[Plan]:
        yield PLAN
        if batch[0].id == "i3":
            raise StopRun(error)
        yield PLAN

    rows = []
    answers = ask(Stub(answer), [item.input for item in benchmark.items], benchmark.catalog, 2)
    with pytest.raises(type(error)) as caught:
        rows.extend(row for row in answers)
    assert caught.value is error
    assert [chat.id for chat, _, _ in rows] == ["i1", "i2", "i3"]


def test_costs_are_those_a_system_counted_and_the_time_it_held_this_machine(benchmark: Benchmark) -> None:
    told = Costs(prompt_tokens=900, completion_tokens=100, device_seconds=0.5, usd=0.25)
    inputs = [item.input for item in benchmark.items]

    def answer(batch: Sequence[FreestyleInput]) -> Iterator[Plan | Answered]:
        yield Answered(PLAN, told, seconds=1.5)
        yield from [PLAN] * (len(batch) - 1)

    (_, one, first), (_, two, second) = list(ask(Stub(answer), inputs, benchmark.catalog, 2))[:2]  # type: ignore[arg-type]
    assert one == two == PLAN
    assert (first.seconds, first.costs) == (1.5, told)
    assert second.costs == Costs(device_seconds=second.seconds)
    away = Stub(answer)  # type: ignore[arg-type]
    away.runs_here = False  # type: ignore[attr-defined]
    assert list(ask(away, inputs, benchmark.catalog, 2))[1][2].costs == Costs()


@pytest.mark.parametrize(
    ("prices", "costs", "usd"),
    [
        (Prices(), Costs(prompt_tokens=10, completion_tokens=10, device_seconds=3), None),
        (Prices(), Costs(usd=0.5), 0.5),
        (Prices(2, 8), Costs(prompt_tokens=1_000_000, completion_tokens=500_000), 6.0),
        (Prices(2, 8), Costs(prompt_tokens=1_000_000), None),
        (Prices(2), Costs(prompt_tokens=1_000_000, completion_tokens=1), None),
        (Prices(2, 8), Costs(prompt_tokens=1, completion_tokens=1, usd=0), 0),
        (Prices(device_hour=3.6), Costs(device_seconds=10), 0.01),
        (Prices(1, 1, 3.6), Costs(prompt_tokens=0, completion_tokens=0, device_seconds=10), 0.01),
        (Prices(device_hour=3.6), Costs(prompt_tokens=10), None),
        (Prices(1, 1, 3.6), Costs(prompt_tokens=500_000, completion_tokens=0), 0.5),
    ],
)
def test_a_price_is_told_or_follows_from_stated_prices_and_is_never_invented(
    prices: Prices, costs: Costs, usd: float | None
) -> None:
    assert prices.of(costs) == (None if usd is None else pytest.approx(usd))


def test_ctrl_c_passes_through(benchmark: Benchmark) -> None:
    def answer(batch: Sequence[FreestyleInput]) -> Iterable[Plan]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asked(benchmark, answer)


def test_a_systems_own_failure_keeps_its_outcome(benchmark: Benchmark) -> None:
    blocked = Failure(outcome=Outcome.BLOCKED, reason="refused")
    assert asked(benchmark, lambda batch: [blocked] * len(batch)) == [blocked] * 5


def test_a_system_that_cannot_prepare_is_one_clear_line(benchmark: Benchmark) -> None:
    with pytest.raises(UserError, match=r"^system 'stub' could not prepare itself: RuntimeError: no GPU found$"):
        ready(Stub(lambda batch: []), benchmark)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(PLAN),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["prompt", "model", "arguments", "steps", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(answers=st.lists(ANYTHING, max_size=4), batch_size=st.integers(1, 4))
def test_any_answers_give_one_row_per_input(benchmark: Benchmark, answers: list[object], batch_size: int) -> None:
    found = asked(benchmark, lambda batch: answers, batch_size)
    assert all(isinstance(f, Plan) or 0 < len(f.reason) <= 300 for f in found)


def test_a_system_may_change_what_it_is_handed(benchmark: Benchmark) -> None:
    def answer(batch: Sequence[FreestyleInput]) -> list[Plan]:
        for chat in batch:
            object.__setattr__(chat, "id", "another")
        return [PLAN for _ in batch]

    chats = [item.input for item in benchmark.items]
    before = [chat.id for chat in chats]
    assert len(asked(benchmark, answer)) == len(before)
    assert [chat.id for chat in chats] == before


def test_a_system_may_empty_its_catalog(benchmark: Benchmark) -> None:
    class Emptying(Stub):
        def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
            catalog.records.clear()

    system = Emptying(lambda batch: [PLAN for _ in batch])
    ready(system, benchmark)
    rows = ask(system, [item.input for item in benchmark.items], benchmark.catalog, 2)
    assert all(isinstance(found, Plan) for _, found, _ in rows)


def test_a_system_that_goes_elsewhere_takes_nobody_along(
    benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def answer(batch: Sequence[FreestyleInput]) -> list[Plan]:
        os.chdir("/")
        return [PLAN for _ in batch]

    assert all(isinstance(found, Plan) for found in asked(benchmark, answer))
    assert Path.cwd() == tmp_path
