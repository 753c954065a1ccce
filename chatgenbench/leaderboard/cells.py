"""Every metric of every entry: value, interval, tie group, and which reference systems reach it.

Entries are sorted by a metric and each is tested against the next one below: a paired permutation test over the rows
of both, whole demonstrations flipped together, Holm-adjusted over all neighbours of that metric.  Neighbours that
cannot be told apart share a tie group.  FID and the unified score belong to the whole set of pictures: of them a
submission states an interval, and neighbours are compared by a normal approximation of both intervals, taken as
independent, which errs towards ties; one that nobody reproduced is held to what is usual on the board.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.stats import norm

from chatgenbench.evaluate.stepwise import COLUMNS as STEPWISE
from chatgenbench.evaluate.summary import HEADLINE
from chatgenbench.leaderboard.field import Loaded, Tick
from chatgenbench.leaderboard.manifest import Claim
from chatgenbench.leaderboard.results import Cell, Head
from chatgenbench.statistics import (
    Array,
    Clusters,
    Interval,
    detectable,
    holm,
    mean_intervals,
    p_values,
    spread_of,
    tie_groups,
)  # fmt: skip

#: Metrics of the whole set, whose values are the manifest's.
SETS = ("fid", "unified")
#: Reference systems that do not do the task: whoever they reach is told so.
CHEATERS = ("stuffing", "echo", "popular", "random")
#: What every board should list, so that a score can be judged.
REFERENCES = ("oracle", *CHEATERS)
ALPHA = 0.05
PERMUTATIONS = 4000


def heads_of(loaded: Sequence[Loaded]) -> list[Head]:
    """The metrics of the board: those that any entry states, the headline first."""
    claims: dict[str, Claim] = {}
    for one in sorted(loaded, key=lambda one: not one.is_reference):  # whose units are ours
        for name, claim in one.manifest.metrics.items():
            claims.setdefault(name, claim)
    names = [n for n in HEADLINE if n in claims] + [n for n in claims if n not in HEADLINE]
    step = {"bertscore", "sbert", *STEPWISE}
    return [
        Head(
            name=n, title=claims[n].title, unit=claims[n].unit, higher_is_better=claims[n].higher_is_better,
            group="step-wise" if n in step else "image", per_row=n not in SETS,
        )
        for n in names
    ]  # fmt: skip


def cells_of(loaded: Sequence[Loaded], heads: Sequence[Head], clusters: Clusters, tick: Tick) -> list[dict[str, Cell]]:
    """For each entry, its cells by metric, with tie groups and tests."""
    intervals = _intervals(loaded, heads, clusters)
    cells: list[dict[str, Cell]] = [{} for _ in loaded]
    for done, head in enumerate(heads, 1):
        having = [i for i in range(len(loaded)) if head.name in intervals[i]]
        order = sorted(having, key=lambda i: (worse(intervals[i][head.name].value, head), loaded[i].submission.slug))
        adjusted = holm(_neighbours(head, order, loaded, intervals, clusters))
        for place, tie, group in _ties(adjusted, len(order)):
            i = order[place]
            found = intervals[i][head.name]
            p_next = float(adjusted[place]) if place < len(adjusted) else None
            cells[i][head.name] = Cell(
                value=found.value, low=found.low, high=found.high, n=found.n, tie=tie, rank_low=group[0],
                rank_high=group[1], p_next=p_next, reached_by=_reached(i, head, loaded, intervals),
            )  # fmt: skip
        tick("rank", done, len(heads))
    return cells


def with_detectable(heads: Sequence[Head], loaded: Sequence[Loaded], clusters: Clusters) -> list[Head]:
    """The heads with the difference that a typical pair of neighbours must have to be told apart."""
    return [head.model_copy(update={"detectable": _detectable(head, loaded, clusters)}) for head in heads]


def _detectable(head: Head, loaded: Sequence[Loaded], clusters: Clusters) -> float | None:
    rows = [one.values[head.name] for one in loaded if head.name in one.values]
    if not head.per_row or len(rows) < 2 or len(clusters.keys) < 2:
        return None
    rows.sort(key=lambda values: float(values.mean()))
    spread = float(np.median([spread_of(one, other, clusters) for one, other in pairwise(rows)]))
    return detectable(spread, len(clusters.keys)) if spread > 0 else None


@dataclass(frozen=True)
class _Value:
    value: float
    low: float | None
    high: float | None
    n: int


def _intervals(loaded: Sequence[Loaded], heads: Sequence[Head], clusters: Clusters) -> list[dict[str, _Value]]:
    """Value and interval of each metric of each entry: from its rows, or as stated where no row has one."""
    places = [(i, h.name) for i, one in enumerate(loaded) for h in heads if h.name in one.values]
    found: list[dict[str, _Value]] = [{} for _ in loaded]
    if places:
        matrix = np.stack([loaded[i].values[name] for i, name in places], axis=1)
        for (i, name), interval in zip(places, mean_intervals(matrix, clusters), strict=True):
            found[i][name] = _of(interval)
    for i, one in enumerate(loaded):
        for name in SETS:
            if (claim := one.manifest.metrics.get(name)) is not None:
                found[i][name] = _Value(claim.value, claim.low, claim.high, claim.n)
    return found


def _of(interval: Interval) -> _Value:
    return _Value(interval.value, interval.low, interval.high, interval.n)


def _neighbours(
    head: Head, order: Sequence[int], loaded: Sequence[Loaded], intervals: Sequence[Mapping[str, _Value]],
    clusters: Clusters,
) -> Array:  # fmt: skip
    """The p-value of each entry against the next one below."""
    if not head.per_row:
        errors = _errors([intervals[i][head.name] for i in order], [loaded[i].level == "reproduced" for i in order])
        values = [intervals[i][head.name].value for i in order]
        return np.array([_apart(*ends) for ends in pairwise(zip(values, errors, strict=True))])
    rows = np.stack([loaded[i].values[head.name] for i in order], axis=1)
    return p_values(rows[:, :-1], rows[:, 1:], clusters, PERMUTATIONS)


def _errors(values: Sequence[_Value], known: Sequence[bool]) -> list[float | None]:
    """Standard errors from 95 % intervals.

    One that nobody reproduced counts for no less than half and no more than twice the median of all: an interval that
    is stated too narrow separates nobody, one that is stated too wide ties with nobody better.
    """
    width = 2 * norm.ppf(0.975)
    stated = [None if v.low is None or v.high is None else (v.high - v.low) / width for v in values]
    usual = [error for error in stated if error is not None]
    if not usual:
        return stated
    middle = float(np.median(usual))
    return [
        error if error is None or sure else min(max(error, middle / 2), 2 * middle)
        for error, sure in zip(stated, known, strict=True)
    ]


def _apart(one: tuple[float, float | None], other: tuple[float, float | None]) -> float:
    """Two-sided p-value that two (value, standard error) are the same; 1 where an error is missing."""
    if one[1] is None or other[1] is None:
        return 1.0
    spread = math.hypot(one[1], other[1])
    if spread == 0:
        return 1.0 if one[0] == other[0] else 0.0
    return float(2 * norm.sf(abs(one[0] - other[0]) / spread))


def _ties(adjusted: Array, number: int) -> list[tuple[int, int, tuple[int, int]]]:
    """(place, number of its tie group, (first rank, last rank) of the group) for each place of the order."""
    groups = tie_groups(adjusted, ALPHA) if number else []
    return [(p, g, (group[0] + 1, group[-1] + 1)) for g, group in enumerate(groups, 1) for p in group]


def _reached(
    i: int, head: Head, loaded: Sequence[Loaded], intervals: Sequence[Mapping[str, _Value]]
) -> tuple[str, ...]:
    """Reference systems that do not do the task and are as good as an entry."""
    if loaded[i].is_reference and loaded[i].name in CHEATERS:
        return ()
    own = worse(intervals[i][head.name].value, head)
    found = {
        other.name
        for j, other in enumerate(loaded)
        if other.name in CHEATERS and head.name in intervals[j]
        and worse(intervals[j][head.name].value, head) <= own
    }  # fmt: skip
    return tuple(sorted(found))


def worse(value: float, head: Head) -> float:
    """A number that is smaller for better values."""
    return -value if head.higher_is_better else value
