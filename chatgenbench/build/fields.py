"""Lenient readers of single values: whatever type a tool wrote, a value of the asked type or None, never an error."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from chatgenbench.errors import RenderError
from chatgenbench.render import samplers

_SIZE = re.compile(r"\s*\(?(\d{1,5})\s*[xX×,]\s*(\d{1,5})\)?\s*")
_AIR = re.compile(r"(?:urn:air:[\w.-]*:(\w*):)?civitai:(\d{1,12})@(\d{1,12})", re.IGNORECASE)
_HASH = re.compile(r"(?:0x)?([0-9a-f]{8}|[0-9a-f]{10}|[0-9a-f]{12}|[0-9a-f]{64})")
_WEIGHTS = re.compile(r"\.(safetensors|ckpt|pt|pth|bin|gguf)$", re.IGNORECASE)
#: Schedules that mean "the sampler's own", in any tool's spelling; on their own they change no name.
_PLAIN = frozenset({"", "automatic", "normal", "none", "null", "default", "n/a"})
_LARGEST = 2**64


@lru_cache(maxsize=8192)
def fold(key: str) -> str:
    """A key without case and separators, so that `CFG scale`, `cfgScale` and `cfg_scale` are one."""
    return re.sub(r"[\s_\-]+", "", key).casefold()


def folded(fields: Mapping[Any, Any]) -> dict[str, Any]:
    """`fields` by folded key; of keys that fold alike the first that holds something counts."""
    found: dict[str, Any] = {}
    for key, value in fields.items():
        name = fold(str(key))
        if found.get(name) in (None, ""):
            found[name] = value
    return found


def text(value: Any) -> str | None:
    """Text without outer white space; None for anything that is not text, and for empty text."""
    if not isinstance(value, str):
        return None
    clean = value.encode("utf-8", "replace").decode() if _has_surrogates(value) else value
    return clean.replace("\x00", "").strip() or None


def number(value: Any) -> float | None:
    """A finite number, also when it is spelled as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) else None


def integer(value: Any) -> int | None:
    """A whole number of at most 64 bits, also when it is spelled as text or as `20.0`."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,20}\s*", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < _LARGEST else None
    read = number(value)
    return int(read) if read is not None and read == int(read) and abs(read) < _LARGEST else None


def size(value: Any) -> tuple[int, int] | None:
    """Width and height in pixels out of `512x768` or `(512, 768)`."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return (int(found[1]), int(found[2])) if found else None


def digest(value: Any) -> str | None:
    """A hash of weights as lower-case hex: 8, 10, 12 or 64 digits, anything else is none."""
    found = _HASH.fullmatch(value.strip(" \"'").casefold()) if isinstance(value, str) else None
    return found[1] if found else None


def stem(value: Any) -> str | None:
    """The file name of weights without folder and suffix."""
    name = text(value)
    return None if name is None else text(_WEIGHTS.sub("", re.split(r"[\\/]", name)[-1]))


def air(value: Any) -> tuple[str, int] | None:
    """Type (may be empty) and version id out of an AIR urn such as `urn:air:sdxl:lora:civitai:122359@135867`."""
    found = _AIR.search(value) if isinstance(value, str) else None
    return (found[1] or "", int(found[3])) if found else None


def load(value: str) -> Any:
    """JSON, NaN allowed; None when it is not JSON or nested too deeply."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def items(value: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list; nothing when it is no list."""
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list | tuple) else []


def sampler(name: Any, schedule: Any = None) -> str | None:
    """The A1111 name of a sampler and its noise schedule; a name nobody knows stays as found."""
    found = text(name)
    if found is None or len(found) > 80:
        return None
    plan = text(schedule) or ""
    return _sampler(found, plan if len(plan) <= 80 else "")


@lru_cache(maxsize=4096)
def _sampler(name: str, schedule: str) -> str:
    plain = name.replace("_gpu", "")
    flat = schedule.casefold()
    if flat == "ddim_uniform" and known(plain) == "DDIM":
        flat = schedule = ""
    if schedule and fold(schedule) not in fold(plain):
        joined = known(f"{plain} {schedule}")
        if joined is not None:
            return joined
        if flat not in _PLAIN:
            return f"{name} {schedule}"
    return known(plain) or name


@lru_cache(maxsize=4096)
def known(name: str) -> str | None:
    """The canonical spelling of a sampler that can be drawn, or None."""
    try:
        return samplers.resolve(name).name
    except RenderError:
        return None


def _has_surrogates(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False
