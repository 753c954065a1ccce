"""The backlog with costs: who draws what, how often weights are loaded, and that no cost changes a batch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from chatgenbench.render.backlog import Backlog, Batch
from chatgenbench.render.costs import Weights
from chatgenbench.render.leases import lease_requests
from chatgenbench.render.simulate import simulate
from chatgenbench.schema import RenderRequest


def asked(base: str, count: int, lora: str | None = None) -> list[RenderRequest]:
    return [
        RenderRequest(
            prompt=f"{base} {at}", negative_prompt="", checkpoint=base, lora=lora, sampler="Euler", steps=10,
            cfg_scale=1, width=64, height=64, seed=at, engine="e",
        )
        for at in range(count)
    ]  # fmt: skip


@dataclass
class Flat:
    """One second a picture, `base` a base, half a second a LoRA."""

    base: float

    def drawing(self, requests: Sequence[RenderRequest]) -> float:
        return float(len(requests))

    def loading(self, weights: Weights, held: Weights | None) -> float:
        cold = held is None or held[0] != weights[0]
        return self.base * cold + 0.5 * (weights[1] is not None and weights != held)


def taken(backlog: Backlog, mine: Weights | None, *others: Weights) -> Batch:
    batch = backlog.take(mine, others)
    assert batch is not None
    return batch


def test_the_longest_base_is_begun_first() -> None:
    backlog = Backlog(lease_requests([*asked("a", 2), *asked("b", 9), *asked("c", 5)]), 1, Flat(3.0))
    held: list[Weights] = []
    for name in "bca":
        held.append(taken(backlog, None, *held).weights)
        assert held[-1] == (name, None)


def test_helping_is_worth_it_only_if_the_load_ends_before_the_work_does() -> None:
    for load, helps in ((2.0, True), (20.0, False)):
        backlog = Backlog(lease_requests(asked("a", 12)), 2, Flat(load))
        first = taken(backlog, None)
        assert (backlog.take(None, [first.weights]) is not None) == helps
        assert backlog.take(first.weights, ()) is not None


def test_the_next_base_is_told_ahead_kept_for_its_worker_and_told_to_nobody_else() -> None:
    leases = lease_requests([*asked("a", 6), *asked("b", 5), *asked("c", 4), *asked("d", 3)])
    backlog = Backlog(leases, 1, Flat(2.0))
    a = taken(backlog, None)
    b = taken(backlog, None, a.weights)
    assert a.then is b.then is None  # too early: five seconds of work are left
    while a.then is None:
        a = taken(backlog, a.weights, b.weights)
    while b.then is None:
        b = taken(backlog, b.weights, a.weights)
    assert (a.then, b.then) == (("c", None), ("d", None))
    late = taken(backlog, None, a.weights, b.weights)
    assert late.weights[0] in "cd"  # nothing else is free: a promise keeps nobody idle


def test_the_next_lora_is_told_with_every_batch() -> None:
    backlog = Backlog(lease_requests([*asked("a", 2, "x"), *asked("a", 3, "y")]), 1, Flat(1.0))
    first = taken(backlog, None)
    assert (first.weights, first.then) == (("a", "y"), ("a", "x"))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 9)), min_size=1, max_size=8), st.integers(1, 4),
       st.floats(0, 30), st.randoms())  # fmt: skip
def test_whatever_the_costs_every_request_is_drawn_once_in_the_batches_of_an_inline_run(
    groups, size, load, rng
) -> None:
    requests = [r.model_copy(update={"prompt": f"{at}"}) for base, n in groups for at, r in enumerate(asked(base, n))]
    leases = lease_requests(requests)
    whole = [lease.requests[at : at + size] for lease in leases for at in range(0, len(lease.requests), size)]
    backlog, found = Backlog(leases, size, Flat(load)), list[Batch]()
    crew: list[Weights | None] = [None, None, None]
    while len(backlog):
        at = rng.randrange(3)
        batch = backlog.take(crew[at], [held for other, held in enumerate(crew) if held and other != at])
        if batch is not None:
            crew[at] = batch.weights
            found.append(batch)
    assert sorted(b.requests[0].digest for b in found) == sorted(part[0].digest for part in whole)
    assert {b.requests for b in found} == set(whole)


def test_a_simulated_schedule_loads_each_base_once_and_keeps_every_worker_busy() -> None:
    rng = random.Random(5)
    requests = [r for at in range(120) for r in asked(f"base {at}", rng.choice([1, 1, 2, 3, 40]))]
    leases = lease_requests(requests)
    alone = simulate(leases, 4, 1, Flat(2.0))
    assert (alone.bases, alone.drawing) == (120, len(requests))
    assert alone.seconds == alone.drawing + 2.0 * 120
    many = simulate(leases, 4, 8, Flat(2.0))
    assert many.drawing == alone.drawing
    assert many.bases <= 120 + 8
    assert many.seconds <= (alone.seconds + 2.0 * 8) / 8 + 4 + 2.0


def test_what_is_fetched_ahead_hides_behind_drawing() -> None:
    leases = lease_requests([r for at in range(10) for r in asked(f"base {at}", 8)])
    told = simulate(leases, 2, 1, Flat(1.0), lambda weights, held: 1.5)
    assert told.waiting == 1.5  # only the very first one
    assert told.busy == 80 / (80 + 10 + 1.5)
