"""The pool: every picture ever drawn, as a PNG named by the digest of its request.

A name is never written twice with other pixels, so any number of runs and machines may share one pool.  Writes go
to a temporary file first and appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chatgenbench.errors import InfraError, UserError
from chatgenbench.render.infotext import CHUNK

if TYPE_CHECKING:
    from PIL.Image import Image

#: Batches on their way in; a folder that ends in READY is whole.
STAGING, READY = ".staging", ".ready"


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

    def check(self) -> None:
        """See that pictures can be put here, before anything costly starts; UserError when not."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.root).close()
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"picture pool {self.root} cannot be written ({reason}): choose another --pool") from None

    def put(self, digest: str, image: Image, infotext: str) -> str:
        """Store one picture with its infotext and return the sha256 of the PNG file; see `put_batch`."""
        return self.put_batch([(digest, image, infotext)])[0]

    def put_batch(self, pictures: Sequence[tuple[str, Image, str]]) -> list[str]:
        """Store the pictures (digest, image, infotext) of one batch and return the sha256 of each PNG in the pool.

        A picture that another run stored meanwhile stays, so the sha256 may be of that one.
        A kill leaves all of them or, after the next `recover`, none: a batch that is drawn again then has the same
        batch-mates, and a resumed run the same pixels as an uninterrupted one.

        Raises:
            InfraError: the disk is full, read-only or gone; nothing is left behind.
        """
        files = {digest: png_bytes(image, infotext) for digest, image, infotext in pictures}
        try:
            self._stage(files)
        except OSError as error:
            raise InfraError(f"cannot write to the picture pool {self.root}: {error.strerror or error}") from error
        return [self.sha256(digest) for digest in files]

    def recover(self) -> None:
        """Finish batches that were written whole before a kill, and sweep away those that were not."""
        for folder in sorted((self.root / STAGING).glob("*")):
            try:
                if folder.suffix == READY:
                    self._unpack(folder)
                elif not _is_alive(folder.name):
                    shutil.rmtree(folder, ignore_errors=True)
            except OSError as error:
                raise InfraError(f"cannot tidy the picture pool {self.root}: {error.strerror or error}") from error

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
        if self.is_whole(digest):
            return True
        try:
            self.path(digest).unlink(missing_ok=True)
        except OSError as error:
            raise InfraError(f"cannot remove the broken picture {self.path(digest)}: {error.strerror}") from error
        return False

    def is_whole(self, digest: str) -> bool:
        """Whether the picture that is there decodes to its last pixel; raises InfraError when it cannot be read."""
        return _is_whole(self._bytes(digest))

    def _bytes(self, digest: str) -> bytes:
        try:
            return self.path(digest).read_bytes()
        except OSError as error:
            raise InfraError(f"cannot read {self.path(digest)}: {error.strerror or error}") from error

    def _stage(self, files: Mapping[str, bytes]) -> None:
        staging = self.root / STAGING
        staging.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{socket.gethostname()}-{os.getpid()}-", dir=staging))
        try:
            for digest, data in files.items():
                with (folder / f"{digest}.png").open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            ready = folder.with_name(folder.name + READY)
            folder.rename(ready)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._unpack(ready)

    def _unpack(self, folder: Path) -> None:
        """Move a whole batch to its places; another process may be doing the same."""
        for file in sorted(folder.glob("*.png")):
            target = self.path(file.stem)
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                _place(file, target)
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()


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


def _is_alive(name: str) -> bool:
    """Whether the process that staged `HOST-PID-random` may still run: another machine's always may."""
    host, pid, _ = name.rsplit("-", 2)
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


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
