"""People's names in what the hub says: taken out before it is kept, and what stands for them."""

from __future__ import annotations

import hashlib
import hmac
import html
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from chatgenbench.build import fields

Alias = Callable[[str], str]

#: Keys (folded) of what names a person.
_PEOPLE = frozenset({"username", "user", "creator", "author", "uploader", "owner", "createdby"})
_CALLED = _PEOPLE | {"name", "displayname", "fullname", "login", "slug"}
_PORTRAITS = frozenset({"image", "avatar", "profilepicture"})
#: Keys of addresses that are fetched later.
_ADDRESSES = frozenset({"url", "downloadurl"})
#: Keys of what is read as a code, where a word means what the hub says and not who made it.
_CODES = _ADDRESSES | {
    "hash", "hashes", "sha256", "air", "type", "basemodel", "basemodeltype", "availability", "format", "fp", "size",
    "mode", "status", "allowcommercialuse", "uploadtype", "usagecontrol", "createdat", "updatedat", "publishedat",
}  # fmt: skip
#: Names that stand in many texts without meaning anybody.
_WORDS = """
about after again air all also and anime any are art artist author back base beauty best big black blue body book
boy can cat character characters checkpoint city clothing color comic concept cool creator dark day default design
detail detailed digital dog dream eye eyes face fantasy fashion film fire first flux for free from full game girl
good great green hair hand hands happy has have hello here high his how human image images just light like lora love
magic man many merge mix model models moon more most movie music nature new night not now old one only open other
our out over paint painting people photo photos picture pictures pony portrait power prompt pure real realism
realistic red render robot sdxl sea simple sky small someone space star steps style styles sun test texture than
that the them there they thing this time tool toon trained training trigger use user version very video want was
water weight what white who will with woman wood word world you your
"""
_COMMON = frozenset(_WORDS.split())

_BREAK = r"(?:[\\/]+|%5C|%2F)"
_STOP = r"\\/\"<>|:*?;,\r\n"
_HOMES = re.compile(
    rf"(?<![\\/])(?:({_BREAK}(?:Users|Documents(?: |%20)and(?: |%20)Settings){_BREAK})[^\s{_STOP}][^{_STOP}]{{0,63}}"
    rf"|({_BREAK}home{_BREAK})[^\s{_STOP}]{{1,64}})",
    re.IGNORECASE,
)
_PROFILES = re.compile(
    rf"(civitai\.\w+(?::\d+)?{_BREAK}(?:[a-z]{{2}}{_BREAK})?(?:users?{_BREAK}|@|%40)"
    r"|civitai\.\w+[^\s\"'<>]{0,300}?[?&;]user(?:name)?=)[^\\/\"'\s<>?#&]+",
    re.IGNORECASE,
)
_TOLD = re.compile(
    r"((?<!\\)\\*\"(?:user[_-]?name|user|creator|author)\\*\"\s*:\s*\\*\")(?:[^\"\\]|\\+u[0-9a-f]{4})+", re.IGNORECASE
)
_HINTS = ("user", "home", "settings", "civitai", "creator", "author")


def pseudonym(salt: bytes, name: str) -> str:
    """What stands for a user's name in the store: the same for the same name and salt, and no way back without it.

    The hub holds names that differ in case only for one, and so do we.
    """
    same = unicodedata.normalize("NFC", name).strip().casefold()
    return f"creator-{_keyed(salt, same)}"


def creator_of(salt: bytes, username: str) -> str:
    """A record's `creator`, 16 hexadecimal digits, from the `username` that the store has."""
    return _keyed(salt, username)


def creator_named(salt: bytes, name: str) -> str:
    """A record's `creator` from the user name that people know: what a removal by name looks for."""
    return creator_of(salt, pseudonym(salt, name))


def _keyed(salt: bytes, text: str) -> str:
    return hmac.new(salt, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:16]


def scrub(body: Any, alias: Alias) -> None:
    """Take people's names out of a body of the hub, in place.

    - Every text under a key such as `username`, `user` or `creator`, however nested, becomes its alias; portraits and
      `userId` become None.  In pictures' metadata such keys go.
    - Names of home folders, names in links to profiles, and user names told by JSON inside a text become `someone`.
    - The name of who made a model becomes `the author` in every text of that model (its own name, versions, tags,
      trigger words, file names, descriptions): as a whole word, in any case, where `_` parts words.  A file named
      after its maker is then found by its hashes only.  Names of one or two characters, of digits only, and common
      words (`_COMMON`) would take ordinary text with them: of those only `@name` and `by name` are replaced.
    - Left as they are: codes, hashes, and addresses of pictures and files (`_CODES`), which are needed later; and what
      an uploader writes into a prompt, even the own name.
    """
    stack: list[tuple[Any, tuple[re.Pattern[str], ...], str]] = [(body, (), "")]
    while stack:
        part, makers, role = stack.pop()
        if isinstance(part, dict):
            stack += _scrub_object(part, makers, role, alias)
        elif isinstance(part, list):
            for place, value in enumerate(part):
                if isinstance(value, str):
                    part[place] = alias(value) if role == "person" and value else _clean(value, makers)
            stack += [(value, makers, role) for value in part if isinstance(value, dict | list)]


def _scrub_object(
    part: dict[str, Any], makers: tuple[re.Pattern[str], ...], role: str, alias: Alias
) -> list[tuple[Any, tuple[re.Pattern[str], ...], str]]:
    """Scrub one object; returns what lies in it and is still to be done: the part, its makers, what it is."""
    items = [(fields.fold(key), key, value) for key, value in part.items()]
    keys = {name for name, _, _ in items}
    if role != "person":
        makers += tuple(_pattern(name) for name in _makers(part, keys))
    inside: list[tuple[Any, tuple[re.Pattern[str], ...], str]] = []
    part.clear()
    for name, key, value in items:
        person = role == "person" or name in _PEOPLE
        if role == "meta" and name in _PEOPLE:
            continue
        if name == "userid" or (name in _PORTRAITS and (role == "person" or "username" in keys)):
            value = None
        elif isinstance(value, str):
            hidden = () if name in _CODES else makers
            value = alias(value) if person and value else _clean(value, hidden, name not in _ADDRESSES)
        elif isinstance(value, dict | list):
            whose = "person" if person else "meta" if name == "meta" else ""
            inside.append((value, () if name in _CODES else makers, whose))
        part[_without_paths(key)] = value
    return inside


def _makers(part: Mapping[str, Any], keys: set[str]) -> list[str]:
    """Names of who made what this object tells of."""
    telling = _PEOPLE if "modelversions" in keys else {"creator"}
    if keys.isdisjoint(telling):
        return []
    stack = [value for key, value in part.items() if fields.fold(key) in telling]
    found = set()
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            found.add(value.strip().lstrip("@"))
        elif isinstance(value, list):
            stack += value
        elif isinstance(value, dict):
            stack += [inner for key, inner in value.items() if fields.fold(key) in _CALLED]
    return sorted(found - {""})


@lru_cache(maxsize=1024)
def _pattern(name: str) -> re.Pattern[str]:
    """Finds a name in a text, with `by` before it in the group of that name where it must stay."""
    spelled = sorted({name, html.escape(name), quote(name, safe="")}, key=lambda form: (-len(form), form))
    forms = "|".join(map(re.escape, spelled))
    before = r"(?P<by>)@?"
    if len(name) <= 2 or name.isdigit() or name.casefold() in _COMMON:
        before = r"(?:@|(?P<by>by(?:[\s:]|&nbsp;|<[^<>]{0,200}>)+)@?)"
    return re.compile(rf"(?<![^\W_]){before}(?:{forms})(?![^\W_])", re.IGNORECASE)


def _clean(text: str, makers: tuple[re.Pattern[str], ...], homes: bool = True) -> str:
    for pattern in makers:
        text = pattern.sub(lambda found: f"{found['by'] or ''}the author", text)
    return _without_paths(text, homes)


def _without_paths(text: str, homes: bool = True) -> str:
    flat = text.casefold()
    if not any(hint in flat for hint in _HINTS):
        return text
    if homes:
        text = _HOMES.sub(lambda found: f"{found[1] or found[2]}someone", text)
    return _TOLD.sub(r"\1someone", _PROFILES.sub(r"\1someone", text))
