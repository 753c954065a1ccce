"""What ranking finds: one structure, written to results.csv and results.json, read by the site."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chatgenbench.leaderboard.manifest import Cost
from chatgenbench.schema import Noun

#: How far an entry was looked into, from least to most.
LEVELS = ("claimed", "checked", "spot-rerun", "reproduced")
Level = Literal["claimed", "checked", "spot-rerun", "reproduced"]


class Head(Noun):
    """A metric's column: what it measures.  `per_row` is false for values of the whole set (FID, unified).

    `detectable` is the smallest true difference of two neighbours that this many demonstrations show with probability
    0.8 (None where rows have no value of their own, or nothing differs).
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool
    group: Literal["step-wise", "image"]
    per_row: bool
    detectable: float | None = None


class Cell(Noun):
    """One entry's value of one metric, over all items or a slice.

    `tie` is the number of its tie group (1 is best), `rank_low` and `rank_high` the first and last place of that group;
    `p_next` the Holm-adjusted p-value against the next entry below (None for the last one and in slices, where nothing
    is tested).  `reached_by` names reference systems that reach the value without doing the task.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int
    tie: int | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    p_next: float | None = None
    reached_by: tuple[str, ...] = ()


class Picture(Noun):
    """One thumbnail of a gallery, with what it was drawn from: the plan's prompt (shortened) and model."""

    item: str
    sha256: str
    prompt: str = ""
    model: str = ""


class Entry(Noun):
    """One submission on the board.

    `slug` is its folder's name and page.  `reference` marks systems that are there so that nobody fools anybody
    (oracle, random, stuffing, ...).  `attempt` of `attempts` counts the revisions that one system name (and key)
    submitted, by date.  `cells[metric]`; `slices["split=few-shot"][metric]`.  `notes` are one-line remarks to show.
    """

    slug: str
    system: str
    revision: str
    authors: tuple[str, ...]
    link: str
    licence: str
    training_data: str
    created: str
    key: str
    reference: bool
    level: Level
    attempt: int
    attempts: int
    cost: Cost
    outcomes: dict[str, int]
    reasons: dict[str, int] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    cells: dict[str, Cell]
    slices: dict[str, dict[str, Cell]] = Field(default_factory=dict)
    gallery: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()


class Results(Noun):
    """The board of one benchmark, entries best first by `primary`.

    `left_out` says which submissions are not on it and why (slug, reason); `absent` names reference systems that it
    lacks; `asked` holds the chats (shortened) of the items that galleries show.
    """

    benchmark: str
    version: str
    hash: str
    label: str
    items: int
    demonstrations: int
    weights: str
    primary: str
    heads: tuple[Head, ...]
    entries: tuple[Entry, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    absent: tuple[str, ...] = ()
    asked: dict[str, str] = Field(default_factory=dict)
    method: str = ""
