"""Paired tests against scipy, known answers, and simulated data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chatgenbench.statistics import Clusters, holm, mean_interval, mean_intervals, p_values, paired_test, tie_groups


def alone(n: int) -> Clusters:
    return Clusters([f"d{i:05d}" for i in range(n)])


def grouped(n: int, each: int) -> Clusters:
    return Clusters([f"d{i // each:05d}" for i in range(n)])


def test_few_rows_are_tested_exactly_as_scipy_does() -> None:
    rng = np.random.default_rng(1)
    for n in (4, 7, 11):
        a, b = rng.normal(0.3, 1, n), rng.normal(0, 1, n)
        theirs = stats.permutation_test(
            (a, b), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", n_resamples=np.inf,
            vectorized=True,
        )  # fmt: skip
        assert paired_test(a, b, alone(n)).p_value == pytest.approx(theirs.pvalue, abs=1e-12)


def test_many_rows_are_tested_as_the_t_test_does() -> None:
    rng = np.random.default_rng(2)
    for shift in (0.0, 0.06, 0.12):
        a, b = rng.normal(shift, 1, 800), rng.normal(0, 1, 800)
        found = paired_test(a, b, alone(800))
        assert found.p_value == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.02)
        theirs = stats.bootstrap((a - b,), np.mean, method="percentile", rng=np.random.default_rng(3))
        assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)
        assert found.difference == pytest.approx((a - b).mean())


def test_no_p_value_is_zero_and_equal_systems_have_one() -> None:
    a = np.arange(50.0)
    assert paired_test(a + 1, a, alone(50), permutations=999).p_value == pytest.approx(1 / 1000, abs=1e-12)
    assert paired_test(a, a, alone(50)).p_value == 1
    assert paired_test(a[:5] + 1, a[:5], alone(5)).p_value == 2 / 32


def test_rows_of_one_demonstration_count_together() -> None:
    """20 demonstrations with ten equal rows each: a test that takes rows one by one is wrong most of the time."""
    rng = np.random.default_rng(4)
    clusters = grouped(200, 10)
    wrong = naive = 0
    for _ in range(400):
        a = np.repeat(rng.normal(0, 1, 20), 10) + rng.normal(0, 0.1, 200)
        b = np.zeros(200)
        wrong += paired_test(a, b, clusters, permutations=400, resamples=2).p_value < 0.05
        naive += stats.ttest_rel(a, b).pvalue < 0.05
    assert 0.025 <= wrong / 400 <= 0.085
    assert naive / 400 > 0.3


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    clusters, inside = grouped(240, 3), 0
    for _ in range(300):
        values = np.repeat(rng.normal(0.5, 1, 80), 3) + rng.normal(0, 1, 240)
        found = mean_interval(values, clusters, 400)
        inside += found.low <= 0.5 <= found.high
    assert 0.90 <= inside / 300 <= 0.98


def test_many_columns_are_as_one_by_one() -> None:
    rng = np.random.default_rng(6)
    clusters = Clusters([f"d{i}" for i in rng.integers(0, 60, 300)])
    a, b = rng.normal(0, 1, (300, 7)), rng.normal(0.1, 1, (300, 7))
    together = mean_intervals(a, clusters)
    for column, found in enumerate(together):
        single = mean_interval(a[:, column], clusters)
        assert (found.value, found.low, found.high) == pytest.approx((single.value, single.low, single.high), abs=1e-12)
    chances = p_values(a, b, clusters, 500)
    assert chances.tolist() == [p_values(a[:, [i]], b[:, [i]], clusters, 500)[0] for i in range(7)]


def test_wrong_input_is_refused() -> None:
    values = np.zeros(5)
    with pytest.raises(ValueError, match="5 rows are needed, not of 4"):
        p_values(values[:4, None], values[:4, None], alone(5))
    with pytest.raises(ValueError, match="no numbers"):
        paired_test(values, np.full(5, np.nan), alone(5))
    with pytest.raises(ValueError, match="no numbers"):
        mean_intervals(np.full((5, 1), np.inf), alone(5))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.integers(0, 6)), min_size=2, max_size=40), st.randoms()
)
def test_neither_order_nor_names_of_the_two_matter(rows, draw) -> None:
    a, b, names = (np.array(column) for column in zip(*rows, strict=True))
    first = paired_test(a, b, Clusters([f"d{n}" for n in names]))
    order = list(range(len(rows)))
    draw.shuffle(order)
    mixed = paired_test(a[order], b[order], Clusters([f"d{names[i]}" for i in order]))
    assert mixed.p_value == pytest.approx(first.p_value, abs=1e-9)
    assert mixed.difference == pytest.approx(first.difference, abs=1e-9)
    swapped = paired_test(b, a, Clusters([f"d{n}" for n in names]))
    assert swapped.p_value == pytest.approx(first.p_value, abs=1e-9)
    assert swapped.difference == pytest.approx(-first.difference, abs=1e-9)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_never_lowers_a_p_value_nor_their_order(raw) -> None:
    adjusted = holm(raw)
    assert all(a >= p - 1e-15 for a, p in zip(adjusted, raw, strict=True))
    assert all(adjusted <= 1)
    order = np.argsort(raw, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


def test_tie_groups_are_chains() -> None:
    assert tie_groups([]) == [[0]]
    assert tie_groups([0.2, 0.01, 0.5, 0.04]) == [[0, 1], [2, 3], [4]]
    assert tie_groups([0.05]) == [[0, 1]], "0.05 itself is not below 0.05"
