"""Whether bytes are a picture that may be kept: sniffed by content, measured before decoding, decoded once."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from chatgenbench.build.bare import bare
from chatgenbench.build.safety import Classifier, opaque

MAX_PIXELS = 40_000_000


@dataclass(frozen=True)
class Seen:
    """A sound picture: file suffix, size in pixels, 64-bit perceptual hash (16 hex digits), classifier's score 0..1.

    `data` is the file without metadata (`bare`), which is what was looked at.
    """

    suffix: str
    width: int
    height: int
    phash: str
    nsfw: float
    data: bytes


def look(data: bytes, classifier: Classifier) -> Seen | str:
    """What the picture is, or why it is none.

    Reasons: `picture-not-an-image` (no PNG, JPEG or WebP, or an animation, of which only one frame would be judged),
    `picture-too-many-pixels`, `picture-damaged`.
    """
    suffix = sniff(data)
    if suffix is None:
        return "picture-not-an-image"
    try:
        return _decode(data, suffix, classifier)
    except MemoryError:
        raise
    except Exception:
        # decoders fail in their own ways on bytes made to break them; whichever it is, this is no sound picture
        return "picture-damaged"


def sniff(data: bytes) -> str | None:
    """`png`, `jpg` or `webp` by the first bytes; None for all else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _decode(data: bytes, suffix: str, classifier: Classifier) -> Seen | str:
    # WebP's reader makes room for the whole picture when it is opened, so its size is read here; the others wait
    if suffix == "webp" and _too_large(_webp_size(data)):
        return "picture-too-many-pixels"
    with _open(data, suffix) as image:
        if _too_large(image.size):
            return "picture-too-many-pixels"
        if getattr(image, "is_animated", False):
            return "picture-not-an-image"
    data = bare(data, suffix)
    with _open(data, suffix) as image:
        image.load()
        flat = opaque(image)
        width, height = image.size
    return Seen(suffix, width, height, phash(flat), round(classifier.score(flat), 4), data)


def phash(image: Image.Image) -> str:
    """64-bit DCT hash, 16 hex digits: pictures that look alike differ in few bits."""
    import imagehash

    return str(imagehash.phash(image))


def _open(data: bytes, suffix: str) -> Image.Image:
    """The picture unread but for its header; its format is given, so no other reader gets to see the bytes."""
    if suffix == "png":
        return PngImagePlugin.PngImageFile(io.BytesIO(data))
    if suffix == "jpg":
        return JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    return WebPImagePlugin.WebPImageFile(io.BytesIO(data))


def _too_large(size: tuple[int, int]) -> bool:
    return size[0] * size[1] > MAX_PIXELS


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
