"""What is said to a system in another process, and what it says: the contract of `http://...` and `cmd:...`.

Schemas of these models are under `chatgenbench/schemas/`, and `http_system.openapi.json` there is made of them.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from chatgenbench.errors import BenchmarkError
from chatgenbench.schema import Costs, Demonstration, Failure, FreestyleInput, ModelRecord, Noun, Plan, TrainInput
from chatgenbench.systems.protocol import StopRun


class SystemInfo(Noun):
    """What a server says of itself when asked with GET; all of it optional.

    `revision` changes whenever answers may change; `prepare` asks for one POST to `.../prepare` before the first chat.
    """

    name: str = Field(default="", max_length=200)
    revision: str = Field(default="", max_length=200)
    prepare: bool = False


class PrepareRequest(Noun):
    """The models to choose from and the demonstrations to learn from, once before the first chat.

    `chats` are chats that might have led to them, where the benchmark has such; their pictures are not sent.
    """

    catalog: tuple[ModelRecord, ...]
    train: tuple[Demonstration, ...]
    chats: tuple[TrainInput, ...] = ()


class PlanRequest(Noun):
    """Chats to answer.  `pictures` holds every picture that their messages name, as data URLs."""

    inputs: tuple[FreestyleInput, ...] = Field(min_length=1)
    pictures: dict[str, str] = Field(default_factory=dict)


class SystemAnswer(Noun):
    """The answer to the input of the same `id`: one of `plan`, `text` (any text that holds a plan) and `failure`."""

    id: str
    plan: Plan | None = None
    text: str | None = None
    failure: Failure | None = None
    costs: Costs | None = None


class PlanResponse(Noun):
    """One answer for each input, in any order."""

    answers: tuple[SystemAnswer, ...]


class CommandLine(Noun):
    """A line that a command reads: first what to prepare with, then an input a line."""

    prepare: PrepareRequest | None = None
    input: FreestyleInput | None = None
    pictures: dict[str, str] = Field(default_factory=dict)


def plan_request(inputs: Sequence[FreestyleInput], root: Path) -> dict[str, Any]:
    """A PlanRequest as JSON; pictures get names that say nothing of what they show."""
    pictures: dict[str, str] = {}
    told = [_with_pictures(chat, root, pictures) for chat in inputs]
    return {"inputs": told, "pictures": pictures}


def _with_pictures(chat: FreestyleInput, root: Path, pictures: dict[str, str]) -> dict[str, Any]:
    value = chat.model_dump(mode="json")
    for message in value["messages"]:
        message["images"] = [_picture(root / name, pictures) for name in message["images"]]
    return value


def _picture(path: Path, pictures: dict[str, str]) -> str:
    data = read_picture(path)
    name = f"{hashlib.sha256(data).hexdigest()[:16]}{path.suffix.lower()}"
    pictures[name] = data_url(data, path.suffix)
    return name


def read_picture(path: Path) -> bytes:
    """A reference picture's bytes; without it nothing can be asked, which is no system's fault."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise StopRun(BenchmarkError(f"{path} cannot be read ({error.strerror}): fetch the benchmark again")) from None


def data_url(data: bytes, suffix: str) -> str:
    """A picture as `data:image/png;base64,...`."""
    kind = mimetypes.types_map.get(suffix.lower(), "image/png")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def prepare_request(
    catalog: Iterable[ModelRecord], train: Sequence[Demonstration], chats: Sequence[TrainInput]
) -> dict[str, Any]:
    """A PrepareRequest as JSON."""
    request = PrepareRequest(catalog=tuple(catalog), train=tuple(train), chats=tuple(chats))
    return dict(request.model_dump(mode="json"))
