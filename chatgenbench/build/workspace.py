"""The folder of a build: what was asked, what each stage made, and who may work in it.

    build.json           what was asked (no secret ever)
    raw/                 every answer of the hub, compressed, append-only
    private/             the salt of creators' hashes, or only its sha256; never published
    stages/NAME.jsonl    what a stage kept, one JSON object a line
    stages/NAME.json     its counters, written last: a stage is done when this file is there
    pictures/            downloaded pictures by sha256
    dataset/             the published form

A stage writes under a temporary name and is renamed whole, so a kill at any moment leaves it done or not begun.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import orjson

from chatgenbench.errors import InfraError, UserError
from chatgenbench.schema import Noun, digest_of

N = TypeVar("N", bound=Noun)


class Workspace:
    """Paths of a build and the rules for writing there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = root / "build.json"
        self.raw = root / "raw"
        self.private = root / "private"
        self.stages = root / "stages"
        self.pictures = root / "pictures"
        self.dataset = root / "dataset"

    def lines(self, stage: str) -> Path:
        """What the stage kept."""
        return self.stages / f"{stage}.jsonl"

    def counters(self, stage: str) -> Path:
        return self.stages / f"{stage}.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process.

        Raises:
            UserError: another process works in it, or it cannot be written.
        """
        try:
            for folder in (self.root, self.stages):
                folder.mkdir(parents=True, exist_ok=True)
            handle = (self.root / ".lock").open("w")
        except OSError as error:
            raise UserError(f"--out {self.root} cannot be used ({error.strerror}): choose another") from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(
                    f"another chatgenbench is working in {self.root}: wait, or choose another --out"
                ) from None
            yield

    def salt(self) -> bytes:
        """The key of creators' hashes: $CHATGENBENCH_SALT, or made once and kept in `private/`, never published.

        Raises:
            UserError: the build was begun with another one, so that a creator would have two hashes.
        """
        self.private.mkdir(parents=True, exist_ok=True, mode=0o700)
        given = os.environ.get("CHATGENBENCH_SALT", "").encode() or None
        path, mark = self.private / "salt", self.private / "salt.sha256"
        if given is None and not path.exists() and not mark.exists():
            _write_private(path, secrets.token_hex(32).encode())
        key = given or (path.read_bytes() if path.exists() else b"")
        begun = path.read_bytes() if path.exists() else key
        if not mark.exists():
            _write_private(mark, hashlib.sha256(begun).hexdigest().encode())
        if hashlib.sha256(key).hexdigest() != mark.read_text("utf-8", "replace"):
            raise UserError(
                f"{self.root} was begun with another $CHATGENBENCH_SALT: set it as it was (or unset it, if it was not "
                "set), or build into a new --out"
            )
        return key

    def done(self, stage: str, given: Any) -> dict[str, Any] | None:
        """The counters of a stage that was finished from the same input and settings `given`, else None."""
        try:
            kept = json.loads(self.counters(stage).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(kept, dict) or kept.get("given") != digest_of(given):
            return None
        return kept if self.lines(stage).exists() else None

    def finish(self, stage: str, given: Any, counters: dict[str, Any]) -> None:
        """Mark a stage as done; call it after its lines were written."""
        write_whole(self.counters(stage), pretty({"given": digest_of(given), **counters}))

    def remove(self, stage: str) -> None:
        """Take back a stage's mark before it is made anew."""
        self.counters(stage).unlink(missing_ok=True)


def pretty(value: Any) -> bytes:
    """Indented JSON with a newline at its end."""
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        InfraError: the disk refuses.
    """
    draft = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise InfraError(f"cannot write {path}: {error.strerror}; mend that, type the command again") from error


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read."""
    write_whole(path, data)
    path.chmod(0o600)


def write_lines(path: Path, records: Iterable[Noun | dict[str, Any]]) -> int:
    """Write one JSON object a line, whole or not at all, a record at a time; returns how many."""
    draft = path.with_name(path.name + ".part")
    number = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb", buffering=1 << 20) as file:
            for record in records:
                value = record.model_dump(mode="json", exclude_defaults=True) if isinstance(record, Noun) else record
                file.write(orjson.dumps(value) + b"\n")
                number += 1
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise InfraError(f"cannot write {path}: {error.strerror}; mend that, type the command again") from error
    return number


def read_lines(path: Path, noun: type[N]) -> Iterator[N]:
    """The nouns of a stage's file, one at a time.

    Raises:
        UserError: a line is damaged; it says how to have the file made anew.
    """
    with path.open("rb", buffering=1 << 20) as file:
        for number, line in enumerate(file, 1):
            try:
                value = noun.model_validate(orjson.loads(line))
            except ValueError:
                mark = path.with_suffix(".json")
                raise UserError(f"{path}, line {number} is damaged: delete {mark} and type the command again") from None
            yield value


def clear(folder: Path) -> None:
    """Remove a folder if it is there."""
    shutil.rmtree(folder, ignore_errors=True)
