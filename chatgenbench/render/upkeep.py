"""Keeping a pool in order: what is in it, what is broken, and what nobody needs any more."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from chatgenbench.errors import InfraError
from chatgenbench.render.pool import STAGING, Pool

_NAME = re.compile(r"[0-9a-f]{64}\.png")
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
    try:
        for folder in sorted(path for path in pool.root.iterdir() if re.fullmatch("[0-9a-f]{2}", path.name)):
            for path in sorted(folder.iterdir()):
                if _NAME.fullmatch(path.name) and path.name.startswith(folder.name):
                    about = path.stat()
                    yield Kept(path.stem, about.st_size, about.st_mtime)
    except OSError as error:
        raise InfraError(f"cannot read the picture pool {pool.root}: {error.strerror or error}") from error


def stats(pool: Pool) -> Stats:
    """Count a pool; raises InfraError when it cannot be read."""
    found = list(pictures(pool))
    times = [one.written for one in found]
    names = {f"{one.digest[:2]}/{one.digest}.png" for one in found}
    strange = [
        str(path.relative_to(pool.root)) for path in sorted(pool.root.rglob("*"))
        if path.is_file() and path.relative_to(pool.root).parts[0] != STAGING
        and str(path.relative_to(pool.root)) not in names
    ]  # fmt: skip
    staged = len(list((pool.root / STAGING).glob("*")))
    return Stats(
        len(found), sum(one.size for one in found), min(times, default=None), max(times, default=None), staged,
        tuple(strange),
    )  # fmt: skip


def broken(pool: Pool, known: dict[str, str], tick: Tick = lambda done, total: None) -> Iterator[tuple[str, str]]:
    """(name, what is wrong) of every picture that is not whole, or not the one that a run was given.

    Args:
        known: name -> sha256 of the PNG file, as runs recorded it.
    """
    found = list(pictures(pool))
    for done, one in enumerate(found, 1):
        if not pool.is_whole(one.digest):
            yield one.digest, "it is not a whole picture"
        elif one.digest in known and pool.sha256(one.digest) != known[one.digest]:
            yield one.digest, "it is not the picture that a run recorded"
        tick(done, len(found))


def disposable(
    pool: Pool, needed: Collection[str], days: float = 0.0, limit: int | None = None, now: float | None = None
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


def remove(pool: Pool, digests: Collection[str]) -> None:
    """Take pictures out: they are drawn again when a run needs them.

    Raises:
        InfraError: the disk refuses.
    """
    for digest in digests:
        path: Path = pool.path(digest)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise InfraError(f"cannot remove {path}: {error.strerror or error}") from error
