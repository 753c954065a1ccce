from __future__ import annotations

import numpy as np
from scipy import stats

from chatgenbench.statistics import Clusters, mean_interval, set_interval, weighted_means


def test_mean_interval_agrees_with_the_normal_interval_when_rows_are_independent() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    interval = mean_interval(values, Clusters([f"d{i}" for i in range(400)]))
    half = stats.norm.ppf(0.975) * values.std() / 20
    assert np.isclose(interval.value, values.mean())
    assert abs(interval.low - (values.mean() - half)) < 0.15 * half
    assert abs(interval.high - (values.mean() + half)) < 0.15 * half


def test_copies_of_a_row_do_not_make_the_interval_narrower() -> None:
    values = np.random.default_rng(1).normal(0, 1, 60)
    names = [f"d{i}" for i in range(60)]
    once = mean_interval(values, Clusters(names))
    many = mean_interval(np.repeat(values, 5), Clusters([n for n in names for _ in range(5)]))
    assert many.n == 300
    assert many.clusters == 60
    assert np.isclose(many.low, once.low)
    assert np.isclose(many.high, once.high)


def test_intervals_do_not_depend_on_row_order() -> None:
    rng = np.random.default_rng(2)
    values, names = rng.normal(size=50), [f"d{i % 20}" for i in range(50)]
    order = rng.permutation(50)
    a = mean_interval(values, Clusters(names))
    b = mean_interval(values[order], Clusters([names[i] for i in order]))
    assert np.allclose((a.value, a.low, a.high), (b.value, b.low, b.high), atol=1e-12)


def test_set_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(120):
        values = rng.exponential(1.0, 80)

        def variance(weights: np.ndarray, values: np.ndarray = values) -> float:
            mean = np.average(values, weights=weights)
            return float(np.average((values - mean) ** 2, weights=weights))

        interval, _ = set_interval(variance, Clusters([str(i) for i in range(80)], seed=trial))
        covered += interval.low <= 1.0 <= interval.high
    assert 0.75 <= covered / 120 <= 0.99  # skewed variance: undercoverage is expected, nonsense is not


def test_set_interval_surrounds_its_value_and_shares_resamples_with_means() -> None:
    values = np.random.default_rng(4).normal(size=40)
    clusters = Clusters([str(i) for i in range(40)])
    interval, drawn = set_interval(lambda w: float(np.average(values, weights=w)), clusters, 100)
    assert interval.low < interval.value < interval.high
    assert np.allclose(drawn, weighted_means(values, clusters, 100))
