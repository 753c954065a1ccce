"""Aggregates: the same number whatever the order, the grouping and the number of workers."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import t2imetrics
from hypothesis import given
from hypothesis import strategies as st
from t2imetrics import Mean
from t2imetrics.errors import InputError
from t2imetrics.fid import Distance, fid

numbers = st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40)


@given(numbers, st.randoms(), st.integers(1, 7))
def test_a_mean_is_exact_in_any_order_and_grouping(values: list[float], chance, workers: int) -> None:
    exact = float(sum(map(Fraction, values)))
    shuffled = list(values)
    chance.shuffle(shuffled)
    parts = [Mean().update(shuffled[i::workers]) for i in range(workers)]
    whole = Mean()
    for part in parts:
        whole.merge(part)
    assert whole.n == len(values)
    assert whole.compute() == Mean().update(values).compute() == exact / len(values)


def test_no_rows_have_no_mean_and_what_is_no_number_is_refused() -> None:
    assert math.isnan(Mean().compute())
    with pytest.raises(InputError, match="not numbers"):
        Mean().update([1.0, float("nan")])


def test_fid_of_parts_is_fid_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    drawn, reference = rng.normal(size=(50, 6)), rng.normal(0.3, 1.2, size=(70, 6))
    first = Distance().update(drawn[:13], reference[:40])
    second = Distance().update(drawn[13:], reference[40:])
    assert second.merge(first).compute() == pytest.approx(fid(drawn, reference), rel=1e-9)
    assert Distance().merge(second).compute() == pytest.approx(fid(drawn, reference), rel=1e-9)
    with pytest.raises(InputError, match="at least 2"):
        Distance().compute()


def test_every_metric_offers_the_aggregate_its_card_declares(scorers) -> None:
    assert isinstance(t2imetrics.load("clipscore", weights=scorers, device="cpu").aggregate(), Mean)
    assert isinstance(t2imetrics.load("fid", weights=scorers, device="cpu").aggregate(), Distance)
    with pytest.raises(InputError, match="no per-row values"):
        t2imetrics.load("unified").aggregate()


def test_a_mean_added_to_itself_stays_what_it_is() -> None:
    mean = Mean().update([0.1, 1e20, -1e20, 0.7])
    before = mean.compute()
    assert mean.merge(mean).n == 8
    assert mean.compute() == before


def test_a_sum_beyond_float64_is_refused_and_nothing_is_added() -> None:
    mean = Mean().update([1.0])
    with pytest.raises(InputError, match="too large to be averaged"):
        mean.update([1e308, 1e308, -1e308, -1e308])
    assert (mean.n, mean.compute()) == (1, 1.0)
