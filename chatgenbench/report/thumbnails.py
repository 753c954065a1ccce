"""Pictures beside a page: reduced copies named by the content they were made of, loaded when they are looked at."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from chatgenbench.evaluate.run import write_bytes
from chatgenbench.render.pool_picture import PictureFile
from chatgenbench.report.pictures import reduced, shown, unreadable

if TYPE_CHECKING:
    from PIL.Image import Image

#: A picture's file and the sha256 of its content, where that is known without reading it.
Source = tuple[PictureFile, str | None]

_NAME = re.compile(r"[0-9a-f]{64}\.webp")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Shelf:
    """Pictures of one page as files of `folder`, with the face of an Album.

    A copy that is there already is not made again, so that a page of thousands of rows is quickly written anew.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[dict[str, Any]] = []
        self._ready: dict[PictureFile, dict[str, Any] | None] = {}
        self._numbers: dict[str, int] = {}

    def fill(self, sources: Iterable[Source]) -> None:
        """Make what is missing, several pictures at a time, and delete copies that no source asks for.

        Raises:
            InfraError: the disk refuses.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        known = dict(sources)
        with ThreadPoolExecutor() as workers:  # Pillow lets other threads work while it reads and writes pictures
            digests = dict(zip(known, workers.map(_digest, known, known.values()), strict=True))
            once = {digest: path for path, digest in digests.items() if digest is not None}
            made = dict(zip(once, workers.map(self._make, once.values(), once), strict=True))
        self._ready = {path: made.get(digest or "") for path, digest in digests.items()}
        kept = {Path(entry["src"]).name for entry in self._ready.values() if entry is not None}
        for path in self.folder.iterdir():
            if _NAME.fullmatch(path.name) and path.name not in kept:
                path.unlink(missing_ok=True)

    def add(self, path: PictureFile | None) -> int | None:
        """Number of the picture at `path`, which was filled in before; None if there is no readable picture."""
        entry = None if path is None else self._ready.get(path)
        if entry is None:
            return None
        if entry["src"] not in self._numbers:
            self._numbers[entry["src"]] = len(self.entries)
            self.entries.append(entry)
        return self._numbers[entry["src"]]

    def _make(self, path: PictureFile, digest: str) -> dict[str, Any] | None:
        from PIL import Image

        copy = self.folder / f"{digest}.webp"
        try:
            if not copy.exists():
                with Image.open(io.BytesIO(path.read_bytes())) as image:
                    data = _webp(image)
                write_bytes(copy, data)
            with Image.open(copy) as image:
                return {"src": f"{quote(self.folder.name)}/{copy.name}", **shown(*image.size)}
        except unreadable():
            return None


def _digest(path: PictureFile, known: str | None) -> str | None:
    if known and _DIGEST.fullmatch(known):  # it becomes a file's name
        return known
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _webp(image: Image) -> bytes:
    """A small copy without metadata; tiny pictures keep every pixel."""
    small, crisp = reduced(image)
    buffer = io.BytesIO()
    options: dict[str, Any] = {"lossless": True, "quality": 50, "method": 0} if crisp else {"quality": 80}
    small.save(buffer, format="WEBP", **options)
    return buffer.getvalue()
