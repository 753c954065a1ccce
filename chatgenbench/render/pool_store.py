"""Where a pool keeps its files: what every kind of place must do, and the names of things in it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

#: Batches on their way in.
STAGING = ".staging"
#: Name of a batch on its way in: who writes it, then what makes it unique.
_WRITER = re.compile(r"(?P<host>.+)-(?P<pid>\d+)-[^-]+")


@dataclass(frozen=True)
class Entry:
    """One file: its path below the pool (with "/"), size in bytes, and when it was written (seconds since 1970)."""

    path: str
    size: int
    written: float


class Store(Protocol):
    """Files of a pool by their path below it, such as `ab/ab12….png`.

    Every method raises OSError when the place is full, read-only, gone or out of reach.

    """

    @property
    def threads(self) -> int:
        """How many requests at once pay; 1 where they would only wait for one another."""
        ...

    def where(self, path: str) -> str:
        """What to call a file in messages."""
        ...

    def probe(self) -> None:
        """See that files can be written here."""
        ...

    def there(self) -> bool:
        """Whether the place itself exists."""
        ...

    def has(self, path: str) -> bool: ...

    def read(self, path: str) -> bytes:
        """A file's bytes; FileNotFoundError when it is not there."""
        ...

    def add(self, files: Mapping[str, bytes]) -> None:
        """Store a batch.  A file that is there already, whole, stays.

        A kill or a failure at any moment leaves all of them or none, after the next `recover`.
        """
        ...

    def recover(self) -> None:
        """Finish batches that were written whole before a kill, and sweep away those that were not."""
        ...

    def remove(self, path: str) -> None:
        """Take a file out; one that is not there is no error."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Every file but those on their way in, ordered by path."""
        ...

    def staged(self) -> int:
        """Batches that are on their way in, or were left by a kill."""
        ...


def writer() -> str:
    """What a batch's name begins with, so that others can tell whether its writer lives."""
    return f"{socket.gethostname()}-{os.getpid()}-"


def may_live(name: str) -> bool:
    """Whether the process that stages the batch `name` may still run: another machine's always may."""
    found = _WRITER.fullmatch(name)
    if found is None or found["host"] != socket.gethostname():
        return True
    try:
        os.kill(int(found["pid"]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
