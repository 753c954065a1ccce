"""What the `files` of a catalog record may name.

    models/fox                              a file or folder of the benchmark
    civitai:128713                          the main file of a Civitai model version
    civitai:128713?fileId=91234             that very file of it
    hf:owner/name@COMMIT                    a diffusers folder on the Hugging Face hub
    hf:owner/name@COMMIT:a/b.safetensors    one file there

COMMIT is the full hash of a commit (40 hex digits), since a branch would move.  After any of them, `#sha256=HEX` tells
the digest of the file (a record's own `sha256` is that of its main file) and `#bytes=N` or `#sha256=HEX&bytes=N` how
long it is, for estimates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from chatgenbench.errors import BenchmarkError, shorten
from chatgenbench.schema import digest_of

_TOLD = re.compile(r"(?:sha256=([0-9a-f]{64}))?&?(?:bytes=(\d{1,15}))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_CIVITAI = re.compile(r"(\d{1,10})(?:\?fileId=(\d{1,10}))?", re.ASCII)
_HUB_FORM = "hf:OWNER/NAME@COMMIT or hf:OWNER/NAME@COMMIT:FILE.safetensors, COMMIT being 40 hex digits"


@dataclass(frozen=True)
class Local:
    """A path relative to the benchmark's folder."""

    path: str
    sha256: str = ""
    bytes: int | None = None


@dataclass(frozen=True)
class Civitai:
    """A file of a model version of Civitai; `file` None: the one that the version is downloaded as."""

    version: int
    file: int | None = None
    sha256: str = ""
    bytes: int | None = None

    def __str__(self) -> str:
        return f"civitai:{self.version}" + (f"?fileId={self.file}" if self.file is not None else "")


@dataclass(frozen=True)
class Hub:
    """A commit of a Hugging Face repository, or one file of it."""

    repo: str
    commit: str
    file: str | None = None
    sha256: str = ""
    bytes: int | None = None

    def __str__(self) -> str:
        return f"hf:{self.repo}@{self.commit}" + (f":{self.file}" if self.file is not None else "")

    @property
    def pinned(self) -> str:
        """64 hex digits that stand for the content, which a commit never changes, where no sha256 is told."""
        return self.sha256 or digest_of(str(self))


Source = Local | Civitai | Hub


def parse(value: str) -> Source:
    """The source that a value of `files` names.

    Raises:
        BenchmarkError: it names none; the message shows the form.
    """
    body, _, told = value.partition("#")
    found = _TOLD.fullmatch(told)
    if found is None:
        raise BenchmarkError(f"'{shorten(value, 80)}': after # there must be sha256= and 64 hex digits, or bytes=")
    sha256, size = found[1] or "", None if found[2] is None else int(found[2])
    if body.startswith("civitai:"):
        return _civitai(body, sha256, size)
    if body.startswith("hf:"):
        return _hub(body, sha256, size)
    return Local(body, sha256, size)


def _civitai(body: str, sha256: str, size: int | None) -> Civitai:
    found = _CIVITAI.fullmatch(body.removeprefix("civitai:"))
    if found is None:
        raise BenchmarkError(f"'{shorten(body, 80)}' is no Civitai file: write civitai:VERSION or with ?fileId=FILE")
    version, file = found.groups()
    return Civitai(int(version), None if file is None else int(file), sha256, size)


def _hub(body: str, sha256: str, size: int | None) -> Hub:
    repo, _, rest = body.removeprefix("hf:").partition("@")
    commit, _, file = rest.partition(":")
    parts = PurePosixPath(file)
    harmless = not parts.is_absolute() and ".." not in parts.parts and "\\" not in file
    if not (_REPO.fullmatch(repo) and ".." not in repo and _COMMIT.fullmatch(commit) and harmless):
        raise BenchmarkError(f"'{shorten(body, 80)}' is no file of the hub: write {_HUB_FORM}")
    if file and not file.endswith(".safetensors"):
        raise BenchmarkError(f"'{shorten(body, 80)}': only .safetensors are read, others can run code")
    return Hub(repo, commit, file or None, sha256, size)
