"""Pictures inside a page: each file once, as a data URI, small enough to send by mail."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import TYPE_CHECKING, Any, Protocol

from chatgenbench.render.pool_picture import PictureFile

if TYPE_CHECKING:
    from PIL.Image import Image

#: Pictures whose longer side is at most this many pixels are kept as they are and shown enlarged, crisply.
SMALL = 128
ENLARGED = 2.5
#: Larger ones are embedded reduced to this side and shown at half of it, for sharp screens.
REDUCED = 400


class Pictures(Protocol):
    """Pictures of one page, inside it or beside it.

    `entries[k]` is what `add` returned k for: src, w, h (CSS pixels), crisp.
    """

    entries: list[dict[str, Any]]

    def add(self, path: PictureFile | None) -> int | None:
        """Number of the picture at `path`; None if there is no readable picture."""


class Album:
    """Pictures inside a page."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._by_path: dict[PictureFile, int | None] = {}
        self._by_digest: dict[str, int] = {}

    def add(self, path: PictureFile | None) -> int | None:
        """Number of the picture at `path`; None if there is no readable picture."""
        if path is None:
            return None
        if path not in self._by_path:
            self._by_path[path] = self._read(path)
        return self._by_path[path]

    def get(self, path: PictureFile | None) -> dict[str, Any] | None:
        """The entry of the picture at `path`; None if there is no readable picture."""
        number = self.add(path)
        return None if number is None else self.entries[number]

    def _read(self, path: PictureFile) -> int | None:
        from PIL import Image

        try:
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            if digest not in self._by_digest:
                with Image.open(io.BytesIO(data)) as image:
                    self.entries.append(_entry(image))
                self._by_digest[digest] = len(self.entries) - 1
        except unreadable():
            return None
        return self._by_digest[digest]


def unreadable() -> tuple[type[Exception], ...]:
    """What opening a file that is no picture raises."""
    from PIL import Image, UnidentifiedImageError

    return OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError


def reduced(image: Image) -> tuple[Image, bool]:
    """A copy without metadata that is small enough for a page, and whether it has every pixel."""
    width, height = image.size
    clean = image.convert("RGB")
    crisp = max(width, height) <= SMALL
    if not crisp:
        factor = min(1.0, REDUCED / max(width, height))
        clean = clean.resize((max(1, round(width * factor)), max(1, round(height * factor))))
    clean.info = {}
    return clean, crisp


def shown(width: int, height: int) -> dict[str, Any]:
    """w and h in CSS pixels and crisp, of a picture of this size or of its reduced copy."""
    longer = max(width, height)
    factor = ENLARGED if longer <= SMALL else REDUCED / 2 / longer
    return {"w": max(1, round(width * factor)), "h": max(1, round(height * factor)), "crisp": longer <= SMALL}


def _entry(image: Image) -> dict[str, Any]:
    small, crisp = reduced(image)
    return {"src": _uri(small, "PNG" if crisp else "JPEG"), **shown(*image.size)}


def _uri(image: Image, form: str) -> str:
    """A data URI; the same pixels always give the same text."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"optimize": True} if form == "PNG" else {"quality": 85}
    image.save(buffer, format=form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
