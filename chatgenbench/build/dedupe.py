"""Exact and near duplicates among the records of a stage, found in one pass over its file.

Dropped as `duplicate-exact`: same picture file, or same prompt (normalised), model and arguments; the first stays.
Dropped as `duplicate-near-prompt`: prompts as similar as `prompt_similarity` for the same model; as
`duplicate-near-picture`: perceptual hashes within `picture_distance` bits.  Of those the one with most reactions stays,
the first among equals.  Near prompts for different models all stay, but share a cluster, and a cluster never crosses a
split.  Nearness is passed on: if A is near B and B is near C, all three are one cluster.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from chatgenbench.build.minhash import Prompts, digest
from chatgenbench.build.near import Groups, near_codes
from chatgenbench.build.records import Drop, Record
from chatgenbench.build.workspace import write_whole
from chatgenbench.errors import UserError

#: Reasons by their code; 0 means kept.
REASONS = ("", "duplicate-exact", "duplicate-near-prompt", "duplicate-near-picture")
_KEPT, _EXACT, _PROMPT, _PICTURE = range(4)
_MOST_REACTIONS = 2**31
#: Bytes before the numbers in a `.npy` file of one row.
_HEADER = 128


@dataclass(frozen=True)
class DedupeLimits:
    """What counts as near: Jaccard similarity of prompts (0.75 to 1), differing bits of 64 (0 to 11).

    Raises:
        UserError: a number outside its range.
    """

    prompt_similarity: float = 0.8
    picture_distance: int = 6

    def __post_init__(self) -> None:
        if not 0.75 <= self.prompt_similarity <= 1:
            raise UserError(f"prompt similarity {self.prompt_similarity} must lie between 0.75 and 1")
        if not 0 <= self.picture_distance <= 11:
            raise UserError(f"picture distance {self.picture_distance} must lie between 0 and 11 bits")


@dataclass(frozen=True, eq=False)
class Duplicates:
    """One entry a line of the file: whether it stays, its cluster (its smallest line), why it goes (see REASONS)."""

    keep: NDArray[np.bool_]
    cluster: NDArray[np.int32]
    code: NDArray[np.int8]

    def reason(self, line: int) -> str:
        """Why a line (from 0) goes; empty if it stays."""
        return REASONS[self.code[line]]

    def apply(self, records: Iterable[Record]) -> Iterator[Record | Drop]:
        """The records of the file, in its order, with those that go as drops."""
        for record, code in zip(records, self.code, strict=True):
            yield Drop(record.id, REASONS[code]) if code else record

    def save_clusters(self, path: Path) -> None:
        """Write the clusters of the lines that stay, for the split of the file that holds only those."""
        write_whole(path, _file_of(self.cluster[self.keep]))


def load_clusters(path: Path, lines: Path | None = None) -> NDArray[np.int32]:
    """What `save_clusters` wrote; `lines` is the file of what stays, which must have as many lines.

    Raises:
        UserError: the file is missing, damaged, not ours, or of another file of lines; it says how to make it anew.
    """
    mark = path.with_name("dedupe.json")
    try:
        data = path.read_bytes()
        clusters = np.frombuffer(data, np.int32, offset=_HEADER)
    except (OSError, ValueError):
        data, clusters = b"", np.empty(0, np.int32)
    if _file_of(clusters) != data:  # numpy's own reader trips over damage in ways of its own
        raise UserError(f"{path} is missing or damaged: delete {mark} and type the command again")
    if lines is not None:
        with lines.open("rb", buffering=1 << 20) as file:
            number = sum(1 for _ in file)
        if number != len(clusters):
            told = f"{path} has {len(clusters)} clusters for the {number} lines of {lines.name}"
            raise UserError(f"{told}: delete {mark} and type the command again")
    return clusters.copy()


def _file_of(clusters: NDArray[np.int32]) -> bytes:
    """The bytes of the `.npy` file that holds them."""
    buffer = io.BytesIO()
    np.save(buffer, clusters, allow_pickle=False)
    return buffer.getvalue()


class _Columns:
    """What dedupe needs of each record, as arrays of numbers."""

    def __init__(self, folder: Path) -> None:
        self.prompts = Prompts(folder=folder)
        self._models: dict[str, int] = {}
        self.model, self.reactions = array("i"), array("q")
        self.same, self.picture, self.phash = array("Q"), array("Q"), array("Q")
        self.pictured, self.hashed = array("b"), array("b")

    def add(self, record: dict[str, Any]) -> None:
        plan = record["plan"]
        text = self.prompts.add(plan["prompt"])
        whole = orjson.dumps([text, plan["model"], plan["arguments"]], option=orjson.OPT_SORT_KEYS).decode()
        self.same.append(digest(whole))
        self.model.append(self._models.setdefault(plan["model"], len(self._models)))
        self.reactions.append(int(min(max(0, record.get("reactions", 0)), _MOST_REACTIONS)))
        sha256, phash = record.get("picture_sha256", ""), record.get("phash", "")
        self.picture.append(int(sha256[:16] or "0", 16))
        self.pictured.append(bool(sha256))
        self.phash.append(int(phash or "0", 16))
        self.hashed.append(bool(phash))


def dedupe(path: Path, limits: DedupeLimits | None = None) -> Duplicates:
    """Find the duplicates among the records of `path` (JSON lines of `Record`).

    Memory is about 350 bytes a record; clusters do not depend on the order of the lines.
    """
    limits = limits or DedupeLimits()
    columns = _Columns(path.parent)
    with path.open("rb", buffering=1 << 20) as file:
        for line in file:
            columns.add(orjson.loads(line))
    exact = _exact(columns)
    prompts = near_prompts(columns.prompts, limits.prompt_similarity)
    pictures = near_pictures(_numbers(columns.phash, np.uint64), _flags(columns.hashed), limits.picture_distance)
    code = _decide(columns, exact, prompts, pictures)
    everything = Groups(len(code))
    for groups in (exact, prompts, pictures):
        everything.join_pairs(np.arange(len(code)), groups.roots().astype(np.int64))
    return Duplicates(code == _KEPT, everything.roots().copy(), code)


def near_prompts(prompts: Prompts, threshold: float) -> Groups:
    """Groups of prompts with an exact similarity of at least `threshold` to another of the group."""
    groups = Groups(len(prompts))
    digests = _numbers(prompts.digests, np.uint64)
    groups.join_equal(digests)
    rows = np.intersect1d(groups.roots(), prompts.filled)
    for one, other, _ in prompts.candidates(rows, lambda: groups.roots()[rows], threshold):
        if groups.find(one) != groups.find(other) and prompts.similarity(one, other) >= threshold:
            groups.join(one, other)
    return groups


def near_pictures(phash: NDArray[np.uint64], hashed: NDArray[np.bool_], distance: int) -> Groups:
    """Groups of pictures whose perceptual hash is within `distance` bits of another of the group."""
    groups = Groups(len(phash))
    groups.join_equal(phash, hashed)
    rows = np.unique(groups.roots()[hashed]).astype(np.int64)
    for one, other in near_codes(phash[rows], rows.astype(np.int32), distance):
        groups.join_pairs(rows[one], rows[other])
    return groups


def _exact(columns: _Columns) -> Groups:
    groups = Groups(len(columns.prompts))
    groups.join_equal(_numbers(columns.same, np.uint64))
    groups.join_equal(_numbers(columns.picture, np.uint64), _flags(columns.pictured))
    return groups


def _decide(columns: _Columns, exact: Groups, prompts: Groups, pictures: Groups) -> NDArray[np.int8]:
    """Codes of all lines: exact duplicates go first, then near prompts, then near pictures among what is left."""
    n = len(columns.prompts)
    reactions = _numbers(columns.reactions, np.int64)
    code = np.zeros(n, np.int8)
    code[exact.roots() != np.arange(n)] = _EXACT
    of_model = prompts.roots().astype(np.int64) << 32 | _numbers(columns.model, np.int32)
    code[_beaten(of_model, reactions, code == _KEPT)] = _PROMPT
    code[_beaten(pictures.roots(), reactions, code == _KEPT)] = _PICTURE
    return code


def _beaten(keys: NDArray[np.generic], reactions: NDArray[np.int64], among: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Lines with another of the same key that has more reactions, or as many and stands earlier."""
    lines = np.flatnonzero(among)
    order = lines[np.lexsort((lines, -reactions[lines], keys[lines]))]
    beaten: NDArray[np.int64] = order[1:][keys[order[1:]] == keys[order[:-1]]]
    return beaten


def _numbers(values: array[int], kind: type[np.generic]) -> NDArray[Any]:
    return np.frombuffer(values, kind) if len(values) else np.empty(0, kind)


def _flags(values: array[int]) -> NDArray[np.bool_]:
    return _numbers(values, np.bool_)
