"""Variance components and power against ANOVA, scipy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from chatgenbench.statistics import (
    Clusters,
    Components,
    components,
    detectable,
    needed,
    paired_test,
    spread_of,
    standard_error,
    what_to_add,
)


def test_a_textbook_table() -> None:
    """2 x 2 by hand: values 1, 2 / 4, 7; mean squares item 16, seed 4, rest 1."""
    found = components(np.array([[1.0, 2.0], [4.0, 7.0]]))
    assert (found.item, found.seed, found.rest) == pytest.approx((7.5, 1.5, 1.0))
    assert found.clipped == ()


def test_item_square_is_that_of_a_one_way_analysis_when_seeds_do_nothing() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (30, 1)) + rng.normal(0, 0.3, (30, 6))
    f = stats.f_oneway(*values).statistic
    within = values.var(axis=1, ddof=1).mean()
    assert components(values).item == pytest.approx((f - 1) * within / 6, rel=0.1)


def test_simulated_components_come_back() -> None:
    rng = np.random.default_rng(1)
    found = [
        components(rng.normal(0, 2, (200, 1)) + rng.normal(0, 1, (1, 30)) + rng.normal(0, 0.5, (200, 30)))
        for _ in range(40)
    ]
    mean = np.mean([[f.item, f.seed, f.rest] for f in found], axis=0)
    assert mean == pytest.approx([4, 1, 0.25], rel=0.12)


def test_a_negative_estimate_is_nothing_and_told() -> None:
    found = components(np.array([[1.0, 2.0], [2.0, 1.0]]))
    assert found.clipped == ("item", "seed")
    assert (found.item, found.seed) == (0, 0)


def test_one_seed_says_nothing_of_seeds() -> None:
    with pytest.raises(ValueError, match="run again with another --seed"):
        components(np.ones((5, 1)))


def test_what_to_add() -> None:
    assert what_to_add(Components(item=4, seed=0.01, rest=1), 100, 2)[0] == "items"
    what, items, seeds = what_to_add(Components(item=0.1, seed=4, rest=1), 100, 2)
    assert (what, items > seeds) == ("seeds", True)
    assert standard_error(Components(4, 1, 2), 4, 2) == pytest.approx((1 + 0.5 + 0.25) ** 0.5)


def test_the_detectable_difference_is_found_as_often_as_stated() -> None:
    rng = np.random.default_rng(2)
    least = detectable(sd=2.0, n=120)
    assert least == pytest.approx((1.959964 + 0.841621) * 2 / 120**0.5, rel=1e-6)
    clusters = Clusters([str(i) for i in range(120)])
    hits = sum(
        paired_test(rng.normal(least, 2, 120), np.zeros(120), clusters, permutations=400, resamples=2).p_value < 0.05
        for _ in range(300)
    )
    assert 0.72 <= hits / 300 <= 0.88


def test_needed_undoes_detectable() -> None:
    for n in (2, 30, 5000):
        assert needed(1.5, detectable(1.5, n) * 1.000001) == n
    with pytest.raises(ValueError, match="difference of 0"):
        needed(1.0, 0.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        detectable(1.0, 10, alpha=0)
    with pytest.raises(ValueError, match="at least one"):
        detectable(1.0, 0)


def test_the_spread_is_that_of_demonstrations() -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(0, 2, 500)
    assert spread_of(a, np.zeros(500), Clusters([str(i) for i in range(500)])) == pytest.approx(a.std(ddof=1))
    twice = np.repeat(a, 2)
    same = spread_of(twice, np.zeros(1000), Clusters([str(i // 2) for i in range(1000)]))
    assert same == pytest.approx(a.std(ddof=1)), "copies of a row are no news"
    with pytest.raises(ValueError, match="at least two"):
        spread_of(a, a, Clusters(["one"] * 500))
