"""Blind votes on disk: who is asked what, which side is which, and a journal that a kill cannot hurt.

The file's first line names the two runs; each other line is a vote or takes one back.  Sides and order are drawn from
voter and item alone, so a voter who comes back meets the same pairs.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from chatgenbench import journal
from chatgenbench.compare.pairing import Match, Pair
from chatgenbench.errors import RunFolderError, UserError
from chatgenbench.report.data import RunData

Choice = Literal["left", "right", "tie", "skip"]
Winner = Literal["a", "b", "tie", "skip"]
CHOICES: tuple[Choice, ...] = get_args(Choice)

MAX_NAME = 40


@dataclass(frozen=True)
class Vote:
    """One voter's word on one item; `pictures` are the sha256 of what A and B drew, so that old votes are known."""

    voter: str
    item: str
    choice: Choice
    left: Literal["a", "b"]
    pictures: tuple[str, str]

    @property
    def winner(self) -> Winner:
        if self.choice in ("tie", "skip"):
            return self.choice
        other: Winner = "b" if self.left == "a" else "a"
        return self.left if self.choice == "left" else other


def left_side(voter: str, item: str) -> Literal["a", "b"]:
    """Which run's picture stands left for this voter and item."""
    return "a" if _draw("side", voter, item) % 2 else "b"


def order(voter: str, items: Iterable[str]) -> list[str]:
    """The items in the order in which this voter meets them."""
    return sorted(items, key=lambda item: (_draw("order", voter, item), item))


def _draw(*parts: str) -> int:
    return int(hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16], 16)


def voter_name(text: object) -> str:
    """A voter's name without outer space; UserError if there is none, or it cannot be printed on one line."""
    name = text.strip() if isinstance(text, str) else ""
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise UserError(f"a voter's name has 1 to {MAX_NAME} characters")
    return name


@dataclass(frozen=True)
class Votable:
    """The pairs people can be asked about, and how many cannot be voted on."""

    pairs: tuple[Pair, ...]
    same: int
    missing: int


def votable(match: Match, limit: int | None = None) -> Votable:
    """The first `limit` pairs of a stratified order in which both pictures are there and differ.

    Raises:
        UserError: there is no such pair.
    """
    there = [p for p in match.pairs if _there(match.a, p.a) and _there(match.b, p.b)]
    differ = [p for p in there if p.a.image_sha256 != p.b.image_sha256]
    if not differ:
        raise UserError("there is nothing to vote on: no item has two different pictures")
    chosen = _head(match, differ, limit)
    pairs = tuple(p for p in differ if p.item.id in chosen)
    return Votable(pairs, len(there) - len(differ), len(match.pairs) - len(there))


def _there(run: RunData, row: Any) -> bool:
    path = run.drawn(row)
    return path is not None and path.is_file()


def _head(match: Match, pairs: list[Pair], limit: int | None) -> set[str]:
    """Ids of `limit` of the pairs: a head of the benchmark's stratified order, as long as it takes."""
    ids = {p.item.id for p in pairs}
    wanted = len(ids) if limit is None else min(limit, len(ids))
    length, found = wanted, set[str]()
    while len(found) < wanted:
        found = ids & {item.id for item in match.benchmark.subset(length)}
        length += wanted - len(found)
    return found


class VotesFile:
    """The journal of votes on one match."""

    def __init__(self, path: Path, match: Match) -> None:
        self.path, self.match = path, match
        self._shown = {p.item.id: (str(p.a.image_sha256), str(p.b.image_sha256)) for p in match.pairs}

    def read(self) -> list[Vote]:
        """The votes that stand, oldest first: one for each voter and item, none that was taken back.

        Raises:
            RunFolderError: the file is damaged, or belongs to other runs.
        """
        standing: dict[tuple[str, str], Vote] = {}
        records = journal.read(self.path, _parsed)
        for number, record in enumerate(records):
            if number == 0:
                self._check(record)
            elif "undo" in record:
                standing.pop((record["voter"], record["undo"]), None)
            else:
                vote = _vote(record)
                standing.pop((vote.voter, vote.item), None)  # the newest word stands last
                standing[vote.voter, vote.item] = vote
        return list(standing.values())

    def current(self) -> tuple[list[Vote], int]:
        """The votes on pictures these runs still have, and how many are on others."""
        votes = self.read()
        kept = [v for v in votes if self._shown.get(v.item) == v.pictures]
        return kept, len(votes) - len(kept)

    @contextmanager
    def writing(self) -> Iterator[Book]:
        """Hold the file for this process and append to it; a second process is told so.

        Raises:
            UserError: the file cannot be used, or another process holds it.
            RunFolderError: it is damaged, or of other runs.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = self.path.with_name(f".{self.path.name}.lock").open("w")
        except OSError as error:
            raise UserError(f"--out {self.path} cannot be used ({error.strerror}): choose another") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(f"another chatgenbench is collecting votes in {self.path}: use its page") from None
            self.read()
            with journal.Journal(self.path) as lines:
                if self.path.stat().st_size == 0:
                    lines.append(self._header())
                yield Book(lines)

    def pictures(self, item: str) -> tuple[str, str]:
        return self._shown[item]

    def _header(self) -> dict[str, Any]:
        return {"votes": 1, "benchmark_hash": self.match.benchmark.hash, **{
            side: {k: run.manifest["identity"].get(k) for k in ("system", "system_spec", "system_revision", "seed")}
            for side, run in (("a", self.match.a), ("b", self.match.b))
        }}  # fmt: skip

    def _check(self, header: dict[str, Any]) -> None:
        ours = self._header()
        if header == ours:
            return
        swapped = {**ours, "a": ours["b"], "b": ours["a"]}
        if header == swapped:
            raise RunFolderError(f"{self.path} holds votes on these runs the other way round: name RUN_B first")
        raise RunFolderError(f"{self.path} holds votes on other runs: choose another --out")


class Book:
    """Votes on their way to the disk, each synced before it counts."""

    def __init__(self, lines: journal.Journal) -> None:
        self._lines = lines

    def vote(self, vote: Vote, seconds: float | None = None) -> None:
        self._lines.append({
            "voter": vote.voter, "item": vote.item, "choice": vote.choice, "left": vote.left, "winner": vote.winner,
            "pictures": list(vote.pictures), "seconds": seconds, "at": _now(),
        })  # fmt: skip

    def undo(self, voter: str, item: str) -> None:
        self._lines.append({"voter": voter, "undo": item, "at": _now()})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _parsed(record: Any) -> dict[str, Any]:
    """One line of the file: the head, a vote, or one that is taken back."""
    if not isinstance(record, dict):
        raise ValueError("not an object")
    if "votes" not in record and "undo" not in record:
        _vote(record)
    elif "undo" in record:
        str(record["voter"])
    return record


def _vote(record: dict[str, Any]) -> Vote:
    choice, left, pictures = record["choice"], record["left"], record["pictures"]
    if choice not in CHOICES or left not in ("a", "b") or len(pictures) != 2:
        raise ValueError("not a vote")
    return Vote(str(record["voter"]), str(record["item"]), choice, left, (str(pictures[0]), str(pictures[1])))
