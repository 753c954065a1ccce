"""Which rows are drawn again, and how surely a forged submission is caught."""

from __future__ import annotations

import hashlib
import random

import pytest
from scipy.stats import chisquare

from chatgenbench.leaderboard.choice import chance, chosen, fingerprint

IDS = [f"item-{n}" for n in range(400)]


def table(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def test_the_choice_is_the_same_for_the_same_file_and_secret() -> None:
    first = chosen(IDS, 20, table(1), b"secret")
    mixed = random.Random(0).sample(IDS, len(IDS))
    assert chosen(mixed, 20, table(1), b"secret") == first
    assert chosen(IDS, 50, table(1), b"secret")[:20] == first, "more rows keep those of before"
    assert len(set(first)) == 20


def test_an_edit_or_another_secret_changes_it() -> None:
    first = set(chosen(IDS, 20, table(1), b"secret"))
    assert len(first & set(chosen(IDS, 20, table(2), b"secret"))) < 10
    assert len(first & set(chosen(IDS, 20, table(1), b"another"))) < 10
    assert fingerprint(b"secret") != fingerprint(b"another")
    assert "secret" not in fingerprint(b"secret")


def test_every_row_is_as_likely_as_any_other() -> None:
    counts = dict.fromkeys(IDS, 0)
    for number in range(1000):
        for key in chosen(IDS, 20, table(number), b"secret"):
            counts[key] += 1
    assert chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize(("forged", "rerun"), [(4, 20), (20, 20), (20, 50), (80, 10)])
def test_forgers_are_caught_as_often_as_stated(forged: int, rerun: int) -> None:
    """The forger knows everything but the secret: here, the first rows are the forged ones."""
    caught = sum(bool(set(chosen(IDS, rerun, table(trial), b"secret")) & set(IDS[:forged])) for trial in range(500))
    stated = chance(len(IDS), forged, rerun)
    spread = (stated * (1 - stated) / 500) ** 0.5
    assert abs(caught / 500 - stated) < 4 * spread + 1e-9


def test_known_chances() -> None:
    assert chance(100, 0, 50) == 0
    assert chance(100, 1, 50) == pytest.approx(0.5)
    assert chance(10, 10, 1) == 1
    assert chance(100, 10, 100) == 1
    assert chance(100, 10, 100, allowed=10) == 0
    assert chance(15_000, 150, 300) == pytest.approx(0.952, abs=0.003), "1 % forged, 300 drawn again"
