"""The proof that nothing crosses the splits, computed anew from the final demonstrations.

No result of dedupe or split is taken over: prompts are hashed under another seed, twice as many bands look for
candidates, and on top of that all prompts of each pair of splits (or a sample, told in the report) are compared text by
text.  The way a prompt is normalised is the same, or the numbers would not speak of the same thing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatgenbench.build.minhash import BANDS, PIECE, ROWS, Prompts, digest
from chatgenbench.build.near import Places, Words, near_codes
from chatgenbench.build.records import Record

SPLITS = ("train", "supervised", "few-shot")
KINDS = ("demonstrations", "prompts", "near-prompts", "pictures", "near-pictures", "creators")
#: Pairs of records compared one by one for each pair of splits; beyond it, a sample of as many.
BRUTE_PAIRS = 2_000_000
SEED = 20_011
#: At most so many crossings are named.
NAMED = 20


@dataclass(frozen=True)
class Row:
    """What may leak of one demonstration; empty text means unknown or none."""

    id: str
    split: str
    prompt: str
    creator: str = ""
    picture_sha256: str = ""
    phash: str = ""


def row(record: Record, split: str) -> Row:
    """The row of a record that lies in `split`."""
    return Row(record.id, split, record.plan.prompt, record.creator, record.picture_sha256, record.phash)


class _Table:
    """The rows as arrays; prompts and ids wait on disk or as 64-bit digests (0: unknown)."""

    def __init__(self, rows: Iterable[Row], folder: Path | None) -> None:
        self.prompts = Prompts(SEED, folder)
        self.ids: list[str] = []
        split, phash, hashed = array("b"), array("Q"), array("b")
        same: dict[str, array[int]] = {kind: array("Q") for kind in ("demonstrations", "pictures", "creators")}
        for one in rows:
            self.prompts.add(one.prompt)
            self.ids.append(one.id)
            split.append(SPLITS.index(one.split))
            phash.append(int(one.phash or "0", 16))
            hashed.append(bool(one.phash))
            for kind, text in (("demonstrations", one.id), ("pictures", one.picture_sha256), ("creators", one.creator)):
                same[kind].append(digest(text) if text else 0)
        self.split = np.array(split, np.int32)
        self.phash, self.hashed = np.array(phash, np.uint64), np.array(hashed, bool)
        self.same = {kind: np.array(values, np.uint64) for kind, values in same.items()}
        self.same["prompts"] = np.array(self.prompts.digests, np.uint64)

    def of(self, split: int, among: NDArray[np.int64]) -> Places:
        rows: Places = among[self.split[among] == split]
        return rows


def report(
    rows: Iterable[Row], prompt_similarity: float = 0.8, picture_distance: int = 6, folder: Path | None = None
) -> dict[str, Any]:
    """Count what crosses each pair of splits; `leaks` is the sum and must be 0.

    Exact kinds count different values found on both sides, near kinds count pairs of records.  `folder` is where
    prompts wait while they are compared (a temporary folder by default).
    """
    table = _Table(rows, folder)
    near = _near_prompts(table, prompt_similarity)
    pictures = _near_pictures(table, picture_distance)
    pairs: dict[str, Any] = {}
    for a, b in combinations(range(len(SPLITS)), 2):
        found = {kind: len(_common(values, table.split, a, b)) for kind, values in sorted(table.same.items())}
        brute = _brute_prompts(table, a, b, prompt_similarity)
        both = near[a, b] | brute.pop("near")
        found |= {"near-prompts": len(both), "near-pictures": len(pictures[a, b])}
        named = sorted([table.ids[i], table.ids[j]] for i, j in sorted(both | pictures[a, b])[:NAMED])
        pairs[f"{SPLITS[a]} / {SPLITS[b]}"] = {
            **{kind: found[kind] for kind in KINDS},
            "prompts_compared": brute,
            "pictures_compared": _brute_pictures(table, a, b),
            "examples": named,
        }
    return {
        "leaks": sum(one[kind] for one in pairs.values() for kind in KINDS),
        "rows": {name: int((table.split == code).sum()) for code, name in enumerate(SPLITS)},
        "pairs": pairs,
        "method": _method(prompt_similarity, picture_distance),
    }


def problems(found: Mapping[str, Any]) -> list[str]:
    """One line for each kind that crosses a pair of splits; empty when nothing leaks."""
    return [f"{one[kind]} {kind} cross {name}" for name, one in found["pairs"].items() for kind in KINDS if one[kind]]


def _method(similarity: float, distance: int) -> dict[str, Any]:
    return {
        "prompts": f"Jaccard similarity of {PIECE}-character pieces of normalised prompts, at least {similarity}",
        "candidates": f"MinHash, seed {SEED}, {2 * BANDS} bands of {ROWS} columns; each candidate's texts are compared",
        "brute_force": f"every pair of texts up to {BRUTE_PAIRS} pairs of records, else a sample of as many",
        "pictures": f"perceptual hashes of 64 bits that differ in at most {distance}, found exactly",
        "exact": "64-bit digests of ids, normalised prompts, sha256 of pictures, keyed hashes of creators",
    }


def _common(values: Words, split: NDArray[np.int32], a: int, b: int) -> Words:
    """Different known values that lie in both splits."""
    known = values != 0
    return np.intersect1d(values[known & (split == a)], values[known & (split == b)])


def _sides() -> dict[tuple[int, int], set[tuple[int, int]]]:
    return {pair: set() for pair in combinations(range(len(SPLITS)), 2)}


def _near_prompts(table: _Table, threshold: float) -> dict[tuple[int, int], set[tuple[int, int]]]:
    """Pairs of rows of different splits with near prompts; of equal prompts in one split the first stands for all."""
    found = _sides()
    filled = table.prompts.filled
    _, first = np.unique(np.stack([table.same["prompts"][filled], table.split[filled].astype(np.uint64)]), axis=1,
                         return_index=True)  # fmt: skip
    rows = np.sort(filled[first])
    labels = table.split[rows]
    for one, other, _ in table.prompts.candidates(rows, lambda: labels, threshold, 2 * BANDS):
        if table.prompts.similarity(one, other) >= threshold:
            _note(found, table, one, other)
    return found


def _near_pictures(table: _Table, distance: int) -> dict[tuple[int, int], set[tuple[int, int]]]:
    found = _sides()
    rows = np.flatnonzero(table.hashed)
    for ones, others in near_codes(table.phash[rows], table.split[rows], distance):
        for one, other in zip(rows[ones].tolist(), rows[others].tolist(), strict=True):
            _note(found, table, one, other)
    return found


def _note(found: dict[tuple[int, int], set[tuple[int, int]]], table: _Table, one: int, other: int) -> None:
    if table.split[one] > table.split[other]:
        one, other = other, one
    found[int(table.split[one]), int(table.split[other])].add((one, other))


def _sample(ones: Places, others: Places, seed: tuple[int, int]) -> tuple[Places, Places]:
    """The smaller side first; as many rows of both as BRUTE_PAIRS allows, all if they fit."""
    few, many = sorted((ones, others), key=len)
    if len(few) * len(many) <= BRUTE_PAIRS:
        return few, many
    drawn = np.random.Generator(np.random.PCG64([SEED, *seed]))
    few = np.sort(drawn.permutation(few)[: int(BRUTE_PAIRS**0.5)])
    return few, np.sort(drawn.permutation(many)[: BRUTE_PAIRS // len(few)])


def _brute_prompts(table: _Table, a: int, b: int, threshold: float) -> dict[str, Any]:
    """Exact similarities of all pairs (or a sample): how many, the largest one, and the pairs that are near."""
    ones, others = table.of(a, table.prompts.filled), table.of(b, table.prompts.filled)
    whole = len(ones) * len(others)
    few, many = _sample(ones, others, (a, b))
    largest, near = 0.0, set()
    for start, similarity in _similarities(table.prompts, few, many):
        largest = max(largest, float(similarity.max()))
        for i, j in np.argwhere(similarity >= threshold).tolist():
            one, other = int(few[i]), int(many[start + j])
            near.add((one, other) if table.split[one] == a else (other, one))
    counts = {"pairs": whole, "compared": len(few) * len(many), "largest_similarity": round(largest, 4)}
    return {"near": near, **counts}


def _similarities(prompts: Prompts, few: Places, many: Places) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Blocks of the matrix of exact similarities, `few` by some of `many` from the place that comes with it."""
    if not len(few) or not len(many):
        return
    left = [prompts.pieces(row) for row in few.tolist()]
    vocabulary = np.unique(np.concatenate(left))
    matrix, lengths = _matrix(left, vocabulary)
    for start in range(0, len(many), 1024):
        other, other_lengths = _matrix([prompts.pieces(row) for row in many[start : start + 1024].tolist()], vocabulary)
        shared = (matrix @ other.T).toarray().astype(np.float64)
        yield start, shared / (lengths[:, None] + other_lengths - shared)


def _matrix(found: list[Words], vocabulary: Words) -> tuple[Any, NDArray[np.int64]]:
    """Which words of the vocabulary are in each set (sparse, 0 or 1), and how large the sets are."""
    from scipy.sparse import csr_array

    lengths = np.array([len(words) for words in found])
    every = np.concatenate(found)
    column = np.minimum(np.searchsorted(vocabulary, every), len(vocabulary) - 1)
    known = vocabulary[column] == every
    line = np.repeat(np.arange(len(found)), lengths)[known]
    ones = np.ones(len(line), np.int32)
    return csr_array((ones, (line, column[known])), shape=(len(found), len(vocabulary))), lengths


def _brute_pictures(table: _Table, a: int, b: int) -> dict[str, Any]:
    """The smallest number of differing bits among all pairs, or a sample; None without hashes on both sides."""
    hashed = np.flatnonzero(table.hashed)
    ones, others = table.of(a, hashed), table.of(b, hashed)
    few, many = _sample(ones, others, (a, b))
    smallest = 65
    for code in table.phash[few]:
        if len(many):
            smallest = min(smallest, int(np.bitwise_count(table.phash[many] ^ code).min()))
    whole, compared = len(ones) * len(others), len(few) * len(many)
    return {"pairs": whole, "compared": compared, "smallest_distance": smallest if smallest < 65 else None}
