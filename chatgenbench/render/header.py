"""The head of a safetensors file: 8 bytes that count the bytes of a JSON object, which describes every tensor.

It says how long the whole file is, so a file of another length or kind is known by its first bytes.
(https://github.com/huggingface/safetensors#format)
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

#: Longest header that the format allows, in bytes.
MAX_HEADER = 100_000_000
#: Values that fit into a byte at most.
MOST_VALUES = 8
#: How other files begin, that wear the name of safetensors.
_KINDS = {
    b"\x80\x02": "a pickle, which can run code",
    b"\x80\x03": "a pickle, which can run code",
    b"\x80\x04": "a pickle, which can run code",
    b"\x80\x05": "a pickle, which can run code",
    b"PK\x03\x04": "a zip archive, as pickles of PyTorch are",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"<": "a page, not weights",
    b"GGUF": "a GGUF file",
}


class HeaderError(Exception):
    """A file that is not safetensors; the text goes on after "it is" or "the file is"."""


def header_length(first: bytes) -> int:
    """Bytes of the JSON object, from at least the first 9 bytes of the file (fewer: it is too short).

    Raises:
        HeaderError: this is the beginning of something else.
    """
    for magic, kind in _KINDS.items():
        if first.startswith(magic):
            raise HeaderError(kind)
    length = int.from_bytes(first[:8], "little")
    if len(first) < 9 or first[8:9] != b"{":
        raise HeaderError("no safetensors file")
    if length > MAX_HEADER:
        raise HeaderError(f"no safetensors file: its header claims {length:,} bytes, and {MAX_HEADER:,} are allowed")
    return length


def total_bytes(path: Path) -> int | None:
    """Bytes that the whole file must have, or None while its header isn't there yet.

    Raises:
        HeaderError: it is something else.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(9)
        if len(first) < 9:
            return None
        length = header_length(first)
        if size < 8 + length:
            return None
        file.seek(8)
        return 8 + length + _end(_parsed(file.read(length)))


def read_header(path: Path) -> dict[str, Any]:
    """Name -> {dtype, shape, data_offsets} of every tensor.

    Raises:
        HeaderError: it is not a whole safetensors file.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = header_length(file.read(9))
        if 8 + length > size:
            raise HeaderError("no safetensors file: its header is longer than the file")
        file.seek(8)
        entries = _parsed(file.read(length))
    must = 8 + length + _end(entries)
    if size != must:
        raise HeaderError(f"no whole safetensors file: it has {size:,} bytes and its header says {must:,}")
    return entries


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(text)
        entries.pop("__metadata__", None)
        return dict(entries)
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise HeaderError("no safetensors file: its header is not readable") from None


def _end(entries: dict[str, Any]) -> int:
    try:
        for entry in entries.values():
            begin, end = entry["data_offsets"]
            if not all(isinstance(number, int) and number >= 0 for number in (begin, end, *entry["shape"])):
                raise ValueError
            if math.prod(entry["shape"]) > MOST_VALUES * (end - begin):
                raise HeaderError("no safetensors file: its header claims more values than there is room for")
        return max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    except (ValueError, KeyError, TypeError):
        raise HeaderError("no safetensors file: its header is not readable") from None
