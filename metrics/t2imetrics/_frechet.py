"""Frechet distance between Gaussians, and the mergeable sums it is made of.  No networks here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from t2imetrics._scorer import Floats
from t2imetrics.errors import InputError


@dataclass(frozen=True)
class Moments:
    """Sums over rows of features; adding two gives the sums of both, in any order up to rounding (1e-12 relative).

    Args:
        n: rows.
        total: sum of the rows, shape (d,).
        outer: sum of each row's outer product with itself, shape (d, d).
    """

    n: int
    total: Floats
    outer: Floats

    @classmethod
    def of(cls, features: ArrayLike) -> Moments:
        """Moments of features (n, d), all finite; an empty list is no rows."""
        rows = np.asarray(features, np.float64)
        if rows.shape == (0,):  # an empty list has no width
            rows = rows.reshape(0, 0)
        if rows.ndim != 2:
            raise InputError(f"features must have shape (n, d), got {rows.shape}")
        if not np.isfinite(rows).all():
            raise InputError("features that are not numbers have no distance")
        return cls(len(rows), rows.sum(axis=0), rows.T @ rows)

    def __add__(self, other: Moments) -> Moments:
        if self.total.shape != other.total.shape:
            raise InputError(f"features of {len(self.total)} and {len(other.total)} numbers cannot be added up")
        return Moments(self.n + other.n, self.total + other.total, self.outer + other.outer)

    @property
    def mean(self) -> Floats:
        """Mean of the rows, shape (d,)."""
        return self.total / self._enough(1)

    @property
    def covariance(self) -> Floats:
        """Unbiased covariance, shape (d, d)."""
        n = self._enough(2)
        return (self.outer - np.outer(self.total, self.total) / n) / (n - 1)

    def _enough(self, least: int) -> int:
        if self.n < least:
            raise InputError(f"at least {least} pictures on each side are needed, got {self.n}")
        return self.n


def frechet(mu1: Floats, s1: Floats, mu2: Floats, s2: Floats) -> float:
    """|mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2), at least 0.

    The trace of the root is the sum of the roots of the eigenvalues of A S2 A with A = S1^1/2: both matrices are
    symmetric, so no general matrix root is needed and singular covariances are no trouble.

    Args:
        mu1, mu2: means, shape (d,).
        s1, s2: covariances, shape (d, d).
    """
    from scipy.linalg import eigh, eigvalsh

    values, vectors = eigh(s1)
    root = (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T
    product = root @ s2 @ root
    trace = np.sqrt(eigvalsh((product + product.T) / 2).clip(min=0.0)).sum()
    gap = mu1 - mu2
    return max(0.0, float(gap @ gap + np.trace(s1) + np.trace(s2) - 2 * trace))
