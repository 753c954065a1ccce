"""What drawing and loading took on this machine, kept so that the next run knows better what it will take.

One JSON object a line in `$CHATGENBENCH_HOME/timings.jsonl`, appended by every drawing process.  It is a memory, not a
record of a run: it decides order and estimates and never a pixel, so a line that is torn or lost is passed over, and
the oldest half goes when the file has grown large.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from chatgenbench.home import home

NAME = "timings.jsonl"
#: Bytes of the file at which its older half is dropped: some 10,000 lines.
LARGE = 2_000_000


@dataclass(frozen=True)
class Drawn:
    """One pipeline call that ended well.

    Attributes:
        device: as `device_name` spells it.
        family: `base_model` of the checkpoint that drew.
        steps: calls of the network for each picture (twice the sampler's steps where it is of second order).
        guided: whether each call also drew without the prompt (CFG above 1).
        pixels: of one picture.
        pictures: in the batch.
        seconds: of the call, pictures on this side of it, nothing written yet.
    """

    device: str
    family: str
    steps: int
    guided: bool
    pixels: int
    pictures: int
    seconds: float


@dataclass(frozen=True)
class Loaded:
    """One load: from file to a warm pipeline, its sha256 check included where nothing had checked it before."""

    device: str
    kind: str
    sha256: str
    bytes: int
    seconds: float


Timing = Drawn | Loaded


class Timings:
    """The file of timings; never in the way: what cannot be read or written is left out.

    Args:
        path: None: `timings.jsonl` in the home folder.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or home() / NAME

    def add(self, timing: Timing) -> None:
        """Append one line, whole even when several processes do so at once."""
        line = json.dumps(asdict(timing), separators=(",", ":")) + "\n"
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(file, line.encode())
                large = os.fstat(file).st_size > LARGE
            finally:
                os.close(file)
            if large:
                self._drop_older_half()

    def read(self) -> list[Timing]:
        """Every line that can be read, oldest first."""
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError:
            return []
        return [timing for line in lines if (timing := _parse(line)) is not None]

    def _drop_older_half(self) -> None:
        data = self.path.read_bytes()
        name = f".{NAME}.{os.getpid()}.{threading.get_ident()}"
        temporary = self.path.with_name(name)
        temporary.write_bytes(data[data.find(b"\n", len(data) // 2) + 1 :])
        temporary.replace(self.path)


def _parse(line: bytes) -> Timing | None:
    try:
        record: dict[str, Any] = json.loads(line)
        timing = Drawn(**record) if "steps" in record else Loaded(**record)
        names = (timing.family,) if isinstance(timing, Drawn) else (timing.kind, timing.sha256)
        named = all(isinstance(name, str) for name in (timing.device, *names))
        return timing if named and _sane([timing.seconds, *_sizes(timing)]) else None
    except (ValueError, TypeError, RecursionError):
        return None


def _sizes(timing: Timing) -> Iterable[float]:
    return (timing.steps, timing.pixels, timing.pictures) if isinstance(timing, Drawn) else (timing.bytes,)


def _sane(values: Iterable[float]) -> bool:
    """Whether they can be seconds, counts and bytes: a fit divides by them and adds them up."""
    return all(1e-9 < value < 1e18 for value in values)


@lru_cache
def device_name(device: str) -> str:
    """What is timed: the GPU's name, or the processor's with its cores."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    return f"{_processor()}, {os.cpu_count()} cores"


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
