"""A dataset folder in the making: it takes its place whole, and its files are listed with their checksums."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import orjson

from chatgenbench.benchmark import Manifest
from chatgenbench.build.workspace import clear
from chatgenbench.errors import InfraError, UserError, shorten
from chatgenbench.schema import Noun

SUMS = "SHA256SUMS"
#: With SHA256SUMS, what tells a folder that a publication may replace.
MARK = "benchmark.json"
#: What other programs leave in any folder: it goes with the dataset it lies in.
LEFTOVERS = frozenset({".DS_Store", ".cache", "__pycache__"})

N = TypeVar("N", bound=Noun)


@contextmanager
def draft_of(folder: Path) -> Iterator[Path]:
    """A hidden sibling that replaces `folder` when all went well and disappears when not.

    A symbolic link is followed.  Killed between the two renames, it leaves no `folder` but its hidden predecessor,
    which the next run puts back before it begins.

    Raises:
        UserError: `folder` holds something that would be lost.
        InfraError: the disk refuses.
    """
    folder = real(folder)
    check_free(folder)
    draft, old = (folder.with_name(f".{folder.name}.{part}") for part in ("part", "old"))
    try:
        _put_back(old, folder)
        clear(draft)
        draft.mkdir(parents=True)
        yield draft
        check_free(folder)  # the draft may have taken hours
        clear(old)
        _take_place(draft, folder, old)
    except OSError as error:
        message = f"cannot write {folder}: {error.strerror or error}; mend that, type the command again"
        raise InfraError(shorten(message, 300)) from error
    finally:
        clear(draft)
        with suppress(OSError):
            _put_back(old, folder)
        if folder.exists():
            clear(old)


def _take_place(draft: Path, folder: Path, old: Path) -> None:
    if folder.exists() and _in_use(folder):  # and empty: it is filled, for whose shell stands in it would lose it
        for part in sorted(draft.iterdir(), key=lambda path: path.name not in (SUMS, MARK)):
            part.rename(folder / part.name)
        return
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)


def _put_back(old: Path, folder: Path) -> None:
    """Undo the first of the two renames where the second did not come."""
    if not folder.exists() and _is_dataset(old):
        old.rename(folder)


def real(folder: Path) -> Path:
    """The absolute path without symbolic links; UserError when there is none."""
    try:
        return folder.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{folder} cannot be used ({shorten(str(error), 100)}): choose another place") from None


def check_free(folder: Path) -> None:
    """See that a dataset may be written to `folder`: it is not there, empty, or a dataset of ours and nothing else.

    Files of the dataset that are missing or changed do not matter: they are made again.

    Raises:
        UserError: `folder` holds something that would be lost, or cannot be looked into.
    """
    folder = real(folder)
    try:
        if not folder.exists():
            return
        if not folder.is_dir():
            raise UserError(f"{folder} is a file: choose another place for the dataset")
        if not any(folder.iterdir()):
            return
        if not _is_dataset(folder):
            raise UserError(f"{folder} is neither empty nor a dataset of ours: choose another --out, or empty it first")
        stray = _stray(folder)
    except OSError as error:
        raise UserError(f"cannot look into {folder} ({error.strerror or error}): choose another place") from None
    if stray is not None:
        told = f"{folder} holds {shorten(stray, 100)}, which is no part of the dataset there"
        raise UserError(f"{told}: move it away, or choose another --out")
    if _in_use(folder):
        raise UserError(f"{folder} would be replaced while you are in it: go to another folder, type the command again")


def _is_dataset(folder: Path) -> bool:
    """Whether it was written here: its benchmark.json is ours, and its SHA256SUMS lists it."""
    try:
        Manifest.model_validate_json((folder / MARK).read_bytes())
        return MARK in read_sums(folder)
    except (OSError, ValueError, UserError):
        return False


def _stray(folder: Path) -> str | None:
    """A file or link that SHA256SUMS does not list, by relative path; None when there is none."""
    known = {SUMS, *read_sums(folder)}
    for here, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(set(folders) - LEFTOVERS)
        links = [name for name in folders if Path(here, name).is_symlink()]
        for name in sorted({*files, *links} - LEFTOVERS):
            path = Path(here, name).relative_to(folder).as_posix()
            if path not in known:
                return path
    return None


def _refuse(error: OSError) -> None:
    """What cannot be looked into may hold anything."""
    raise error


def _in_use(folder: Path) -> bool:
    """Whether the process stands in the folder or below it."""
    try:
        return Path.cwd().is_relative_to(folder)
    except OSError:
        return False


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
