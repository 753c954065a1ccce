"""One picture of a pool: its bytes, and how those who only look at pictures get at them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from chatgenbench.errors import InfraError
from chatgenbench.render.infotext import CHUNK

if TYPE_CHECKING:
    from PIL.Image import Image

    from chatgenbench.render.pool import Pool


class PictureFile(Protocol):
    """A picture's file, on this disk (a Path) or elsewhere; `str` of it is what to call it in messages."""

    def read_bytes(self) -> bytes:
        """Its bytes; raises OSError when it cannot be read."""
        ...

    def is_file(self) -> bool:
        """Whether it is there."""
        ...


@dataclass(frozen=True)
class Stored:
    """A picture of a pool that is not on this disk, with the face of a Path; hashable by pool and name."""

    pool: Pool
    digest: str

    def __str__(self) -> str:
        return self.pool.where(self.digest)

    def read_bytes(self) -> bytes:
        try:
            return self.pool.data(self.digest)
        except InfraError as error:
            raise OSError(str(error)) from error

    def is_file(self) -> bool:
        return self.pool.has(self.digest)


def png_bytes(image: Image, infotext: str) -> bytes:
    """`image` as RGB PNG with its infotext; the same pixels and text always give the same bytes."""
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    (chunks.add_text if infotext.isascii() else chunks.add_itxt)(CHUNK, infotext)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG", pnginfo=chunks, compress_level=6)
    return buffer.getvalue()


def is_picture(data: bytes) -> bool:
    """Whether `data` decodes to the last pixel and every chunk's checksum holds."""
    from PIL import Image

    try:
        Image.open(io.BytesIO(data)).verify()
        Image.open(io.BytesIO(data)).load()
    except (OSError, SyntaxError, ValueError, EOFError):  # Pillow's names for bad bytes
        return False
    return True
