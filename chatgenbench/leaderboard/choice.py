"""Which rows are drawn again: nobody can tell before, and anybody who is told the secret can tell afterwards."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from scipy.stats import hypergeom


def chosen(ids: Iterable[str], rows: int, table: str, secret: bytes) -> list[str]:
    """`rows` of `ids`: those with the smallest HMAC-SHA256 of table and id under `secret`.

    Args:
        table: sha256 of the submission's CSV, so that one edit of it changes the choice.
    """

    def draw(key: str) -> bytes:
        return hmac.new(secret, f"{table}\n{key}".encode(), hashlib.sha256).digest()

    return sorted(ids, key=draw)[:rows]


def fingerprint(secret: bytes) -> str:
    """What is published of a secret: 16 digits, by which it is known again when it is told."""
    return hashlib.sha256(b"chatgenbench choice of rows\n" + secret).hexdigest()[:16]


def chance(rows: int, forged: int, rerun: int, allowed: int = 0) -> float:
    """The probability that more than `allowed` of `forged` rows are among `rerun` of `rows` rows drawn at random
    (hypergeometric distribution)."""
    return float(hypergeom.sf(allowed, rows, forged, rerun))
