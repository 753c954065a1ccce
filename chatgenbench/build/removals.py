"""The removal list: what people asked to have left out, honoured on every rebuild.

One name a line, `#` begins a comment:

    civitai-12345678                       a picture's record, or https://civitai.com/images/12345678
    civitai:4384@128713                    one version of a model
    civitai:4384                           every version of it, or https://civitai.com/models/4384
    @jane                                  all pictures of a user, in any case, or https://civitai.com/user/jane
    0123456789abcdef                       the same, by the keyed hash (16 digits) of this builder
    e3b0c442...b855                        a picture, by the sha256 (64 digits) of a dataset, or of the hub's own file

A user's name does not name the models that the user made: those go by their numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from chatgenbench.build.civitai import creator_named
from chatgenbench.build.records import Record
from chatgenbench.errors import UserError, shorten

_HEX = re.compile(r"[0-9a-f]{16}|[0-9a-f]{64}")
_RECORD = re.compile(r"[a-z][a-z0-9_.]*-[A-Za-z0-9][\w.-]*")
_MODEL = re.compile(r"[a-z][a-z0-9_.]*:[A-Za-z0-9][\w.-]*(@[\w.-]+)?")
_PERSON = re.compile(r"@([^\s@/\\?#]{1,64})")
_SITE = r"https?://(?:www\.)?civitai\.\w+/"
_PAGE = re.compile(rf"{_SITE}(images|models)/(\d+)(?:[/?#].*)?", re.IGNORECASE)
_PROFILE = re.compile(rf"{_SITE}(?:user/|@)([^\s@/\\?#]{{1,190}})(?:[/?#].*)?", re.IGNORECASE)
_COMMENT = re.compile(r"(?:^|\s)#.*")
_FORMS = (
    "write civitai-PICTURE, civitai:MODEL, civitai:MODEL@VERSION, @USERNAME, the address of one of their pages, "
    "a creator's 16 or a picture's 64 hexadecimal digits"
)


@dataclass(frozen=True)
class Removals:
    """What must go.

    Args:
        names: as their lines spell them (pages as ids, hexadecimal digits in lower case).
        people: user names, which `resolved` turns into names.
    """

    names: frozenset[str] = field(default_factory=frozenset)
    people: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def load(cls, path: Path) -> Removals:
        """Read a removal list.

        Raises:
            UserError: the file cannot be read, or a line is none of the forms; it names the line.
        """
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror or "unreadable") if isinstance(error, OSError) else "not UTF-8"
            raise UserError(f"cannot read the removal list {path}: {reason}") from None
        names, people = set(), set()
        for number, line in enumerate(lines, 1):
            name = _COMMENT.sub("", line).strip()
            person = _person(name)
            if person:
                people.add(person)
            elif name:
                names.add(_name(name, f"{path}, line {number}"))
        return cls(frozenset(names), frozenset(people))

    def resolved(self, salt: Callable[[], bytes]) -> Removals:
        """The same with users by the keyed hash that records have; `salt` (`Workspace.salt`) is asked if need be."""
        if not self.people:
            return self
        key = salt()
        return Removals(self.names | {creator_named(key, name) for name in self.people})

    def hits(self, record: Record) -> bool:
        """Whether a record must go: itself, its creator, its picture, or any model its plan was drawn with.

        Raises:
            ValueError: the list names people and was not `resolved`.
        """
        if self.people:
            raise ValueError("people on a removal list are found by their hash: use resolved()")
        names = (record.id, record.creator, record.picture_sha256, record.original_sha256)
        models = (record.plan.model, *record.plan.ranking)
        return not self.names.isdisjoint(filter(None, names)) or any(map(self.hits_model, models))

    def hits_model(self, model: str) -> bool:
        """Whether a model of the catalog (`civitai:4384@128713`) must go."""
        return model in self.names or model.partition("@")[0] in self.names


def _person(line: str) -> str | None:
    """The user name that a line names, if it names one."""
    profile = _PROFILE.fullmatch(line)
    found = _PERSON.fullmatch(f"@{unquote(profile[1])}" if profile else line)
    return found[1] if found else None


def _name(line: str, where: str) -> str:
    page = _PAGE.fullmatch(line)
    if page:
        return f"civitai-{page[2]}" if page[1] == "images" else f"civitai:{page[2]}"
    if _HEX.fullmatch(line.lower()):
        return line.lower()
    if _RECORD.fullmatch(line) or _MODEL.fullmatch(line):
        return line
    told = f"{where}: '{shorten(line, 60)}' is no id"
    if line.isdigit():
        raise UserError(f"{told}: write civitai-{line} for a picture or civitai:{line} for a model")
    raise UserError(f"{told}: {_FORMS}")
