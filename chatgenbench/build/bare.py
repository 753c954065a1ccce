"""Pictures without what is written into them beside the picture: user names, folders, prompts, places, thumbnails.

Nothing is decoded or coded anew: the parts that make the pixels and their colours are kept byte by byte, all others are
left out, and so is whatever follows the picture's end.
"""

from __future__ import annotations

import struct

_PNG_START = 8
#: Of PNG: image data, palette, and how colours are meant.
_PNG = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"bKGD"}
)
#: Of WebP: image data, transparency, colour profile.
_WEBP = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP"})
#: Bits of a VP8X chunk that announce EXIF and XMP.
_WEBP_TOLD = 0x0C
#: Application data of JPEG that decides colours, by marker and first bytes.
_EOI, _SOS, _JFIF, _COM = 0xD9, 0xDA, 0xE0, 0xFE
_JPEG_APP = ((_JFIF, b"JFIF\0"), (0xE2, b"ICC_PROFILE\0"), (0xEE, b"Adobe"))


def bare(data: bytes, suffix: str) -> bytes:
    """A still `png`, `jpg` or `webp` without metadata; the same pixels.

    Raises:
        ValueError: the file does not hold together.
    """
    try:
        return {"png": _png, "jpg": _jpeg, "webp": _webp}[suffix](data)
    except (IndexError, struct.error):
        raise ValueError("a picture that breaks off") from None


def _png(data: bytes) -> bytes:
    parts, at, kind = [data[:_PNG_START]], _PNG_START, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise ValueError("a picture that breaks off")
        if kind in _PNG:
            parts.append(data[at:end])
        at = end
    return b"".join(parts)


def _webp(data: bytes) -> bytes:
    parts, at = [], 12
    end = min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        part = data[at : at + 8 + length]
        if len(part) < 8 + length:
            raise ValueError("a picture that breaks off")
        if kind == b"VP8X":
            part = part[:8] + bytes([part[8] & ~_WEBP_TOLD]) + part[9:]
        if kind in _WEBP:
            parts.append(part + b"\0" * (length % 2))
        at += 8 + length + length % 2
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _jpeg(data: bytes) -> bytes:
    parts, at = [data[:2]], 2
    while at < len(data):
        if data[at] != 0xFF:
            raise ValueError("no marker where one must be")
        while data[at] == 0xFF:  # any number of them may stand before a marker
            at += 1
        marker = data[at]
        at += 1
        if marker == _EOI:
            return b"".join((*parts, bytes([0xFF, _EOI])))
        (length,) = struct.unpack_from(">H", data, at)
        end = at + length
        if marker == _SOS:
            end = _after_scan(data, end)
        if _kept(marker, data[at + 2 : at + 16]):
            body = _without_thumbnail(data[at:end]) if marker == _JFIF else data[at:end]
            parts.append(bytes([0xFF, marker]) + body)
        at = end
    raise ValueError("a picture that breaks off")


def _kept(marker: int, begin: bytes) -> bool:
    if 0xE0 <= marker <= 0xEF:
        return any(marker == number and begin.startswith(name) for number, name in _JPEG_APP)
    return marker != _COM


def _without_thumbnail(segment: bytes) -> bytes:
    """The fixed part of a JFIF segment, 16 bytes, and no small picture after it."""
    return struct.pack(">H", 16) + segment[2:14] + b"\0\0" if len(segment) > 16 else segment


def _after_scan(data: bytes, at: int) -> int:
    """Where the next marker stands: in coded data 0xFF is followed by 0, or by a restart marker."""
    while True:
        at = data.index(b"\xff", at)
        if data[at + 1] != 0 and not 0xD0 <= data[at + 1] <= 0xD7:
            return at
        at += 2
