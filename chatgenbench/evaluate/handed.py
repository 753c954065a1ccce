"""What a system is handed of a chat: its pictures as files that can be opened, under names that say nothing.

In a benchmark a reference picture is named after what it shows, and in which look: half of what is asked for.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path

from chatgenbench.errors import BenchmarkError, InfraError, shorten
from chatgenbench.evaluate.run import write_bytes
from chatgenbench.home import home
from chatgenbench.schema import FreestyleInput, Message


def handed(chat: FreestyleInput, root: Path) -> FreestyleInput:
    """The chat with each picture of the folder `root` as the path of a copy, which is named by its content.

    A picture that is not there stays away: who opens it is told.

    Raises:
        BenchmarkError: a picture lies outside `root`.
        InfraError: the disk refuses the copy.
    """
    if not chat.images:
        return chat
    return chat.model_copy(update={"messages": tuple(map(partial(_renamed, root), chat.messages))})


def _renamed(root: Path, message: Message) -> Message:
    return message.model_copy(update={"images": tuple(_copy(_inside(root, name)) for name in message.images)})


def _inside(root: Path, name: str) -> Path:
    """Where a picture is; a benchmark of somebody else's must not have any file of this machine sent away."""
    picture = Path(os.path.normpath(root / name))  # links are followed: a hub's snapshot is made of them
    if not picture.is_relative_to(os.path.normpath(root)):
        raise BenchmarkError(f"the reference picture '{shorten(name, 80)}' lies outside {root}: mend the benchmark")
    return picture


def _copy(picture: Path) -> str:
    """The copy of a picture, the same for all runs."""
    folder = home().absolute() / "references"
    try:
        data = picture.read_bytes()
    except OSError:
        return str(folder / f"{_digest(str(picture).encode())}{picture.suffix.lower()}")
    copy = folder / f"{_digest(data)}{picture.suffix.lower()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known = copy.exists() and copy.read_bytes() == data
    except OSError as error:
        raise InfraError(f"cannot use {folder}: {error.strerror}; mend that, type the command again") from error
    if not known:
        write_bytes(copy, data)
    return str(copy)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
