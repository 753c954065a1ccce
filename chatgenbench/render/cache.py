"""Weights that were fetched, kept on disk for every run of this machine, by content, within a budget.

    ab/ab12….safetensors   a whole file, or
    ab/ab12…               a whole folder; neither is ever changed, and neither appears before it is whole
    partial/NAME           what is on its way, and NAME.size: the bytes it was announced to have
    locks/NAME.lock        held shared by whoever reads the entry, exclusively by whoever makes or removes it

A killed process holds no lock, so what it was reading can be evicted, and what it was fetching is gone on with.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import uuid4

from chatgenbench.errors import InfraError, WeightsError

#: Seconds that one waits for weights in use to be let go, when nothing else can make room.
PATIENCE = 120.0
_PAUSE = 0.2
_NAME = re.compile(r"[0-9a-f]{64}(\.safetensors)?")

#: Told how many bytes will lie in the partial file or folder when it is whole; makes room for them.
Reserve = Callable[[int], None]
#: Fills the partial path that it is given.
Fetch = Callable[[Path, Reserve], None]


@dataclass(frozen=True)
class _Entry:
    name: str
    path: Path
    bytes: int
    used: float


class WeightsCache:
    """Entries under `root`, used by any number of threads and processes at once.

    Args:
        budget: bytes on disk; None: as many as there are.  What is in use may not be removed to keep it.
    """

    def __init__(self, root: Path, budget: int | None = None) -> None:
        self.root, self.budget = root, budget

    def path(self, name: str) -> Path:
        """Where an entry lies once it is whole.  A name is 64 hex digits, with `.safetensors` for a file."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"'{name}' is no name of an entry")
        return self.root / name[:2] / name

    def has(self, name: str) -> bool:
        """Whether an entry is there."""
        return self.path(name).exists()

    @contextmanager
    def using(self, name: str, fetch: Fetch) -> Iterator[Path]:
        """The entry, fetched if it is not there; nobody removes it before the block ends.

        Raises:
            WeightsError: there is no room for it within the budget, or what `fetch` raises.
            InfraError: the disk is full or cannot be written.
        """
        target = self.path(name)
        with self._told():
            handle = self._open_lock(name)
        with handle:
            while True:
                fcntl.flock(handle, fcntl.LOCK_SH)
                if target.exists():
                    break
                fcntl.flock(handle, fcntl.LOCK_UN)
                fcntl.flock(handle, fcntl.LOCK_EX)
                if not target.exists():
                    with self._told():
                        self._fill(name, target, fetch)
            with suppress(OSError):
                os.utime(target)  # entries are evicted in this order
            yield target

    def _fill(self, name: str, target: Path, fetch: Fetch) -> None:
        partial = self.root / "partial" / name
        partial.parent.mkdir(parents=True, exist_ok=True)
        fetch(partial, lambda size: self._reserve(name, size))
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)
        _size_file(partial).unlink(missing_ok=True)

    def _reserve(self, name: str, size: int) -> None:
        """Evict until an entry of `size` bytes fits, oldest use first."""
        if self.budget is not None and size > self.budget:
            raise WeightsError(f"it has {size:,} bytes, more than --weights-budget allows ({self.budget:,})")
        deadline = time.monotonic() + PATIENCE
        while not self._make_room(name, size):
            if time.monotonic() > deadline:
                raise WeightsError(f"everything within --weights-budget ({self.budget:,} bytes) is in use: raise it")
            time.sleep(_PAUSE)

    def _make_room(self, name: str, size: int) -> bool:
        with (self.root / "budget.lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            self._sweep()
            if self.budget is not None:
                others = sorted((e for e in self._entries() if e.name != name), key=lambda e: e.used)
                over = sum(entry.bytes for entry in others) + size - self.budget
                for entry in others:
                    if over <= 0:
                        break
                    if self._evict(entry):
                        over -= entry.bytes
                if over > 0:
                    return False
            _size_file(self.root / "partial" / name).write_text(str(size))
        return True

    def _entries(self) -> list[_Entry]:
        """Whole entries, and partial ones with the bytes they will have.

        Partial ones are listed first: one that becomes whole meanwhile is seen at least once.
        """
        partial = self.root / "partial"
        names = {path.name.removesuffix(".size") for path in partial.glob("*")}
        paths = [partial / name for name in names if _NAME.fullmatch(name)]
        entries = {p.name: _Entry(p.name, p, max(_bytes(p), _announced(p)), _used(p)) for p in paths}
        for path in self.root.glob("[0-9a-f][0-9a-f]/*"):
            if _NAME.fullmatch(path.name):
                entries[path.name] = _Entry(path.name, path, _bytes(path), _used(path))
        return list(entries.values())

    def _evict(self, entry: _Entry) -> bool:
        """Remove an entry that nobody uses; False if somebody does."""
        with self._open_lock(entry.name) as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            trash = self.root / "trash"
            trash.mkdir(exist_ok=True)
            for path in (entry.path, self.root / "partial" / f"{entry.name}.parts"):
                with suppress(FileNotFoundError):
                    path.replace(trash / uuid4().hex)
            _size_file(self.root / "partial" / entry.name).unlink(missing_ok=True)
        self._sweep()
        return True

    def _sweep(self) -> None:
        for path in (self.root / "trash").glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _open_lock(self, name: str) -> IO[str]:
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / f"{name}.lock").open("w")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Trouble with the disk in one line."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            mend = "free some room, or set --weights-budget" if full else "see that it can be written"
            raise InfraError(f"the weights folder {self.root}: {error.strerror or error}; {mend}") from error


def _size_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.size")


def _announced(partial: Path) -> int:
    try:
        return int(_size_file(partial).read_text())
    except (OSError, ValueError):
        return 0


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(_bytes(child) for child in path.iterdir())
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
