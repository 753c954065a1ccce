"""Train, supervised test and few-shot test: which record lies where.

A *component* is what must not be torn apart: records of one creator, records of one near-duplicate cluster, and what
is linked through them.  Whole components go to train or to test, in an order drawn from the seed, until each stratum
(base model, expected kind of test) holds its share.

**The threshold.**  A test record is *few-shot* when its target model occurs in train at most `few_shot_threshold` times
(20 by default, and at least `min_train` times), *supervised* when it occurs there more often.  A model with more than
`few_shot_threshold` records outside the test share is expected to be supervised, and no test record is taken that would
bring it down to the threshold.

A test component is wholly supervised or wholly few-shot: the majority decides, the others of it are dropped as
`crosses-test-splits`.  A test record whose model is not left in train is dropped as `model-not-in-train`.
Components of more than 10 records that are more than `largest_component` of all go to train, unless a test split would
stay empty.  Nothing is forced: without two components, or without a model on either side of the threshold, a test
split is empty, and `Assigned.notes` says so.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from chatgenbench.build.near import Groups
from chatgenbench.build.records import Drop
from chatgenbench.errors import UserError

#: What becomes of a record, by its code; from code 3 on it is dropped, and this is the reason.
OUTCOMES = ("train", "supervised", "few-shot", "model-not-in-train", "crosses-test-splits")
TRAIN, SUPERVISED, FEW_SHOT, NOT_IN_TRAIN, CROSSES = range(5)
#: Components up to this many records may be tested in a data set of any size.
SMALL_COMPONENT = 10
#: Effort when a kind of test would stay empty: components tried, and as many pairs, times components chosen so far.
RESCUES = 10_000
Codes = NDArray[np.int32]


@dataclass(frozen=True)
class SplitSettings:
    """`test_share` (0 to 0.5) of the records go to test, both kinds together.

    Raises:
        UserError: a number outside its range.
    """

    seed: int = 0
    test_share: float = 0.1
    few_shot_threshold: int = 20
    min_train: int = 1
    largest_component: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.test_share <= 0.5:
            raise UserError(f"test share {self.test_share} must lie between 0 and 0.5")
        if not 1 <= self.min_train <= self.few_shot_threshold:
            raise UserError(
                f"a few-shot model occurs in train {self.min_train} to {self.few_shot_threshold} times: give a range"
            )
        if not 0 < self.largest_component <= 1:
            raise UserError(f"largest component {self.largest_component} must be a share of the records, up to 1")


@dataclass(frozen=True, eq=False)
class Columns:
    """Numbers that stand for the records, one each: `key` for the id under the seed, -1 for an unknown creator."""

    key: NDArray[np.uint64]
    model: Codes
    creator: Codes
    cluster: Codes
    base_model: Codes


@dataclass(frozen=True, eq=False)
class Assigned:
    """What becomes of each record (see OUTCOMES), and the component it belongs to."""

    code: NDArray[np.int8]
    component: Codes

    def of(self, index: int, key: str) -> str | Drop:
        """`train`, `supervised` or `few-shot`, or the drop of record `key` at place `index`."""
        code = int(self.code[index])
        return OUTCOMES[code] if code <= FEW_SHOT else Drop(key, OUTCOMES[code])

    @property
    def notes(self) -> list[str]:
        """What a person should be told: test splits that are empty."""
        return [
            f"no {OUTCOMES[code]} test records: too few records, creators or models for this threshold"
            for code in (SUPERVISED, FEW_SHOT)
            if not (self.code == code).any()
        ]


def read(path: Path, clusters: Codes, seed: int = 0) -> Columns:
    """The columns of a file of `Record` lines; `clusters` has one number a line."""
    codes: tuple[dict[str, int], ...] = ({}, {}, {})
    keys, model, creator, base = array("Q"), array("i"), array("i"), array("i")
    with path.open("rb", buffering=1 << 20) as file:
        for line in file:
            record = orjson.loads(line)
            keys.append(_key(seed, record["id"]))
            name = record["plan"]["model"]
            model.append(codes[0].setdefault(name, len(codes[0])))
            who = record.get("creator", "")
            creator.append(codes[1].setdefault(who, len(codes[1])) if who else -1)
            base.append(codes[2].setdefault(record["base_model"], len(codes[2])))
    if len(clusters) != len(keys):
        raise ValueError(f"{len(clusters)} clusters for {len(keys)} records")
    made = [np.array(values, np.int32) for values in (model, creator, base)]
    return Columns(np.array(keys, np.uint64), made[0], made[1], clusters.astype(np.int32), made[2])


def _key(seed: int, name: str) -> int:
    return int.from_bytes(blake2b(f"{seed}\n{name}".encode(), digest_size=8).digest(), "little")


def assign(columns: Columns, settings: SplitSettings) -> Assigned:
    """Place every record.  The outcome of an id depends on the seed and on what the records are, not on their order."""
    n = len(columns.key)
    component = _components(columns)
    drawn = _Draw(columns, component, settings)
    drawn.fill(max(SMALL_COMPONENT, settings.largest_component * n), (True, False))
    drawn.fill(settings.test_share * n, drawn.missing())
    for kind in drawn.missing() if settings.test_share else ():
        drawn.rescue(kind)
    return Assigned(drawn.codes(), component)


def _components(columns: Columns) -> Codes:
    groups = Groups(len(columns.key))
    groups.join_equal(columns.cluster)
    groups.join_equal(columns.creator, columns.creator >= 0)
    return groups.roots().copy()


class _Draw:
    """Test components being chosen.  `left` counts each model's records that are not in a test component."""

    def __init__(self, columns: Columns, component: Codes, settings: SplitSettings) -> None:
        self._settings, self._model, n = settings, columns.model, len(columns.key)
        total = np.bincount(columns.model) if n else np.zeros(0, np.int64)
        common = np.rint(total * (1 - settings.test_share)) > settings.few_shot_threshold
        self._common: list[bool] = common.tolist()
        self._left: list[int] = total.tolist()
        self._members = np.lexsort((columns.key, component))
        bounds = np.flatnonzero(np.diff(component[self._members], prepend=-1, append=-1)) if n else np.zeros(1, int)
        self._bounds: list[int] = bounds.tolist()
        sizes = np.diff(bounds)
        # members are sorted by key within a component, so the first is the one that stands for it
        first = self._members[bounds[:-1]] if n else np.zeros(0, np.int64)
        self._order: list[int] = np.lexsort((first, columns.key[first])).tolist()
        self._rank = {index: place for place, index in enumerate(self._order)}
        commons = np.add.reduceat(common[columns.model[self._members]], bounds[:-1]) if n else np.zeros(0, int)
        self._kind = (2 * commons >= sizes).tolist()
        self._stratum = self._strata(columns, component)
        self._room = _quotas(self._stratum, sizes, settings.test_share)
        self._chosen: list[int] = []

    def _strata(self, columns: Columns, component: Codes) -> list[tuple[int, bool]]:
        """Per component: the smallest of its most frequent base models (named by their smallest key), and its kind."""
        names = _by_key(columns.base_model, columns.key)
        found = []
        for index, kind in enumerate(self._kind):
            lines = self._members[self._bounds[index] : self._bounds[index + 1]]
            counted = np.bincount(names[lines]) if len(lines) > 1 else None
            found.append((int(names[lines[0]]) if counted is None else int(counted.argmax()), kind))
        return found

    def missing(self) -> list[bool]:
        """The kinds of test (True: supervised) that have no record yet."""
        found = set(self.codes().tolist())
        return [kind for kind, code in ((True, SUPERVISED), (False, FEW_SHOT)) if code not in found]

    def fill(self, limit: float, kinds: Sequence[bool]) -> None:
        """Take components of up to `limit` records until the strata are full: first those that cost no record."""
        for spare in (0.0, 0.5):
            taken = set(self._chosen)
            for index in self._order:
                size, stratum = self._size(index), self._stratum[index]
                if index in taken or stratum[1] not in kinds or size > min(limit, self._room[stratum]):
                    continue
                loss = self._loss(index)
                if loss is not None and loss <= spare * size:
                    self._take(index)

    def rescue(self, kind: bool) -> None:
        """Give a kind without records the smallest component, or pair of them, that brings it one.

        Components expected to be of this kind come first; any other will do that does not empty the other kind.  Train
        keeps at least half of the records.
        """
        wanted = [one for one in self.missing() if one != kind]
        room = len(self._model) // 2 - sum(map(self._size, self._chosen))
        free = sorted(set(range(len(self._kind))) - set(self._chosen), key=lambda i: (self._size(i), self._rank[i]))
        free.sort(key=lambda i: self._kind[i] != kind)
        tries = max(10, RESCUES // (1 + len(self._chosen)))  # each looks at all that is chosen
        singles, few = ((index,) for index in free[:tries]), free[: int((2 * tries) ** 0.5)]
        for some in chain(singles, combinations(few, 2)):
            if sum(map(self._size, some)) > room:
                continue
            for index in some:
                self._take(index)
            if self.missing() == wanted:
                return
            for _ in some:
                self._give_back()

    def _size(self, index: int) -> int:
        return self._bounds[index + 1] - self._bounds[index]

    def _models(self, index: int) -> Counter[int]:
        return Counter(self._model[self._members[self._bounds[index] : self._bounds[index + 1]]].tolist())

    def _loss(self, index: int) -> int | None:
        """How many records of the component testing it would cost; None if a common model would become rare."""
        lost = 0
        for model, number in self._models(index).items():
            rest = self._left[model] - number
            if self._common[model] and rest <= self._settings.few_shot_threshold:
                return None
            if self._common[model] != self._kind[index] or rest < self._settings.min_train:
                lost += number
        return lost

    def _take(self, index: int) -> None:
        self._chosen.append(index)
        self._room[self._stratum[index]] -= self._size(index)
        for model, number in self._models(index).items():
            self._left[model] -= number

    def _give_back(self) -> None:
        index = self._chosen.pop()
        self._room[self._stratum[index]] += self._size(index)
        for model, number in self._models(index).items():
            self._left[model] += number

    def codes(self) -> NDArray[np.int8]:
        """The outcome of every record, from what really is in train now."""
        code = np.full(len(self._model), TRAIN, np.int8)
        left = np.array(self._left, np.int64)
        for index in self._chosen:
            lines = self._members[self._bounds[index] : self._bounds[index + 1]]
            occurs = left[self._model[lines]]
            kind = np.where(occurs > self._settings.few_shot_threshold, SUPERVISED, FEW_SHOT)
            alive = occurs >= self._settings.min_train
            most = SUPERVISED if 2 * (kind[alive] == SUPERVISED).sum() >= alive.sum() else FEW_SHOT
            code[lines] = np.where(~alive, NOT_IN_TRAIN, np.where(kind == most, kind, CROSSES))
        return code


def _by_key(codes: Codes, key: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The same codes, numbered by the smallest key that carries each, so that numbers do not depend on row order."""
    smallest = np.full(int(codes.max(initial=-1)) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, codes, key)
    rank = np.empty(len(smallest), np.int64)
    rank[np.argsort(smallest, kind="stable")] = np.arange(len(smallest))
    return rank[codes]


def _quotas(strata: list[tuple[int, bool]], sizes: NDArray[np.int64], share: float) -> dict[tuple[int, bool], int]:
    """Records of each stratum for test; fractions are given to the strata with the largest ones."""
    records: Counter[tuple[int, bool]] = Counter()
    for stratum, size in zip(strata, sizes.tolist(), strict=True):
        records[stratum] += size
    exact = {stratum: share * number for stratum, number in sorted(records.items())}
    quota = {stratum: int(value) for stratum, value in exact.items()}
    missing = round(sum(exact.values())) - sum(quota.values())
    for stratum in sorted(exact, key=lambda s: (quota[s] - exact[s], s))[: max(0, missing)]:
        quota[stratum] += 1
    return quota
