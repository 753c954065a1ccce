"""What the hub's JSON looks like: read leniently, with every surprise counted (user names are taken out by `names`).

The hub's fields change type and shape from year to year.  Whatever comes, something is read and nothing raises, and
`count.noted` tells what nobody expected, as `drift:images.FIELD:type`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from chatgenbench.build.funnel import Count
from chatgenbench.build.names import creator_named, creator_of, pseudonym, scrub
from chatgenbench.errors import shorten

__all__ = [
    "DESCRIPTION", "Page", "creator_named", "creator_of", "drift", "dump", "image", "is_page", "load", "model", "page",
    "pseudonym", "reason", "scrub",
]  # fmt: skip

#: Longest description of a model or version, in characters of its HTML.
DESCRIPTION = 20_000
#: So many different surprises are told apart; later ones are counted together.
_DRIFTS = 200

#: Fields of one item and the types they were seen with.
_FIELDS = {
    "images": {
        "id": "int", "url": "str", "hash": "str null", "width": "int null", "height": "int null",
        "nsfwLevel": "str int", "nsfw": "bool str", "browsingLevel": "int", "type": "str", "createdAt": "str",
        "postId": "int null", "stats": "object null", "meta": "object null", "username": "str null",
        "baseModel": "str null", "modelVersionIds": "list null", "tags": "list",
    },
    "models": {
        "id": "int", "name": "str", "description": "str null", "type": "str", "nsfw": "bool", "nsfwLevel": "int",
        "minor": "bool", "poi": "bool", "sfwOnly": "bool", "availability": "str", "supportsGeneration": "bool",
        "allowNoCredit": "bool", "allowCommercialUse": "str list", "allowDerivatives": "bool",
        "allowDifferentLicense": "bool", "mode": "str null", "cosmetic": "null object", "meta": "object null",
        "stats": "object null", "creator": "object null", "tags": "list", "modelVersions": "list",
    },
}  # fmt: skip

_KNOWN = {where: {name: frozenset(kinds.split()) for name, kinds in of.items()} for where, of in _FIELDS.items()}
_TYPES = {
    bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "object", type(None): "null",
}  # fmt: skip


@dataclass(frozen=True)
class Page:
    """One page of a list, and where the next one begins (None: this was the last)."""

    items: list[dict[str, Any]]
    cursor: str | None


def load(body: bytes) -> Any:
    """JSON of the hub; lone surrogates and NaN pass.

    Raises:
        ValueError: it is no JSON, or was cut off.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dump(value: Any) -> bytes:
    """What `load` reads back as it was."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def page(body: bytes, where: str, count: Count) -> Page:
    """The items of a list and the cursor of the next page; what is not an item is counted and passed over."""
    found = load(body)
    items = found.get("items") if isinstance(found, dict) else None
    if not isinstance(items, list):
        _note(count, f"drift:{where}.items:{_type(items)}")
        items = []
    whole = [item for item in items if isinstance(item, dict)]
    if len(whole) < len(items):
        count.noted[f"{where}-not-an-object"] += len(items) - len(whole)
    about = found.get("metadata") if isinstance(found, dict) else None
    return Page(whole, _cursor(about) if isinstance(about, dict) else None)


def _cursor(about: Mapping[str, Any]) -> str | None:
    cursor = about.get("nextCursor")
    if isinstance(cursor, str | int) and not isinstance(cursor, bool) and cursor != "":
        return str(cursor)
    following = about.get("nextPage")
    if not isinstance(following, str):
        return None
    try:
        return parse_qs(urlsplit(following).query).get("cursor", [None])[0]
    except ValueError:
        return None


def drift(where: str, item: Mapping[str, Any], count: Count) -> None:
    """Count fields of an item that are new, or of a type they were never seen with."""
    known = _KNOWN[where]
    for name, value in item.items():
        kind = _type(value)
        if kind not in known.get(name, ()):
            _note(count, f"drift:{where}.{shorten(name, 40)}:{kind}")


def image(item: dict[str, Any], version: int) -> dict[str, Any]:
    """A picture's body with its metadata out of every `{id, meta}` wrapper, and the version it was asked under."""
    meta = item.get("meta")
    while isinstance(meta, dict) and "meta" in meta and set(meta) <= {"id", "meta"}:
        meta = meta["meta"]
    return {**item, "meta": meta, "modelVersionId": version}


def model(body: dict[str, Any], count: Count) -> dict[str, Any]:
    """A model's body with descriptions cut at `DESCRIPTION` characters."""
    versions = body.get("modelVersions")
    for part in (body, *(versions if isinstance(versions, list) else ())):
        text = part.get("description") if isinstance(part, dict) else None
        if isinstance(text, str) and len(text) > DESCRIPTION:
            part["description"] = text[:DESCRIPTION]
            count.noted["description-cut"] += 1
    return body


def reason(body: bytes) -> str:
    """One short line out of any of the hub's error bodies; empty when it says nothing."""
    if is_page(body):
        return "an HTML page"
    try:
        found = load(body)
    except ValueError:
        return ""
    return shorten(_said(found), 160)


def is_page(body: bytes) -> bool:
    """Whether this is HTML (a proxy's challenge or error page), not JSON."""
    return body[:256].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _said(found: Any) -> str:
    if isinstance(found, str):
        return found
    if not isinstance(found, dict):
        return ""
    issues = found.get("issues")
    if isinstance(issues, list) and issues and isinstance(issues[0], dict):
        place = issues[0].get("path")
        where = ".".join(map(str, place)) if isinstance(place, list) else ""
        return f"{where}: {issues[0].get('message')}" if where else str(issues[0].get("message"))
    said = (_said(found.get(name)) for name in ("error", "message", "name"))
    return next((text for text in said if text), "")


def _type(value: Any) -> str:
    return _TYPES.get(type(value), "other")


def _note(count: Count, name: str) -> None:
    if name not in count.noted and sum(key.startswith("drift:") for key in count.noted) >= _DRIFTS:
        name = "drift:other"
    count.noted[name] += 1
