"""The pool: every picture ever drawn, as a PNG named by the digest of its request.

A name is never written twice with other pixels, so any number of runs and machines may share one pool.  Writes go
to a temporary file first and appear whole or not at all.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from chatgenbench.errors import InfraError
from chatgenbench.render.infotext import CHUNK

if TYPE_CHECKING:
    from PIL.Image import Image


class Pool:
    """Pictures under `root`, spread over 256 folders by the first two hex digits of their name."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def path(self, digest: str) -> Path:
        """Where the picture of a request digest (64 hex digits) lies, whether or not it is there."""
        return self.root / digest[:2] / f"{digest}.png"

    def has(self, digest: str) -> bool:
        """Whether a file is there; `verify` tells whether it is whole."""
        return self.path(digest).is_file()

    def put(self, digest: str, image: Image, infotext: str) -> str:
        """Store `image` with its infotext and return the sha256 of the PNG file.

        Raises:
            InfraError: the disk is full, read-only or gone; nothing is left behind.
        """
        data = png_bytes(image, infotext)
        try:
            self._write(self.path(digest), data)
        except OSError as error:
            raise InfraError(f"cannot write to the picture pool {self.root}: {error.strerror or error}") from error
        return hashlib.sha256(data).hexdigest()

    def read(self, digest: str) -> Image:
        """The picture as RGB, with its infotext in `.info["parameters"]`.

        Raises:
            InfraError: it is not there or cannot be read.
        """
        from PIL import Image

        image = Image.open(io.BytesIO(self._bytes(digest)))
        image.load()
        return image

    def sha256(self, digest: str) -> str:
        """sha256 (64 hex digits) of the PNG file; raises InfraError when it cannot be read."""
        return hashlib.sha256(self._bytes(digest)).hexdigest()

    def verify(self, digest: str) -> bool:
        """Whether a whole picture is there.  A broken or truncated one is removed, so that it gets drawn again."""
        if not self.has(digest):
            return False
        if _is_whole(self._bytes(digest)):
            return True
        try:
            self.path(digest).unlink(missing_ok=True)
        except OSError as error:
            raise InfraError(f"cannot remove the broken picture {self.path(digest)}: {error.strerror}") from error
        return False

    def _bytes(self, digest: str) -> bytes:
        try:
            return self.path(digest).read_bytes()
        except OSError as error:
            raise InfraError(f"cannot read {self.path(digest)}: {error.strerror or error}") from error

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)  # mkstemp's 0600 would shut out the others who share the pool
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def png_bytes(image: Image, infotext: str) -> bytes:
    """`image` as RGB PNG with its infotext; the same pixels and text always give the same bytes."""
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    (chunks.add_text if infotext.isascii() else chunks.add_itxt)(CHUNK, infotext)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG", pnginfo=chunks, compress_level=6)
    return buffer.getvalue()


def _is_whole(data: bytes) -> bool:
    """Whether `data` decodes to the last pixel and every chunk's checksum holds."""
    from PIL import Image

    try:
        Image.open(io.BytesIO(data)).verify()
        Image.open(io.BytesIO(data)).load()
    except (OSError, SyntaxError, ValueError, EOFError):  # Pillow's names for bad bytes
        return False
    return True
