"""Weight files of the catalog: where they lie, what they hash to, how large they are.  No torch needed.

Only safetensors are read.  A pickle can run any code when it is opened, so a file or folder that holds one is refused.
"""

from __future__ import annotations

import hashlib
import math
import re
from contextlib import suppress
from pathlib import Path, PurePosixPath

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError
from chatgenbench.render.header import HeaderError, read_header
from chatgenbench.render.sources import Hub, parse
from chatgenbench.schema import ModelRecord, digest_of

SUFFIX = ".safetensors"
PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle"})
ROLES = {"checkpoint": ("diffusers", "checkpoint"), "lora": ("lora",)}
#: Files beside a checkpoint that change its pictures: a VAE of its own, and embeddings by the word that calls them.
EXTRA = re.compile(r"vae|embedding:\S{1,60}")


def weights_digest(path: Path) -> str:
    """sha256 (64 hex digits) of a weight file; for a folder, over its safetensors.

    A folder's digest is the sha256 of one line "relative/path\\0hexdigest\\n" per *.safetensors, in path order.

    Raises:
        BenchmarkError: pickles, nothing to hash, or unreadable files.
    """
    files = weight_files(path)
    try:
        if path.is_file():
            return _file_digest(path)
        lines = [f"{file.relative_to(path).as_posix()}\0{_file_digest(file)}\n" for file in files]
    except OSError as error:
        raise BenchmarkError(f"cannot read the weights {path}: {error.strerror or error}") from None
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def weight_files(path: Path) -> list[Path]:
    """The safetensors of a file or folder, in path order.

    Raises:
        BenchmarkError: nothing there or out of reach, a pickle, or no safetensors.
    """
    try:
        if not path.exists():
            raise BenchmarkError(f"the weights {path} are missing: fetch the benchmark again")
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    except OSError as error:  # a name that no disk takes, a folder that may not be looked into
        raise BenchmarkError(f"cannot read the weights {path}: {error.strerror or error}") from None
    pickle = next((file for file in sorted(files) if file.suffix.lower() in PICKLES), None)
    if pickle is not None:
        raise BenchmarkError(f"{pickle} may be a pickle, which can run code: convert it to safetensors")
    found = [file for file in files if file.suffix.lower() == SUFFIX]
    if not found:
        raise BenchmarkError(f"{path} holds no {SUFFIX} file")
    return sorted(found, key=lambda file: file.relative_to(path).as_posix())


def weights_key(record: ModelRecord) -> str:
    """64 hex digits that stand for all that a record draws with, or "" when nobody knows its content.

    The sha256 of its weights, where that is all; a commit of the hub stands for weights without one.

    Raises:
        BenchmarkError: `files` names something that is not pinned.
    """
    main = record.sha256
    if not main:
        values = [record.files[role] for role in ROLES[record.type] if role in record.files]
        source = parse(values[0]) if values else None
        main = source.pinned if isinstance(source, Hub) else ""
    extras = {name: _pinned(record, name) for name in sorted(record.files) if EXTRA.fullmatch(name)}
    return digest_of([main, extras]) if main and extras else main


def by_key(benchmark: Benchmark) -> dict[tuple[str, str], ModelRecord]:
    """(type, `weights_key`) -> record; of several with the same weights the first, without those that have no key."""
    found: dict[tuple[str, str], ModelRecord] = {}
    for record in benchmark.catalog:
        with suppress(BenchmarkError):  # told when somebody draws with it
            found.setdefault((record.type, weights_key(record)), record)
    return found


def _pinned(record: ModelRecord, name: str) -> str:
    source = parse(record.files[name])
    pinned = source.pinned if isinstance(source, Hub) else source.sha256
    if not pinned:
        raise BenchmarkError(f"'{name}' of model '{record.id}' has no sha256: add #sha256= and its 64 hex digits")
    return pinned


def locate(record: ModelRecord, benchmark: Benchmark) -> tuple[str, Path]:
    """Role ("diffusers", "checkpoint" or "lora") and path of a record's weights.

    Raises:
        BenchmarkError: the record names no usable role, or a path outside the benchmark's folder.
    """
    for role in ROLES[record.type]:
        if role in record.files:
            return role, inside(benchmark, record.files[role])
    roles = " or ".join(f"'{role}'" for role in ROLES[record.type])
    raise BenchmarkError(f"model '{record.id}' names no {roles} under `files`: mend catalog.jsonl")


def inside(benchmark: Benchmark, relative: str) -> Path:
    """`relative` under the benchmark's folder; a path that leaves it is refused."""
    parts = PurePosixPath(relative)
    if parts.is_absolute() or ".." in parts.parts:
        raise BenchmarkError(f"the catalog's path '{relative}' leaves the benchmark's folder")
    return benchmark.root / relative


def parameters_in(path: Path) -> int:
    """Number of values in all tensors of a file or folder, read from the safetensors headers.

    Raises:
        BenchmarkError: a header cannot be read.
    """
    return sum(_values(file) for file in weight_files(path))


def _values(file: Path) -> int:
    try:
        return sum(math.prod(entry["shape"]) for entry in read_header(file).values())
    except HeaderError as error:
        raise BenchmarkError(f"{file} is {error}") from None
    except (OSError, KeyError, TypeError) as error:
        raise BenchmarkError(f"{file} is not a readable safetensors file: {error}") from None


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
