"""Groups of what belongs together and pairs of what lies near, over arrays: a few bytes an element, no objects."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Places = NDArray[np.int64]
#: Pairs made at once.
BLOCK = 1 << 16
_CHUNKS, _BITS = 4, 16


class Groups:
    """Union-find over 0 .. n-1; a group is named by its smallest member, whatever the order of the joins."""

    def __init__(self, n: int) -> None:
        self._parent = np.arange(n, dtype=np.int32)

    def find(self, element: int) -> int:
        """The smallest member of the element's group."""
        parent = self._parent
        while (above := int(parent[element])) != element:
            parent[element] = parent[above]  # path halving
            element = above
        return element

    def join(self, one: int, other: int) -> None:
        first, second = self.find(one), self.find(other)
        self._parent[max(first, second)] = min(first, second)

    def join_pairs(self, ones: Places, others: Places) -> None:
        """Join many pairs at once."""
        while len(ones):
            roots = self.roots()
            first, second = roots[ones], roots[others]
            apart = first != second
            ones, others = ones[apart], others[apart]
            low, high = np.minimum(first[apart], second[apart]), np.maximum(first[apart], second[apart])
            np.minimum.at(self._parent, high, low)

    def join_equal(self, keys: NDArray[np.generic], where: NDArray[np.bool_] | None = None) -> None:
        """Join all elements with the same key, among those that `where` marks."""
        among = np.arange(len(keys)) if where is None else np.flatnonzero(where)
        order = among[np.argsort(keys[among], kind="stable")]
        same = keys[order[1:]] == keys[order[:-1]]
        self.join_pairs(order[:-1][same], order[1:][same])

    def roots(self) -> NDArray[np.int32]:
        """The name of every element's group: a view that later joins change."""
        while True:
            above = self._parent[self._parent]
            if np.array_equal(above, self._parent):
                return self._parent
            self._parent[:] = above


def cross_pairs(keys: Words, labels: NDArray[np.int32]) -> Iterator[tuple[Places, Places]]:
    """All pairs of elements with the same key and different labels, in blocks."""
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    same = sorted_keys[1:] == sorted_keys[:-1]
    crowd = np.zeros(len(keys), bool)
    crowd[1:] |= same
    crowd[:-1] |= same
    order = order[crowd]
    order = order[np.lexsort((labels[order], keys[order]))]
    # a label's run within a key's run meets everything behind it in the key's run
    first = _run_ends(keys[order], labels[order])
    count = _run_ends(keys[order]) - first
    for left, right in _expand(first, count):
        yield order[left], order[right]


def near_codes(codes: Words, labels: NDArray[np.int32], radius: int) -> Iterator[tuple[Places, Places]]:
    """All pairs of 64-bit codes with different labels that differ in at most `radius` bits (0 to 11), in blocks.

    Exact: of four 16-bit chunks one differs in at most a quarter of the bits.  A pair may come up to four times.
    """
    flips = [sum(1 << bit for bit in bits) for size in range(radius // _CHUNKS + 1) for bits in _subsets(size)]
    for chunk in range(_CHUNKS):
        part = ((codes >> np.uint64(_BITS * chunk)) & np.uint64(2**_BITS - 1)).astype(np.int64)
        order = np.argsort(part, kind="stable")
        starts = np.searchsorted(part[order], np.arange(2**_BITS + 1))
        for flip in flips:
            for left, right in _meet(part[order], starts, flip):
                one, other = order[left], order[right]
                near = (labels[one] != labels[other]) & (np.bitwise_count(codes[one] ^ codes[other]) <= radius)
                if near.any():
                    yield one[near], other[near]


def _subsets(size: int) -> Iterator[tuple[int, ...]]:
    return combinations(range(_BITS), size)


def _meet(part: Places, starts: Places, flip: int) -> Iterator[tuple[Places, Places]]:
    """Places of chunks that differ in exactly the bits of `flip`, each pair once."""
    if flip == 0:
        first = np.arange(1, len(part) + 1)
        return _expand(first, starts[part + 1] - first)
    partner = part ^ flip
    count = np.where(part < partner, starts[partner + 1] - starts[partner], 0)
    return _expand(starts[partner], count)


def _expand(first: Places, count: Places) -> Iterator[tuple[Places, Places]]:
    """Pairs (i, first[i]), (i, first[i] + 1) ... `count[i]` of them, about BLOCK at a time."""
    left = np.flatnonzero(count)
    ends = np.cumsum(count[left])
    begin, done = 0, 0
    while begin < len(left):
        until = max(begin + 1, int(np.searchsorted(ends, done + BLOCK, side="right")))
        some = left[begin:until]
        numbers = count[some]
        before = np.cumsum(numbers) - numbers
        yield (
            np.repeat(some, numbers),
            np.repeat(first[some] - before, numbers) + np.arange(int(numbers.sum())),
        )
        done, begin = int(ends[until - 1]), until


def _run_ends(*columns: NDArray[np.generic]) -> Places:
    """For each place, where its run of equal values ends (one behind the last)."""
    n = len(columns[0])
    if n == 0:
        return np.empty(0, np.int64)
    changes = np.zeros(n - 1, bool)
    for column in columns:
        changes |= column[1:] != column[:-1]
    ends = np.append(np.flatnonzero(changes) + 1, n)
    return np.repeat(ends, np.diff(ends, prepend=0))
