"""The removal list: what people asked to have left out, honoured on every rebuild.

One name a line, `#` begins a comment:

    civitai-12345678                       a picture's record, or https://civitai.com/images/12345678
    civitai:4384@128713                    one version of a model
    civitai:4384                           every version of it, or https://civitai.com/models/4384
    0123456789abcdef                       a creator, by the keyed hash (16 digits) of this builder
    e3b0c442...b855                        a picture, by its sha256 (64 digits)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from chatgenbench.build.records import Record
from chatgenbench.errors import UserError, shorten

_HEX = re.compile(r"[0-9a-f]{16}|[0-9a-f]{64}")
_RECORD = re.compile(r"[a-z][a-z0-9_.]*-[A-Za-z0-9][\w.-]*")
_MODEL = re.compile(r"[a-z][a-z0-9_.]*:[A-Za-z0-9][\w.-]*(@[\w.-]+)?")
_PAGE = re.compile(r"https://(?:www\.)?civitai\.com/(images|models)/(\d+)(?:[/?#].*)?")
_COMMENT = re.compile(r"(?:^|\s)#.*")


@dataclass(frozen=True)
class Removals:
    """Names of what must go, as their lines spell them (pages as ids, hexadecimal digits in lower case)."""

    names: frozenset[str] = field(default_factory=frozenset)

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
        found = set()
        for number, line in enumerate(lines, 1):
            name = _COMMENT.sub("", line).strip()
            if name:
                found.add(_name(name, f"{path}, line {number}"))
        return cls(frozenset(found))

    def hits(self, record: Record) -> bool:
        """Whether a record must go: itself, its creator, its picture, or any model its plan was drawn with."""
        names = (record.id, record.creator, record.picture_sha256)
        models = (record.plan.model, *record.plan.ranking)
        return not self.names.isdisjoint(filter(None, names)) or any(map(self.hits_model, models))

    def hits_model(self, model: str) -> bool:
        """Whether a model of the catalog (`civitai:4384@128713`) must go."""
        return model in self.names or model.partition("@")[0] in self.names


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
    raise UserError(
        f"{told}: write civitai-PICTURE, civitai:MODEL, a creator's 16 or a picture's 64 hexadecimal digits"
    )
