"""More items or more seeds?  How much of a metric's spread comes from each.

Two-way random effects without replication: value = mean + item + seed + rest.  The components come from the expected
mean squares of the analysis of variance (Searle, Casella and McCulloch 1992, "Variance Components", chapter 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from chatgenbench.statistics.intervals import Array


@dataclass(frozen=True)
class Components:
    """Variances of items, of seeds, and of what is left (item and seed together), in the metric's unit squared.

    `clipped` names components whose estimate was negative and is taken for 0.
    """

    item: float
    seed: float
    rest: float
    clipped: tuple[str, ...] = ()


def components(values: Array) -> Components:
    """The components of `values` (items, seeds).

    Raises:
        ValueError: fewer than two items or seeds.
    """
    items, seeds = values.shape
    if items < 2 or seeds < 2:
        raise ValueError(
            f"{items} items and {seeds} seeds: at least two of each are needed; run again with another --seed"
        )
    mean, by_item, by_seed = values.mean(), values.mean(axis=1), values.mean(axis=0)
    item_square = seeds * float(((by_item - mean) ** 2).sum()) / (items - 1)
    seed_square = items * float(((by_seed - mean) ** 2).sum()) / (seeds - 1)
    rest_square = float(((values - by_item[:, None] - by_seed + mean) ** 2).sum()) / ((items - 1) * (seeds - 1))
    found = {"item": (item_square - rest_square) / seeds, "seed": (seed_square - rest_square) / items}
    clipped = tuple(name for name, value in found.items() if value < 0)
    return Components(max(0.0, found["item"]), max(0.0, found["seed"]), rest_square, clipped)


def standard_error(parts: Components, items: int, seeds: int) -> float:
    """Standard error of the mean over so many items and seeds, both drawn anew."""
    return math.sqrt(parts.item / items + parts.seed / seeds + parts.rest / (items * seeds))


def what_to_add(parts: Components, items: int, seeds: int) -> tuple[Literal["items", "seeds"], float, float]:
    """What shrinks the standard error more when it is doubled, and the errors with twice the items and twice the seeds.

    Equal errors say items: they cost the same and also tell about more cases.
    """
    more_items = standard_error(parts, 2 * items, seeds)
    more_seeds = standard_error(parts, items, 2 * seeds)
    return ("items" if more_items <= more_seeds else "seeds"), more_items, more_seeds
