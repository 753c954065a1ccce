"""Every answer of the hub, compressed and append-only, so that whatever follows can be done again without the network.

    answers.bin      one zlib frame an answer, one after the other
    index.jsonl      key, place, length, status and sha256 of each answer, in the order in which they came
                     (of one key the last counts: what was refused once may be given later)

A frame is on the disk before its line of the index is, so a kill at any byte leaves every answer there whole or not
at all.  A key is the request without host and without token: path and sorted query.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from chatgenbench.build.workspace import write_whole
from chatgenbench.errors import InfraError, UserError, shorten

#: The status kept for a request that the hub never answered and that the user gave up.
UNANSWERED = 0


@dataclass(frozen=True)
class Answer:
    """What the hub said: `url` is the key of the request, `body` JSON without user names.

    `status` is the HTTP status, or `UNANSWERED`.
    """

    url: str
    status: int
    body: bytes


@dataclass(frozen=True)
class _Place:
    """Where a frame lies, in bytes, and what it must hold."""

    offset: int
    length: int
    status: int
    sha256: str

    @property
    def end(self) -> int:
        return self.offset + self.length


def key_of(path: str, params: Iterable[tuple[str, str]]) -> str:
    """The canonical request, `/images?cursor=..&limit=200`: names and values sorted, so that equal ones are equal."""
    query = urlencode(sorted(params), quote_via=quote, safe="")
    return f"{path}?{query}" if query else path


class RawStore:
    """The answers in `folder`, for one process and any number of its asyncio tasks.

    Opening repairs what a kill leaves: a torn last line of the index, and a frame that no line names.

    Raises:
        UserError: the index is damaged, or a frame is; the message names it.
        InfraError: the disk refuses.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._frames_path, self._index_path = folder / "answers.bin", folder / "index.jsonl"
        self._places: dict[str, _Place] = {}
        self._end = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._frames = self._frames_path.open("a+b", buffering=0)
            self._repair()
            self._index = self._index_path.open("ab", buffering=0)
        except OSError as error:
            raise InfraError(f"cannot open {folder}: {error.strerror}; mend that, type the command again") from error

    def __enter__(self) -> RawStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        """The keys, in the order in which the answers came."""
        return iter(self._places)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def close(self) -> None:
        self._frames.close()
        self._index.close()

    def get(self, key: str) -> Answer | None:
        """The answer to a request, if it is here."""
        place = self._places.get(key)
        if place is None:
            return None
        try:
            frame = os.pread(self._frames.fileno(), place.length, place.offset)
        except OSError as error:
            raise InfraError(f"cannot read {self._frames_path}: {error.strerror}; type the command again") from error
        try:
            body = zlib.decompress(frame)
        except zlib.error:
            body = None
        if body is None or hashlib.sha256(body).hexdigest() != place.sha256:
            raise UserError(
                f"{self._frames_path} is damaged at byte {place.offset}: delete the line of {self._index_path.name} "
                f'with "{shorten(key, 200)}", then type the command again'
            )
        return Answer(key, place.status, body)

    def status(self, key: str) -> int | None:
        """The HTTP status of the answer to a request, if it is here."""
        place = self._places.get(key)
        return None if place is None else place.status

    def put(self, key: str, answer: Answer) -> None:
        """Keep an answer for good: the first one counts, but a refusal (403), or none, gives way to any other."""
        if self.status(key) not in (None, 403, UNANSWERED) or self.status(key) == answer.status:
            return
        frame = zlib.compress(answer.body, 6)
        place = _Place(self._end, len(frame), answer.status, hashlib.sha256(answer.body).hexdigest())
        _append(self._frames, self._frames_path, frame, place.offset)
        _append(self._index, self._index_path, _line(key, place), os.fstat(self._index.fileno()).st_size)
        self._places[key] = place
        self._end = place.end

    def digest(self) -> str:
        """sha256 of everything in here; the order in which it came makes no difference."""
        whole = hashlib.sha256()
        for key in sorted(self._places):
            place = self._places[key]
            whole.update(f"{key}\n{place.status} {place.sha256}\n".encode())
        return whole.hexdigest()

    def _repair(self) -> None:
        size = os.fstat(self._frames.fileno()).st_size
        whole, lost = 0, False
        for end, key, place in self._lines():
            whole = end
            if place.end <= size:
                self._places[key] = place
            else:
                lost = True
        if lost:
            write_whole(self._index_path, b"".join(_line(key, place) for key, place in self._places.items()))
        elif self._index_path.exists():
            os.truncate(self._index_path, whole)
        self._end = max((place.end for place in self._places.values()), default=0)
        os.truncate(self._frames_path, self._end)

    def _lines(self) -> Iterator[tuple[int, str, _Place]]:
        """(where the line ends in bytes, key, place) of each whole line."""
        if not self._index_path.exists():
            return
        end = 0
        with self._index_path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                end += len(line)
                try:
                    fields = orjson.loads(line)
                    key = str(fields.pop("key"))
                    yield end, key, _Place(**fields)
                except (ValueError, TypeError, KeyError, AttributeError):
                    raise UserError(
                        f"{self._index_path}, line {number} is damaged: delete that line, then type the command again"
                    ) from None


def _line(key: str, place: _Place) -> bytes:
    return orjson.dumps({"key": key, **place.__dict__}) + b"\n"


def _append(file: Any, path: Path, data: bytes, size: int) -> None:
    """Write at the end of a file that is `size` bytes long, and see it to the disk; all of it or nothing."""
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            os.truncate(path, size)
        raise InfraError(f"cannot write {path}: {error.strerror}; free some space, type the command again") from error
