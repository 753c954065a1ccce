"""Pictures inside a page: each file once, as a data URI, small enough to send by mail."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

#: Pictures whose longer side is at most this many pixels are kept as they are and shown enlarged, crisply.
SMALL = 128
ENLARGED = 2.5
#: Larger ones are embedded reduced to this side and shown at half of it, for sharp screens.
REDUCED = 400


class Album:
    """Pictures of one page.  `entries[k]` is what `add` returned k for: src, w, h (CSS pixels), crisp."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._by_path: dict[Path, int | None] = {}
        self._by_digest: dict[str, int] = {}

    def add(self, path: Path | None) -> int | None:
        """Number of the picture at `path`; None if there is no readable picture."""
        if path is None:
            return None
        if path not in self._by_path:
            self._by_path[path] = self._read(path)
        return self._by_path[path]

    def get(self, path: Path | None) -> dict[str, Any] | None:
        """The entry of the picture at `path`; None if there is no readable picture."""
        number = self.add(path)
        return None if number is None else self.entries[number]

    def _read(self, path: Path) -> int | None:
        from PIL import Image, UnidentifiedImageError

        try:
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            if digest not in self._by_digest:
                with Image.open(io.BytesIO(data)) as image:
                    self.entries.append(_entry(image))
                self._by_digest[digest] = len(self.entries) - 1
        except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
            return None
        return self._by_digest[digest]


def _entry(image: Image) -> dict[str, Any]:
    width, height = image.size
    longer = max(width, height)
    if longer <= SMALL:
        shown = (round(width * ENLARGED), round(height * ENLARGED))
        return {"src": _uri(image.convert("RGB"), "PNG"), "w": shown[0], "h": shown[1], "crisp": True}
    factor = min(1.0, REDUCED / longer)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    half = REDUCED / 2 / longer
    shown = (max(1, round(width * half)), max(1, round(height * half)))
    return {"src": _uri(image.convert("RGB").resize(size), "JPEG"), "w": shown[0], "h": shown[1], "crisp": False}


def _uri(image: Image, form: str) -> str:
    """A data URI without metadata; the same pixels always give the same text."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"optimize": True} if form == "PNG" else {"quality": 85}
    clean = image.copy()
    clean.info = {}
    clean.save(buffer, format=form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
