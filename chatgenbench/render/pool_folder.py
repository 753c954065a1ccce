"""A pool on a disk.

A batch is written to a folder of its own, every file is synced, the folder is renamed (now the batch is whole), and
its files are moved to their places.  Whoever finds a renamed folder finishes it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from chatgenbench.render.pool_store import STAGING, Entry, may_live, writer

#: A folder of STAGING that ends in this is whole.
READY = ".ready"


class Folder:
    """Keeps the contract of `Store` with files under `root`."""

    threads = 1

    def __init__(self, root: Path) -> None:
        self.root = root

    def where(self, path: str) -> str:
        return str(self.root / path)

    def probe(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=self.root).close()

    def there(self) -> bool:
        return self.root.is_dir()

    def has(self, path: str) -> bool:
        return (self.root / path).is_file()

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def add(self, files: Mapping[str, bytes]) -> None:
        staging = self.root / STAGING
        staging.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=writer(), dir=staging))
        try:
            for path, data in files.items():
                _write(folder / path.rpartition("/")[2], data)
            ready = folder.with_name(folder.name + READY)
            folder.rename(ready)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._unpack(ready)

    def recover(self) -> None:
        for folder in sorted((self.root / STAGING).glob("*")):
            if folder.suffix == READY:
                self._unpack(folder)
            elif not may_live(folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    def remove(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)

    def entries(self) -> Iterator[Entry]:
        yield from _walk(self.root, "")

    def staged(self) -> int:
        return len(list((self.root / STAGING).glob("*")))

    def _unpack(self, folder: Path) -> None:
        """Move a whole batch to its places; another process may be doing the same."""
        for file in sorted(folder.glob("*.png")):
            target = self.root / file.name[:2] / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                _place(file, target)
        with contextlib.suppress(OSError):  # gone already, or it holds what others put there
            folder.rmdir()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _place(file: Path, target: Path) -> None:
    """Move `file` to `target` unless a picture is there: another run, whose journal names its bytes, was first."""
    try:
        os.link(file, target)
    except FileExistsError:
        pass
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        file.replace(target)
        return
    file.unlink()


def _walk(folder: Path, prefix: str) -> Iterator[Entry]:
    with os.scandir(folder) as found:
        listed = sorted(found, key=lambda entry: entry.name)
    for entry in listed:
        path = prefix + entry.name
        with contextlib.suppress(FileNotFoundError):  # another process moved or removed it
            if entry.is_dir(follow_symlinks=False):
                if path != STAGING:
                    yield from _walk(folder / entry.name, path + "/")
            elif entry.is_file():
                about = entry.stat()
                yield Entry(path, about.st_size, about.st_mtime)
