"""A dataset folder in the making: it takes its place whole, and its files are listed with their checksums."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import orjson

from chatgenbench.build.workspace import clear
from chatgenbench.errors import InfraError, UserError, shorten
from chatgenbench.schema import Noun

SUMS = "SHA256SUMS"
#: What tells a folder that a publication may replace.
MARK = "benchmark.json"

N = TypeVar("N", bound=Noun)


@contextmanager
def draft_of(folder: Path) -> Iterator[Path]:
    """A hidden sibling that replaces `folder` when all went well and disappears when not.

    Killed between the two renames, it leaves no `folder`; the same command makes it again.

    Raises:
        UserError: `folder` holds something that is no dataset.
        InfraError: the disk refuses.
    """
    folder = folder.absolute()
    check_free(folder)
    draft, old = (folder.with_name(f".{folder.name}.{part}") for part in ("part", "old"))
    try:
        clear(draft)
        draft.mkdir(parents=True)
        yield draft
        clear(old)
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
    except OSError as error:
        message = f"cannot write {folder}: {error.strerror or error}; mend that, type the command again"
        raise InfraError(shorten(message, 300)) from error
    finally:
        clear(draft)
        clear(old)


def check_free(folder: Path) -> None:
    """See that a dataset may be written to `folder`: it is not there, empty, or a dataset; UserError otherwise."""
    if folder.is_file():
        raise UserError(f"{folder} is a file: choose another place for the dataset")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise UserError(f"{folder} is neither empty nor a dataset: choose another place")


def place(source: Path, target: Path) -> None:
    """Put a file that never changes at `target`: linked where the file system can, else copied."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_sums(folder: Path) -> dict[str, str]:
    """Write SHA256SUMS (read by `sha256sum --check`) over every file; returns sha256 by relative path, in order.

    Raises:
        InfraError: a picture that is named by its content is not that content.
    """
    paths = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    sums = {path: sha256_of(folder / path) for path in paths if path != SUMS}
    for path, digest in sums.items():
        stem = Path(path).stem
        if path.startswith("pictures/") and len(stem) == 64 and stem != digest:
            raise InfraError(f"{path} is damaged (its sha256 is {digest[:10]}…): remove it, type the command again")
    (folder / SUMS).write_text("".join(f"{digest}  {path}\n" for path, digest in sums.items()), "utf-8")
    return sums


def read_sums(folder: Path) -> dict[str, str]:
    """The lines of SHA256SUMS: sha256 by relative path.

    Raises:
        UserError: the file is missing or not of that form.
    """
    try:
        lines = (folder / SUMS).read_text("utf-8").splitlines()
        return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError):
        raise UserError(f"{folder / SUMS} is missing or damaged: publish the dataset again") from None


def changed(folder: Path) -> list[str]:
    """What differs from SHA256SUMS, by relative path; empty when all is as it was published."""
    sums = read_sums(folder)
    return [p for p, digest in sums.items() if not (folder / p).is_file() or sha256_of(folder / p) != digest]


def sha256_of(path: Path) -> str:
    """sha256 (64 hex digits) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def line_of(value: Noun | dict[str, Any]) -> bytes:
    """One line of JSON; fields that hold their default are left out of nouns."""
    return orjson.dumps(value.model_dump(mode="json", exclude_defaults=True) if isinstance(value, Noun) else value)


class Lines:
    """A JSON-lines file of nouns by id that is written once, then read in order or by id; only offsets are in memory.

    Raises:
        InfraError: an id that comes twice.
    """

    def __init__(self, path: Path, noun: type[N]) -> None:
        self.path, self._noun = path, noun
        self._at: dict[str, int] = {}
        self._file = path.open("w+b")

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def __contains__(self, key: object) -> bool:
        return key in self._at

    def __len__(self) -> int:
        return len(self._at)

    def add(self, key: str, noun: Noun) -> None:
        """Append a noun; only before anything is read."""
        if key in self._at:
            raise InfraError(f"'{shorten(key)}' comes twice in {self.path.name}: build into a fresh folder")
        self._at[key] = self._file.tell()
        self._file.write(line_of(noun) + b"\n")

    def get(self, key: str) -> Any:
        """The noun with this id."""
        self._file.seek(self._at[key])
        return self._noun.model_validate(orjson.loads(self._file.readline()))

    def keys(self) -> Iterable[str]:
        """Ids in the order of the file."""
        return self._at.keys()
