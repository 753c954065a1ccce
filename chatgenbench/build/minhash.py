"""MinHash of prompts: which of a million prompts say nearly the same, in about 300 bytes of memory a prompt.

A prompt is compared without what does not say anything of the picture's content: case, weights, brackets, LoRA tags and
quality boilerplate ("masterpiece, best quality").  What is left is cut into overlapping pieces of 5 characters; two
prompts are as similar as the share of pieces they have in common (Jaccard, 0 to 1).  Signatures find the candidates,
the exact similarity of the texts decides.
"""

from __future__ import annotations

import os
import re
import tempfile
import unicodedata
from array import array
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chatgenbench.build.near import Words, cross_pairs
from chatgenbench.errors import InfraError

#: Characters in a piece, and numbers in a signature (4 bytes each).
PIECE, PERMUTATIONS = 5, 64
#: Columns that must agree for two prompts to be looked at, and how often such columns are drawn.  Of two prompts with
#: similarity 0.8 fewer than 1 pair in 10,000 is missed; of two with 0.1 fewer than 1 pair in 10,000 is looked at.
ROWS, BANDS = 6, 96
#: An estimate from 64 numbers errs by 0.05 (one standard deviation); candidates this far below are not read.
SLACK = 0.25
#: What people write for looks alone; whole tags only.
BOILERPLATE = frozenset(
    """
    masterpiece|best quality|high quality|highest quality|top quality|good quality|great quality|amazing quality
    ultra quality|normal quality|absurdres|highres|high res|high resolution|ultra high res|ultra highres|hi res|hires
    very aesthetic|aesthetic|highly detailed|ultra detailed|extremely detailed|intricate details|intricate detail
    detailed|finely detailed|super detailed|insanely detailed|very detailed|sharp focus|hdr|uhd|4k|8k|16k|2k|4k uhd
    8k uhd|newest|recent|official art|award winning|trending on artstation|professional|raw photo|8k wallpaper
    4k wallpaper|extremely detailed cg unity 8k wallpaper|beautiful background|best shadow
    score 9|score 8 up|score 7 up|score 6 up|score 5 up|score 4 up|best illustration|beautiful|perfect lighting
    """.replace("\n", "|")
    .replace("    ", "")
    .strip("|")
    .split("|")
)
_TAG = re.compile(r"<[^<>]{1,200}>")
_WEIGHT = re.compile(r":\s*[-+]?(?:\d+\.?\d*|\.\d+)\s*(?=[)\]>])|\b(?:BREAK|AND)\b")
_BRACKETS = re.compile(r"[()\[\]{}\\\"]+")
_TAG_ENDS = re.compile(r"[,\n;|]+|\.(?:\s|$)")
_BLANK = re.compile(r"[\s_\-]+")
_WEAKEST = np.uint32(0xFFFFFFFF)


def normalise(prompt: str) -> str:
    """The text that stands for a prompt in comparisons; a prompt of boilerplate alone stays as it is, in lower case."""
    bare = _BRACKETS.sub(" ", _WEIGHT.sub(" ", _TAG.sub(" ", unicodedata.normalize("NFKC", prompt))))
    tags = [_BLANK.sub(" ", tag).strip() for tag in _TAG_ENDS.split(bare.lower())]
    said = [tag for tag in tags if tag and tag not in BOILERPLATE]
    return ", ".join(said or (tag for tag in tags if tag))


def pieces(text: str) -> Words:
    """Hashes of the different pieces of a normalised text, ascending; one if the text is shorter than a piece."""
    if not text:
        return np.empty(0, np.uint64)
    letters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    length = min(PIECE, len(letters))
    count = len(letters) - length + 1
    value = np.full(count, length, np.uint64)
    for offset in range(length):
        value *= np.uint64(0x9E3779B97F4A7C15)
        value += letters[offset : offset + count]
        value ^= value >> np.uint64(29)
    return np.unique(mix(value))


def mix(value: Words) -> Words:
    """Every bit of the result depends on every bit of `value` (the finaliser of SplitMix64)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def jaccard(one: Words, other: Words) -> float:
    """Share of pieces in common, 0 to 1; 0 if either has none."""
    if not len(one) or not len(other):
        return 0.0
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def digest(text: str) -> int:
    """64 bits that stand for a text."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class Hasher:
    """Signatures under permutations drawn from `seed`; another seed gives an independent estimate."""

    def __init__(self, seed: int = 1) -> None:
        drawn = np.random.Generator(np.random.PCG64(seed))
        self._factors = drawn.integers(2**64, size=(PERMUTATIONS, 1), dtype=np.uint64) | np.uint64(1)
        self._terms = drawn.integers(2**64, size=(PERMUTATIONS, 1), dtype=np.uint64)

    def signature(self, found: Words) -> NDArray[np.uint32]:
        """64 numbers of 32 bits; two prompts agree in each with the probability of their similarity."""
        if not len(found):
            return np.full(PERMUTATIONS, _WEAKEST, np.uint32)
        # multiplication by an odd number and addition, modulo 2^64, permutes the hashes; its upper half is well mixed
        smallest: Words = (found * self._factors + self._terms).min(axis=1)
        return (smallest >> np.uint64(32)).astype(np.uint32)


class Prompts:
    """Normalised prompts with their signatures; the texts wait in a nameless file in `folder` until they are asked for.

    Raises:
        InfraError: no file can be written there.
    """

    def __init__(self, seed: int = 1, folder: Path | None = None) -> None:
        self._hasher, self._seed = Hasher(seed), seed
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=1 << 20)  # noqa: SIM115
        except OSError as error:
            raise InfraError(f"cannot write in {folder or tempfile.gettempdir()}: {error.strerror}") from error
        self._ends = array("q", [0])
        self._rows = bytearray()
        self.digests = array("Q")
        self.pieces = lru_cache(maxsize=8192)(self._pieces)

    def __len__(self) -> int:
        return len(self.digests)

    def add(self, prompt: str) -> str:
        """Take in one prompt; returns it normalised."""
        text = normalise(prompt)
        data = text.encode("utf-8", "surrogatepass")
        try:
            self._file.write(data)
        except OSError as error:
            raise InfraError(f"cannot keep prompts aside: {error.strerror}; free some space, type it again") from error
        self._ends.append(self._ends[-1] + len(data))
        self._rows += self._hasher.signature(pieces(text)).tobytes()
        self.digests.append(digest(text))
        return text

    def text(self, index: int) -> str:
        """The normalised prompt."""
        self._file.flush()
        start, end = self._ends[index], self._ends[index + 1]
        return os.pread(self._file.fileno(), end - start, start).decode("utf-8", "surrogatepass")

    def _pieces(self, index: int) -> Words:
        return pieces(self.text(index))

    def similarity(self, one: int, other: int) -> float:
        """Exact Jaccard similarity of two prompts."""
        return jaccard(self.pieces(one), self.pieces(other))

    @property
    def filled(self) -> NDArray[np.int64]:
        """The prompts that say anything at all."""
        return np.flatnonzero(np.diff(np.frombuffer(self._ends, np.int64)))

    @property
    def signatures(self) -> NDArray[np.uint32]:
        """(n, 64), a view of what was added so far."""
        return np.frombuffer(self._rows, np.uint32).reshape(-1, PERMUTATIONS)

    def candidates(
        self, rows: NDArray[np.int64], labels: Callable[[], NDArray[np.int32]], threshold: float, bands: int = BANDS
    ) -> Iterator[tuple[int, int, float]]:
        """Pairs of `rows` with different `labels` whose estimated similarity is not far below `threshold`.

        Each pair comes at most once, as (row, row, estimate).  `labels` gives one number for each of `rows`; it is
        asked before each band, so that a caller who joins what it gets is not given more of the same.
        """
        signatures = self.signatures
        columns = self._columns(bands)
        for band, chosen in enumerate(columns):
            keys = _fold(signatures, rows, chosen)
            for left, right in cross_pairs(keys, labels()):
                one, other = rows[left], rows[right]
                same = signatures[one] == signatures[other]
                likely = same.mean(axis=1) >= threshold - SLACK
                one, other, same = one[likely], other[likely], same[likely]
                fresh = ~same[:, columns[:band]].all(axis=2).any(axis=1)
                estimates = same[fresh].mean(axis=1)
                yield from zip(one[fresh].tolist(), other[fresh].tolist(), estimates.tolist(), strict=True)

    def _columns(self, bands: int) -> NDArray[np.int64]:
        drawn = np.random.Generator(np.random.PCG64(self._seed + 1_000))
        return np.stack([np.sort(drawn.permutation(PERMUTATIONS)[:ROWS]) for _ in range(bands)])


def _fold(signatures: NDArray[np.uint32], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Words:
    """One number for the chosen columns of each row."""
    value = np.zeros(len(rows), np.uint64)
    for column in columns:
        value = mix(value ^ signatures[rows, column].astype(np.uint64))
        value *= np.uint64(0x9E3779B97F4A7C15)
    return value
