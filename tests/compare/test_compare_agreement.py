"""Agreement against published and hand-made answers."""

from __future__ import annotations

import math

import pytest

from chatgenbench.compare.agreement import ENOUGH, Share, alpha, kappa, share, votes_to_tell, wilson


def test_kappa_of_the_textbook_table() -> None:
    """20 and 15 alike, 5 and 10 apart: 0.7 agreed, 0.5 by chance."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert kappa(first, second) == pytest.approx(0.4)
    assert kappa(["a", "b", "tie"], ["a", "b", "tie"]) == 1
    assert math.isnan(kappa([], []))
    assert math.isnan(kappa(["a", "a"], ["a", "a"]))


def test_alpha_of_krippendorffs_own_example() -> None:
    """Krippendorff 2011, section C: four observers, twelve units, values missing; nominal alpha 0.743."""
    table = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    units = [[row[i] for row in table if row[i] != "."] for i in range(12)]
    assert alpha(units) == pytest.approx(0.743, abs=5e-4)
    assert alpha([["a", "a"], ["b", "b"]]) == 1
    assert math.isnan(alpha([["a"], ["b"]]))


def test_wilson_interval_of_small_counts() -> None:
    assert wilson(7, 10) == pytest.approx((0.3968, 0.8922), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert all(map(math.isnan, wilson(0, 0)))


def test_a_unanimous_share_still_has_an_interval() -> None:
    found = share([1.0] * 40, [f"d{i}" for i in range(40)])
    assert (found.value, found.high) == pytest.approx((1, 1))
    assert found.low == pytest.approx(wilson(40, 40)[0])
    assert found.needed == 0


def test_votes_on_one_demonstration_are_not_many_votes() -> None:
    """Forty votes that repeat four demonstrations have the width of four."""
    values = [1.0, 0.0, 1.0, 1.0] * 10
    repeated = share(values, ["d0", "d1", "d2", "d3"] * 10)
    apart = share(values, [f"d{i}" for i in range(40)])
    assert repeated.high - repeated.low > 2 * (apart.high - apart.low)
    assert (repeated.needed, apart.needed) == (ENOUGH - 4, 0)


def test_votes_to_tell_a_difference() -> None:
    """Half as wide an interval takes four times the votes."""
    assert votes_to_tell(Share(0.6, 0.4, 0.8, 25, 25)) == 75
    assert votes_to_tell(Share(0.7, 0.55, 0.85, 40, 40)) == 0
    assert votes_to_tell(Share(0.5, 0.4, 0.6, 40, 40)) is None
