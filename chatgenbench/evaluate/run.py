"""A run is a folder: its manifest, its journals, and who may work in it."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import chatgenbench
from chatgenbench import journal
from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import InfraError, RunFolderError
from chatgenbench.schema import DrawnRow, PlannedRow
from chatgenbench.systems import Prices

#: Which text image metrics read: what the person wanted said well, what they typed, or the system's own prompt.
TextSource = Literal["gold", "input", "plan"]

#: How pictures are drawn: in this process, in several of this machine, or on a Ray cluster.
ExecutorName = Literal["inline", "local", "ray"]

PACKAGES = (
    "torch", "torchvision", "diffusers", "transformers", "open_clip_torch", "peft", "accelerate", "safetensors",
    "numpy", "scipy", "pandas", "pyarrow", "pillow", "torchsde", "tokenizers",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What the user asked for.

    `batch_size`, `device`, `executor`, `workers` (None: as many as fit the device) and `ray_address` (see
    `render.cluster.connect`) change no identity, only provenance; `metrics` are picture metrics beside those every
    run has, and may be added to a finished run.  Without `draw` the plans are scored and no picture is drawn.  Prices
    are US dollars per million tokens read and written and per hour of the machine that answers; they are for the
    answers of this command, those on disk keep theirs.
    """

    benchmark: str
    system: str
    seed: int = 0
    text: TextSource = "gold"
    weights: str | None = None
    limit: int | None = None
    batch_size: int = 8
    device: str = "auto"
    executor: ExecutorName = "inline"
    workers: int | None = None
    ray_address: str = "auto"
    metrics: tuple[str, ...] = ()
    draw: bool = True
    bases: tuple[tuple[str, str], ...] = ()
    price_in: float | None = None
    price_out: float | None = None
    price_device: float | None = None

    @property
    def prices(self) -> Prices:
        """What this run's answers are priced with."""
        return Prices(self.price_in, self.price_out, self.price_device)


class RunFolder:
    """Paths and files of one run; see the module's docstring and DESIGN for the contract."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = path / "run.json"
        self.plans = path / "plans.jsonl"
        self.pictures = path / "pictures.jsonl"
        self.score_journal = path / "scores.jsonl"
        self.scores = path / "scores.parquet"
        self.summary = path / "summary.json"
        self.report = path / "report.html"
        self.submission = path / "submission.csv"

    def read_manifest(self) -> dict[str, Any]:
        """The manifest as written, or RunFolderError if this is no run."""
        try:
            loaded = json.loads(self.manifest.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise RunFolderError(f"{self.path} is not a run folder: run.json is missing") from None
        except ValueError:
            raise RunFolderError(self._damaged()) from None
        parts = (loaded.get("identity"), loaded.get("settings")) if isinstance(loaded, dict) else ()
        if len(parts) != 2 or not all(isinstance(part, dict) for part in parts):
            raise RunFolderError(self._damaged())
        return dict(loaded)

    def _damaged(self) -> str:
        return (
            f"{self.manifest} is damaged: move the folder away, type the command again "
            "(its plans.jsonl can be given to --system as a predictions file)"
        )

    def planned(self) -> dict[str, PlannedRow]:
        return {row.item: row for row in journal.read(self.plans, PlannedRow.model_validate)}

    def drawn(self) -> dict[str, DrawnRow]:
        """The newest word on each item's picture."""
        return {row.item: row for row in journal.read(self.pictures, DrawnRow.model_validate)}

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; a second one is told so instead of mixing its lines in."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise RunFolderError(f"--out {self.path} cannot be used ({error.strerror}): choose another") from None
        with lock as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunFolderError(
                    f"another chatgenbench is working in {self.path}: wait for it, or choose another --out"
                ) from None
            yield


def open_run(
    path: Path, settings: Settings, benchmark: Benchmark, system: tuple[str, str], extra: dict[str, Any]
) -> RunFolder:
    """Start a run in `path`, or continue the one that is there.

    Args:
        system: (name, revision) of the resolved system.
        extra: provenance that is recorded but does not decide identity (device, dtype, weights).

    Raises:
        RunFolderError: the folder holds a run of something else; the message names the difference.
    """
    folder = RunFolder(path)
    identity = identity_of(settings, benchmark, system)
    old = started(path, identity)
    created = old.get("created") or datetime.now(UTC).isoformat(timespec="seconds")
    write_json(folder.manifest, {
        "identity": identity, "created": created, "settings": asdict(settings),
        "label": benchmark.manifest.label, "versions": versions(), **extra,
    })  # fmt: skip
    return folder


def identity_of(settings: Settings, benchmark: Benchmark, system: tuple[str, str]) -> dict[str, Any]:
    """What makes two commands the same run; anything else may change between a start and its continuation."""
    return {
        "benchmark": benchmark.manifest.name, "benchmark_hash": benchmark.hash,
        "system": system[0], "system_spec": settings.system, "system_revision": system[1],
        "seed": settings.seed, "text": settings.text,
        "weights": settings.weights or benchmark.manifest.weights, "draw": settings.draw,
        "bases": [list(pair) for pair in settings.bases],
    }  # fmt: skip


#: What a run says of a key that was not known when it began: every run drew pictures then, on the catalog's bases.
UNSTATED: dict[str, Any] = {"draw": True, "bases": []}


def started(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """The manifest of the run that was started in `path`, empty where there is none yet.

    Raises:
        RunFolderError: the folder cannot be used for a run of this identity; the message names why.
    """
    folder = RunFolder(path)
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"--out {path} cannot be used (it is a file): choose another")
    if not folder.manifest.exists():
        if path.is_dir() and any(p.name != ".lock" for p in path.iterdir()):
            raise RunFolderError(f"{path} is not empty and holds no run: choose another --out")
        return {}
    old = folder.read_manifest()
    for key, value in identity.items():
        before = old["identity"].get(key, UNSTATED.get(key))
        if before != value:
            raise RunFolderError(_other_run(path, key, before, value))
    return old


def _other_run(path: Path, key: str, before: Any, now: Any) -> str:
    if key == "system_revision":
        what = f"the system changed since this run began: revision {str(before)[:12]}, now {str(now)[:12]}"
    elif key == "draw":
        what = "with pictures, now without" if before else "without pictures, now with"
    else:
        what = f"{key}: {before!r}, now {now!r}"
    return f"{path} holds another run ({what}): choose another --out, or delete that folder"


def versions() -> dict[str, str]:
    """Versions of this program and of every package that can change a number."""
    found = {"chatgenbench": chatgenbench.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def write_json(path: Path, value: Any) -> None:
    """Write whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file in one step; InfraError (nothing left behind) when the disk refuses."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InfraError(
            f"cannot write {path}: {error.strerror}; mend that or free some space, type it again"
        ) from error
