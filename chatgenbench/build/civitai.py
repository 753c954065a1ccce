"""What the hub's JSON looks like: read leniently, with every surprise counted; user names leave it before it is kept.

The hub's fields change type and shape from year to year.  Whatever comes, something is read and nothing raises, and
`count.noted` tells what nobody expected, as `drift:images.FIELD:type`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from chatgenbench.build.funnel import Count
from chatgenbench.errors import shorten

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
_HOMES = re.compile(r"((?:[\\/]Users[\\/]+|/home/))[^\\/\"]{1,64}(?=[\\/])", re.IGNORECASE)
_PROFILES = re.compile(r"(civitai\.\w+/user/)[^\\/\"'\s<>?#&]+", re.IGNORECASE)


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


def pseudonym(salt: bytes, name: str) -> str:
    """What stands for a user's name in the store: the same for the same name and salt, and no way back without it."""
    return f"creator-{hmac.new(salt, name.encode('utf-8', 'replace'), hashlib.sha256).hexdigest()[:16]}"


def scrub(body: Any, alias: Callable[[str], str]) -> None:
    """Take user names out of a body, in place.

    `username` becomes its alias, a creator's portrait goes, and so do the creator's name in descriptions of the model,
    names in links to profiles, names of home folders in workflows, and the `User` that some tools write into metadata.
    """
    stack = [body]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            _scrub_object(value, alias)
            stack.extend(v for v in value.values() if isinstance(v, dict | list))
        elif isinstance(value, list):
            value[:] = [_without_paths(v) if isinstance(v, str) else v for v in value]
            stack.extend(v for v in value if isinstance(v, dict | list))


def _scrub_object(value: dict[str, Any], alias: Callable[[str], str]) -> None:
    creator = value.get("creator")
    if isinstance(creator, dict) and isinstance(creator.get("username"), str):
        _hide(value, creator["username"])
    name = value.get("username")
    if isinstance(name, str) and name:
        value["username"] = alias(name)
        if "image" in value:
            value["image"] = None
    if isinstance(value.get("meta"), dict):
        value["meta"].pop("User", None)
    for key, text in value.items():
        if isinstance(text, str):
            value[key] = _without_paths(text)


def _hide(body: dict[str, Any], name: str) -> None:
    """Descriptions of a model and its versions without the name of who made it."""
    versions = body.get("modelVersions")
    pattern = re.compile(rf"(?<!\w)@?{re.escape(name)}(?!\w)", re.IGNORECASE)
    for part in (body, *(versions if isinstance(versions, list) else ())):
        if name and isinstance(part, dict) and isinstance(part.get("description"), str):
            part["description"] = pattern.sub("the author", part["description"])


def _without_paths(text: str) -> str:
    if "user" not in text.casefold() and "/home/" not in text.casefold():
        return text
    return _PROFILES.sub(r"\1someone", _HOMES.sub(r"\1someone", text))


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
