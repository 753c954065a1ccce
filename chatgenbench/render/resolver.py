"""From a record of the catalog to files on this machine: in the benchmark's folder, kept from before, or fetched."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError, UserError, WeightsError
from chatgenbench.home import home
from chatgenbench.remote.pauses import patience
from chatgenbench.render import hub
from chatgenbench.render.cache import Reserve, WeightsCache
from chatgenbench.render.sources import Civitai, Hub, Local, Source, parse
from chatgenbench.render.weights import EXTRA, ROLES, SUFFIX, inside, weights_digest
from chatgenbench.schema import ModelRecord

CIVITAI = "https://civitai.com"
BUDGET = "CHATGENBENCH_WEIGHTS_BUDGET"
_SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Located:
    """Where the weights of a record lie.

    Attributes:
        role: "diffusers" (a folder), "checkpoint" or "lora" (one file).
        path: the file or folder.
        verified: whether its content has been seen to be what the catalog describes.
        extras: "vae" and "embedding:WORD" files that the record names beside it.
    """

    role: str
    path: Path
    verified: bool = False
    extras: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Fetching:
    """How weights are fetched and kept; small, picklable, and of the environment unless told otherwise.

    Attributes:
        root: folder of the weights ($CHATGENBENCH_HOME/weights).
        budget: bytes that they may take ($CHATGENBENCH_WEIGHTS_BUDGET, e.g. 200GB); None: all there are.
        civitai: address of the hub ($CHATGENBENCH_CIVITAI).
        allow_private: whether downloads may lead to private addresses ($CHATGENBENCH_ALLOW_PRIVATE=1).
        patience: first pause between attempts in seconds ($CHATGENBENCH_PATIENCE).

    Tokens are not part of it: each process reads $CIVITAI_TOKEN (or $CIVITAI_API_TOKEN) and $HF_TOKEN itself.
    """

    root: Path
    budget: int | None = None
    civitai: str = CIVITAI
    allow_private: bool = False
    patience: float = 1.0

    @classmethod
    def of_environment(cls) -> Fetching:
        """Raises UserError when a variable holds something else than it should."""
        told = os.environ.get
        address = told("CHATGENBENCH_CIVITAI") or CIVITAI
        if not re.fullmatch(r"https://[\w.-]+(:\d+)?/?|http://(localhost|127[.\d]+)(:\d+)?/?", address, re.ASCII):
            raise UserError("$CHATGENBENCH_CIVITAI must be an https address such as https://civitai.com")
        budget = told(BUDGET)
        return cls(
            home() / "weights", bytes_of(budget) if budget else None, address,
            told("CHATGENBENCH_ALLOW_PRIVATE") == "1", patience(),
        )  # fmt: skip


class Resolver:
    """Finds the weights of catalog records, whichever thread or process asks; it can be pickled.

    Args:
        benchmark: whose folder relative paths start from.
        fetching: how the others are fetched; None: as the environment says.
    """

    def __init__(self, benchmark: Benchmark, fetching: Fetching | None = None) -> None:
        self.benchmark = benchmark
        self.fetching = fetching or Fetching.of_environment()
        self.cache = WeightsCache(self.fetching.root, self.fetching.budget)

    def fetch(self, record: ModelRecord) -> Located:
        """Have the weights of `record` on this machine, and say where; blocks until they are there.

        Within a disk budget they may be removed again as soon as something else needs the room: see `using`.

        Raises:
            BenchmarkError: they cannot be had; only the rows that need this model fail.
            InfraError: the disk is full or cannot be written.
        """
        with self.using(record) as located:
            return located

    @contextmanager
    def using(self, record: ModelRecord) -> Iterator[Located]:
        """`fetch`, and nothing takes the files away before the block ends."""
        role = role_of(record)
        with ExitStack() as stack:
            try:
                path, verified = stack.enter_context(self._file(record.files[role], record.sha256))
                extras = {
                    name: stack.enter_context(self._file(value))[0]
                    for name, value in record.files.items()
                    if EXTRA.fullmatch(name)
                }
            except WeightsError as error:
                raise WeightsError(f"model '{record.id}' cannot be fetched: {error}") from None
            yield Located(role, path, verified, extras)

    @contextmanager
    def folder(self, source: Hub, parts: Sequence[str]) -> Iterator[Path]:
        """The named parts of a diffusers folder on the hub, as a folder of their own."""
        found = hub.at_hand(source, parts)
        if found is not None:
            yield found
            return
        name = Hub(source.repo, source.commit, "+".join(sorted(parts))).pinned
        with self.cache.using(name, lambda partial, reserve: hub.download(source, partial, reserve, parts)) as path:
            yield path

    def bytes_to_fetch(self, record: ModelRecord) -> int | None:
        """Bytes that `fetch` would download: 0 when all is here, None when the catalog does not tell."""
        missing = [source for source, sha256 in self._sources(record) if not self._is_here(source, sha256)]
        sizes = [source.bytes for source in missing if source.bytes is not None]
        return sum(sizes) if len(sizes) == len(missing) else None

    def _sources(self, record: ModelRecord) -> Iterator[tuple[Source, str]]:
        role = role_of(record)
        for name, value in record.files.items():
            if name == role or EXTRA.fullmatch(name):
                source = parse(value)
                yield source, source.sha256 or (record.sha256 if name == role else "")

    def _is_here(self, source: Source, sha256: str) -> bool:
        if isinstance(source, Local):
            return True
        if isinstance(source, Hub) and hub.at_hand(source) is not None:
            return True
        return self.cache.has(_name(source, sha256))

    @contextmanager
    def _file(self, value: str, sha256: str = "") -> Iterator[tuple[Path, bool]]:
        source = parse(value)
        sha256 = source.sha256 or sha256
        if isinstance(source, Local):
            yield inside(self.benchmark, source.path), False
            return
        if isinstance(source, Hub) and (found := hub.at_hand(source)) is not None:
            yield found, False
            return
        if isinstance(source, Civitai) and not sha256:
            raise WeightsError(f"the catalog has no sha256 for {source}: add #sha256=, or build the catalog again")

        def get(partial: Path, reserve: Reserve) -> None:
            if isinstance(source, Civitai):
                self._from_civitai(source, sha256, partial, reserve)
            else:
                hub.download(source, partial, reserve)
                _compare(partial, sha256, source)

        with self.cache.using(_name(source, sha256), get) as path:
            yield path, True

    def _from_civitai(self, source: Civitai, sha256: str, partial: Path, reserve: Reserve) -> None:
        from chatgenbench.render.download import Service, download

        token = os.environ.get("CIVITAI_TOKEN") or os.environ.get("CIVITAI_API_TOKEN") or ""
        how = self.fetching
        service = Service(how.civitai, token.strip() or None, how.allow_private, how.patience)
        download(source, sha256, partial, service, reserve)

    def __reduce__(self) -> tuple[type[Resolver], tuple[Benchmark, Fetching]]:
        return Resolver, (self.benchmark, self.fetching)


def role_of(record: ModelRecord) -> str:
    """The role in `files` that holds the weights: "diffusers", "checkpoint" or "lora".

    Raises:
        BenchmarkError: the record names none.
    """
    for role in ROLES[record.type]:
        if role in record.files:
            return role
    roles = " or ".join(f"'{role}'" for role in ROLES[record.type])
    raise BenchmarkError(f"model '{record.id}' names no {roles} under `files`: mend catalog.jsonl")


def bytes_of(text: str) -> int:
    """Bytes of a size such as "200GB", "1.5 TB" or "5000000" (powers of ten).

    Raises:
        UserError: it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", text, re.IGNORECASE | re.ASCII)
    if found is None or not float(found[1]):
        raise UserError(f"--weights-budget '{text}' is no size: write it like 200GB")
    return math.floor(float(found[1]) * _SIZES[found[2].upper()])


def _name(source: Civitai | Hub, sha256: str) -> str:
    if isinstance(source, Hub):
        return (sha256 or source.pinned) + (SUFFIX if source.file else "")
    return sha256 + SUFFIX


def _compare(path: Path, sha256: str, source: Hub) -> None:
    if sha256 and (found := weights_digest(path)) != sha256:
        raise WeightsError(f"{source} is not what the catalog describes (sha256 {found})")
