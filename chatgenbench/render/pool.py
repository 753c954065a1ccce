"""The pool: every picture ever drawn, as a PNG named by the digest of its request.

It lies in a folder or at any fsspec URL.  A name is never written twice with other pixels, so any number of runs and
machines may share one pool.  Batches appear whole or not at all: see pool_folder.py and pool_bucket.py for how.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from chatgenbench.errors import InfraError, UserError, shorten
from chatgenbench.render.pool_bucket import Bucket, is_url
from chatgenbench.render.pool_folder import Folder
from chatgenbench.render.pool_picture import PictureFile, Stored, is_picture, png_bytes
from chatgenbench.render.pool_store import Entry, Store

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")


class Pool:
    """Pictures in a folder or at an fsspec URL, spread over 256 folders by the first two hex digits of their name.

    Args:
        where: a path, or a URL such as "s3://bucket/folder".

    Raises:
        UserError: the URL holds a password, or names no folder.
    """

    def __init__(self, where: Path | str) -> None:
        text = str(where)
        if text.startswith(("file://", "local://")):
            text = text.partition("://")[2]
            if not text:
                raise UserError(f"--pool {where} names no folder: write it like file:///data/pool, or /data/pool")
        self._where = text
        self._root = None if is_url(text) else Path(text)
        self._store: Store = Bucket(text, is_picture) if self._root is None else Folder(self._root)

    def __reduce__(self) -> tuple[type[Pool], tuple[str]]:
        return Pool, (self.spec,)

    def __str__(self) -> str:
        return self._where

    @property
    def root(self) -> Path:
        """The folder of a pool on this disk; ValueError for one at a URL."""
        if self._root is None:
            raise ValueError(f"{self} is not on this disk")
        return self._root

    @property
    def spec(self) -> str:
        """What makes this pool again, in another process or folder."""
        return self._where if self._root is None else str(self._root.resolve())

    @property
    def shared(self) -> bool:
        """Whether other processes see the same pictures."""
        return not self._where.startswith("memory://")

    def path(self, digest: str) -> Path:
        """Where a picture lies in a pool on this disk, whether or not it is there."""
        return self.root / _path(digest)

    def where(self, digest: str) -> str:
        """What to call a picture in messages."""
        return self._store.where(_path(digest))

    def picture(self, digest: str) -> PictureFile:
        """The file of a request digest (64 hex digits), whether or not it is there; a Path in a pool on this disk."""
        return Stored(self, digest) if self._root is None else self.path(digest)

    def source(self, digest: str) -> Path | bytes:
        """What the metric suite opens: the file of a pool on this disk, else the picture's bytes."""
        return self.data(digest) if self._root is None else self.path(digest)

    def there(self) -> bool:
        """Whether anything is where this pool should be."""
        with _told(f"cannot reach the picture pool {self}"):
            return self._store.there()

    def has(self, digest: str) -> bool:
        """Whether a file is there; `verify` tells whether it is whole."""
        with _told(f"cannot read {self.where(digest)}"):
            return self._store.has(_path(digest))

    def present(self, digests: Iterable[str]) -> set[str]:
        """Those of `digests` that `has` says are there."""
        return {digest for digest, there in self._each(self.has, digests) if there}

    def check(self) -> None:
        """See that pictures can be put here, before anything costly starts; UserError when not."""
        try:
            self._store.probe()
        except OSError as error:
            raise UserError(f"picture pool {self} cannot be written ({_why(error)}): choose another --pool") from None

    def put(self, digest: str, image: Image, infotext: str) -> str:
        """Store one picture with its infotext and return the sha256 of the PNG file; see `put_batch`."""
        return self.put_batch([(digest, image, infotext)])[0]

    def put_batch(self, pictures: Sequence[tuple[str, Image, str]]) -> list[str]:
        """Store the pictures (digest, image, infotext) of one batch and return the sha256 of each PNG in the pool.

        A picture that another run stored meanwhile stays, so the sha256 may be of that one.
        A kill leaves all of them or, after the next `recover`, none: a batch that is drawn again then has the same
        batch-mates, and a resumed run the same pixels as an uninterrupted one.

        Raises:
            InfraError: the place is full, read-only or gone; nothing is left behind that `recover` would not finish.
        """
        files = {digest: png_bytes(image, infotext) for digest, image, infotext in pictures}
        with _told(f"cannot write to the picture pool {self}"):
            self._store.add({_path(digest): data for digest, data in files.items()})
        return [sha256 for _, sha256 in self._each(self.sha256, files)]

    def recover(self) -> None:
        """Finish batches that were written whole before a kill, and sweep away those that were not."""
        with _told(f"cannot tidy the picture pool {self}"):
            self._store.recover()

    def read(self, digest: str) -> Image:
        """The picture as RGB, with its infotext in `.info["parameters"]`.

        Raises:
            InfraError: it is not there or cannot be read.
        """
        from PIL import Image

        image = Image.open(io.BytesIO(self.data(digest)))
        image.load()
        return image

    def data(self, digest: str) -> bytes:
        """The PNG file's bytes; raises InfraError when it cannot be read."""
        with _told(f"cannot read {self.where(digest)}"):
            return self._store.read(_path(digest))

    def sha256(self, digest: str) -> str:
        """sha256 (64 hex digits) of the PNG file; raises InfraError when it cannot be read."""
        return hashlib.sha256(self.data(digest)).hexdigest()

    def verify(self, digest: str) -> bool:
        """Whether a whole picture is there.  A broken or truncated one is removed, so that it gets drawn again."""
        return self.checksum(digest) is not None

    def checksum(self, digest: str) -> str | None:
        """sha256 of the whole picture that is there, None where none is; see `verify`."""
        with _told(f"cannot read {self.where(digest)}"):
            try:
                data = self._store.read(_path(digest))
            except FileNotFoundError:
                return None
        if is_picture(data):
            return hashlib.sha256(data).hexdigest()
        self.remove([digest])
        return None

    def checksums(self, digests: Iterable[str]) -> Iterator[tuple[str, str | None]]:
        """(digest, its `checksum`) of each, in order, as soon as it is known."""
        return self._each(self.checksum, digests)

    def is_whole(self, digest: str) -> bool:
        """Whether the picture that is there decodes to its last pixel; raises InfraError when it cannot be read."""
        return is_picture(self.data(digest))

    def datas(self, digests: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """(digest, its `data`) of each, in order."""
        return self._each(self.data, digests)

    def remove(self, digests: Iterable[str]) -> None:
        """Take pictures out: they are drawn again when a run needs them; InfraError when the disk refuses."""
        for _ in self._each(self._remove, digests):
            pass

    def entries(self) -> Iterator[Entry]:
        """Every file of the pool, pictures or not, but for batches on their way in; ordered by path."""
        with _told(f"cannot read the picture pool {self}"):
            yield from self._store.entries()

    def staged(self) -> int:
        """Batches that are on their way in, or were left by a kill."""
        with _told(f"cannot read the picture pool {self}"):
            return self._store.staged()

    def _remove(self, digest: str) -> None:
        with _told(f"cannot remove {self.where(digest)}"):
            self._store.remove(_path(digest))

    def _each(self, ask: Callable[[str], T], digests: Iterable[str]) -> Iterator[tuple[str, T]]:
        """`ask` of each digest, in order; several at once where that pays."""
        if self._store.threads == 1:
            yield from ((digest, ask(digest)) for digest in digests)
            return
        with ThreadPoolExecutor(self._store.threads) as workers:
            left = iter(digests)
            while some := list(islice(left, 4 * self._store.threads)):
                yield from zip(some, workers.map(ask, some), strict=True)


def _path(digest: str) -> str:
    return f"{digest[:2]}/{digest}.png"


def _why(error: OSError) -> str:
    return shorten(error.strerror or str(error) or type(error).__name__, 200)


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InfraError(f"{what}: {_why(error)}") from error
