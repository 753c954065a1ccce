"""Keeping a pool in order: what is in it, what is broken, and what nobody needs any more."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from chatgenbench.render.pool import Pool
from chatgenbench.render.pool_picture import is_picture
from chatgenbench.render.pool_store import Entry

_NAME = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{62}\.png")
#: tick(pictures done, pictures in all)
Tick = Callable[[int, int], None]
DAY = 86_400.0


@dataclass(frozen=True)
class Kept:
    """One picture of a pool: its name (request digest), size in bytes, and when it was written (seconds since 1970)."""

    digest: str
    size: int
    written: float


@dataclass(frozen=True)
class Stats:
    """What a pool holds.  `staged` counts batches that were on their way in, `strange` files that are no pictures."""

    pictures: int
    size: int
    oldest: float | None
    newest: float | None
    staged: int
    strange: tuple[str, ...]


def pictures(pool: Pool) -> Iterator[Kept]:
    """Every picture, in the order of their names.

    Raises:
        InfraError: the pool cannot be read.
    """
    for entry in pool.entries():
        if _NAME.fullmatch(entry.path):
            yield _kept(entry)


def _kept(entry: Entry) -> Kept:
    return Kept(entry.path[3:-4], entry.size, entry.written)


def stats(pool: Pool) -> Stats:
    """Count a pool; raises InfraError when it cannot be read."""
    entries = list(pool.entries())
    found = [_kept(entry) for entry in entries if _NAME.fullmatch(entry.path)]
    times = [one.written for one in found]
    return Stats(
        len(found), sum(one.size for one in found), min(times, default=None), max(times, default=None), pool.staged(),
        tuple(entry.path for entry in entries if not _NAME.fullmatch(entry.path)),
    )  # fmt: skip


def broken(pool: Pool, known: dict[str, str], tick: Tick = lambda done, total: None) -> Iterator[tuple[str, str]]:
    """(name, what is wrong) of every picture that is not whole, or not the one that a run was given.

    Args:
        known: name -> sha256 of the PNG file, as runs recorded it.
    """
    found = [one.digest for one in pictures(pool)]
    for done, (digest, data) in enumerate(pool.datas(found), 1):
        if not is_picture(data):
            yield digest, "it is not a whole picture"
        elif digest in known and hashlib.sha256(data).hexdigest() != known[digest]:
            yield digest, "it is not the picture that a run recorded"
        tick(done, len(found))


def disposable(
    pool: Pool, needed: Collection[str], days: float = 0.0, limit: float | None = None, now: float | None = None
) -> list[Kept]:
    """Pictures that may go: those that nobody needs and that were written more than `days` ago, oldest first.

    Args:
        needed: names that stay whatever their age.
        limit: bytes that the pool may have; only as many go as it takes to get there.  None: all that may.
    """
    moment = time.time() if now is None else now
    found = list(pictures(pool))
    free = sorted(
        (one for one in found if one.digest not in needed and moment - one.written >= days * DAY),
        key=lambda one: (one.written, one.digest),
    )
    if limit is None:
        return free
    size, chosen = sum(one.size for one in found), []
    for one in free:
        if size <= limit:
            break
        size -= one.size
        chosen.append(one)
    return chosen
