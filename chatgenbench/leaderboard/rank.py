"""From submissions to a ranked board."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import UserError, shorten
from chatgenbench.leaderboard.board import Board
from chatgenbench.leaderboard.cells import (
    ALPHA,
    PERMUTATIONS,
    REFERENCES,
    SETS,
    cells_of,
    heads_of,
    with_detectable,
    worse,
)
from chatgenbench.leaderboard.field import Loaded, Tick, load
from chatgenbench.leaderboard.manifest import Claim
from chatgenbench.leaderboard.results import Cell, Entry, Head, Picture, Results
from chatgenbench.statistics import Clusters

#: What entries are sorted by where nobody says otherwise, the first that every entry has.
PRIMARY = ("unified", "bertscore")
#: Characters of prompts and chats that galleries show.
TOLD = 120


def rank(
    board: Board, benchmark: Benchmark, by: str | None = None, tick: Tick = lambda name, done, total: None
) -> Results:
    """Rank every submission of the board that is on `benchmark`.

    Args:
        by: metric to sort entries by; default: see PRIMARY.

    Raises:
        UserError: no submission can be ranked, or nobody has the metric `by`.
    """
    loaded, left_out = load(board, benchmark, tick)
    if not loaded:
        why = "; ".join(f"{slug}: {reason}" for slug, reason in left_out[:3])
        raise UserError(f"{board.root} holds no submission to rank{f' ({why})' if why else ''}: `leaderboard add` one")
    clusters = Clusters([item.demonstration for item in benchmark.items])
    heads = with_detectable(heads_of(loaded), loaded, clusters)
    primary = _primary(by, heads, loaded)
    cells = cells_of(loaded, heads, clusters, tick)
    attempts = _attempts(loaded)
    entries = [_entry(one, heads, cells[i], attempts[one.submission.slug]) for i, one in enumerate(loaded)]
    head = next(head for head in heads if head.name == primary)
    entries.sort(key=lambda entry: _place(entry, head))
    manifest = benchmark.manifest
    return Results(
        benchmark=manifest.name, version=manifest.version, hash=benchmark.hash, label=manifest.label,
        items=len(benchmark.items), demonstrations=len(clusters.keys), weights=manifest.weights, primary=primary,
        heads=tuple(heads), entries=tuple(entries), left_out=tuple(left_out), method=_method(clusters),
        absent=_absent(loaded), asked=_asked(entries, benchmark),
    )  # fmt: skip


def _primary(by: str | None, heads: Sequence[Head], loaded: Sequence[Loaded]) -> str:
    names = [head.name for head in heads]
    if by is not None and by not in names:
        raise UserError(f"no submission has '{by}': choose from {', '.join(names)}")
    shared = [name for name in PRIMARY if all(name in one.manifest.metrics for one in loaded)]
    return by or next(iter(shared), names[0])


def _attempts(loaded: Sequence[Loaded]) -> dict[str, tuple[int, int]]:
    """slug -> (which attempt of its system it is, of how many)."""
    by_name: dict[str, list[Loaded]] = defaultdict(list)
    for one in loaded:
        by_name[one.manifest.system.plain].append(one)
    found = {}
    for same in by_name.values():
        same.sort(key=lambda one: (one.manifest.created, one.submission.slug))
        found.update({one.submission.slug: (n, len(same)) for n, one in enumerate(same, 1)})
    return found


def _entry(one: Loaded, heads: Sequence[Head], cells: dict[str, Cell], attempt: tuple[int, int]) -> Entry:
    manifest, who = one.manifest, one.manifest.system
    known = {head.name for head in heads}
    return Entry.model_validate({
        "slug": one.submission.slug, "system": who.name, "revision": who.revision, "authors": who.authors,
        "link": who.link, "licence": who.licence, "training_data": who.training_data, "created": manifest.created,
        "key": manifest.key, "reference": one.is_reference, "level": one.level, "attempt": attempt[0],
        "attempts": attempt[1], "cost": manifest.cost, "outcomes": dict(sorted(one.outcomes.items())),
        "reasons": dict(one.reasons.most_common(20)), "versions": manifest.run.versions, "cells": cells,
        "slices": {
            where: {m: _cell(claim) for m, claim in claims.items() if m in known}
            for where, claims in manifest.slices.items()
        },
        "gallery": _gallery(one), "notes": _notes(one),
    })  # fmt: skip


def _gallery(one: Loaded) -> tuple[Picture, ...]:
    found = []
    for shot in one.manifest.gallery:
        prompt, model = one.plans.get(shot.item, ("", ""))
        found.append(Picture(item=shot.item, sha256=shot.sha256, prompt=shorten(prompt, TOLD), model=model))
    return tuple(found)


def _asked(entries: Sequence[Entry], benchmark: Benchmark) -> dict[str, str]:
    shown = {picture.item for entry in entries for picture in entry.gallery}
    asked = {item.id: " / ".join(item.input.text.splitlines()) for item in benchmark.items if item.id in shown}
    return {key: shorten(text, TOLD) for key, text in asked.items()}


def _absent(loaded: Sequence[Loaded]) -> tuple[str, ...]:
    """Reference systems that nobody submitted: without them nobody can say what a score is worth."""
    there = {one.manifest.system.plain for one in loaded if one.is_reference}
    return tuple(name for name in REFERENCES if name not in there)


def _cell(claim: Claim) -> Cell:
    return Cell(value=claim.value, low=claim.low, high=claim.high, n=claim.n)


def _notes(one: Loaded) -> tuple[str, ...]:
    """What a reader should know before comparing this entry with others."""
    notes = []
    if one.level != "reproduced" and any(name in one.manifest.metrics for name in SETS):
        notes.append("FID, unified score and slices are as stated by the submitter until every picture is drawn again")
    if one.is_reference:
        notes.append("a reference system: it is there so that scores can be judged, not to compete")
    return tuple(notes)


def _place(entry: Entry, head: Head) -> tuple[bool, float, str]:
    cell = entry.cells.get(head.name)
    return (cell is None, 0.0 if cell is None else worse(cell.value, head), entry.slug)


def _method(clusters: Clusters) -> str:
    return (
        f"Intervals: 95 %, bootstrap of whole demonstrations ({len(clusters.keys)}). Ties: each entry against the next "
        f"one below by a paired permutation test ({PERMUTATIONS:,} sign flips of whole demonstrations), p-values "
        f"Holm-adjusted over the neighbours of a metric, {ALPHA:g} wanted; neighbours that are not apart share a tie "
        "group, so entries at the two ends of a long group may well differ. FID and unified score: intervals as stated "
        "by the submitter, compared as if independent; those of entries that nobody reproduced count for no less than "
        "half and no more than twice the usual width."
    )
