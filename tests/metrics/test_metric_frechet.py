"""The Frechet distance against SciPy's matrix root, and sums that can be merged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from t2imetrics._frechet import Moments, frechet
from t2imetrics.errors import InputError
from t2imetrics.fid import Distance, fid, fid_of


def draw(seed: int, n: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


def by_matrix_root(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.linalg import sqrtm

    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    gap = a.mean(0) - b.mean(0)
    return float(gap @ gap + np.trace(s1 + s2 - 2 * np.real(sqrtm(s1 @ s2))))


@pytest.mark.parametrize("d", [2, 8, 32])
def test_agrees_with_the_matrix_root(d: int) -> None:
    a, b = draw(1, 200, d), draw(2, 150, d)
    assert fid(a, b) == pytest.approx(by_matrix_root(a, b), rel=1e-8)


def test_two_gaussians_on_a_line() -> None:
    one = lambda value: np.array([[value]])  # noqa: E731
    assert frechet(np.array([0.0]), one(1.0), np.array([3.0]), one(4.0)) == pytest.approx(9 + (2 - 1) ** 2)


def test_a_set_has_no_distance_to_itself_and_the_distance_is_symmetric() -> None:
    a, b = draw(3, 50, 6), draw(4, 60, 6)
    assert fid(a, a) == pytest.approx(0, abs=1e-9)
    assert fid(a, b) == pytest.approx(fid(b, a), rel=1e-10)


def test_fewer_pictures_than_features_is_no_trouble() -> None:
    a, b = draw(5, 5, 40), draw(6, 7, 40)
    assert np.isfinite(fid(a, b))
    assert fid(a, b) > 0


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(24)), st.integers(1, 10))
def test_order_and_split_do_not_matter(order: list[int], size: int) -> None:
    a, b = draw(7, 24, 5), draw(8, 30, 5)
    parts = [Moments.of(a[order[i : i + size]]) for i in range(0, 24, size)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged + part
    assert merged.n == 24
    np.testing.assert_allclose(merged.covariance, np.cov(a, rowvar=False), rtol=1e-9, atol=1e-9)
    assert fid_of(merged, Moments.of(b)) == pytest.approx(fid(a, b), rel=1e-9)


def test_one_picture_is_too_few_and_shapes_must_fit() -> None:
    with pytest.raises(InputError, match="at least 2 pictures"):
        fid(np.ones((1, 3)), np.ones((4, 3)))
    with pytest.raises(InputError, match="cannot be added"):
        Moments.of(np.ones((2, 3))) + Moments.of(np.ones((2, 4)))
    with pytest.raises(InputError, match="shape"):
        Moments.of(np.ones(3))


def test_features_that_have_no_distance_are_told() -> None:
    with pytest.raises(InputError, match="not numbers"):
        fid(np.full((3, 2), np.nan), np.ones((3, 2)))
    with pytest.raises(InputError, match="features of 3 and 4 numbers have no distance"):
        fid(np.ones((2, 3)), np.ones((2, 4)))


def test_either_side_may_be_empty() -> None:
    a, b = draw(9, 6, 3), draw(10, 5, 3)
    assert Distance().update([], b).update(a, []).compute() == fid(a, b)
