"""The submissions that are ranked together, with their rows, and why others are left out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import UserError
from chatgenbench.leaderboard.board import Board, Submission, slug_of
from chatgenbench.leaderboard.keys import check_signature
from chatgenbench.leaderboard.manifest import CSV, Manifest
from chatgenbench.leaderboard.reader import read_scores
from chatgenbench.leaderboard.terms import strange
from chatgenbench.leaderboard.verification import level_of
from chatgenbench.statistics import Array
from chatgenbench.systems.declare import BUILTINS

Tick = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Loaded:
    """A submission that is ranked, with its per-row values (n,) by metric.

    `plans[item]` is (prompt, model) of the rows in its gallery.  `is_reference`: one of the systems that are there so
    that scores can be judged.
    """

    submission: Submission
    manifest: Manifest
    level: str
    outcomes: Counter[str]
    reasons: Counter[str]
    values: dict[str, Array]
    plans: dict[str, tuple[str, str]]
    is_reference: bool

    @property
    def name(self) -> str:
        return self.manifest.system.name


def load(board: Board, benchmark: Benchmark, tick: Tick) -> tuple[list[Loaded], list[tuple[str, str]]]:
    """Every submission that holds together, and why the others are left out."""
    wanted = [item.id for item in benchmark.items]
    loaded: list[Loaded] = []
    left_out: list[tuple[str, str]] = []
    named: dict[tuple[str, str], str] = {}
    submissions, maintainers = board.submissions(), board.maintainers()
    for done, submission in enumerate(submissions, 1):
        manifest, reason = submission.manifest, submission.reason
        if manifest is not None:
            name = (manifest.system.plain, manifest.system.revision)
            reason = _objection(manifest, submission.folder / CSV, benchmark) or (
                f"the same system and revision as {named[name]}" if name in named else None
            )
            slug = slug_of(manifest.system.name, manifest.system.revision)
            if slug != submission.slug and not reason:
                reason = f"its folder should be called {slug}: put it there with `leaderboard add`"
            if name[0] in BUILTINS and manifest.key not in maintainers:
                reason = f"'{name[0]}' is the name of a reference system, which only a maintainer submits"
            if not reason:
                named[name] = submission.slug
        if manifest is None or reason:
            left_out.append((submission.slug, reason or "its manifest cannot be read"))
        else:
            try:
                loaded.append(_read(submission, manifest, wanted, maintainers))
            except UserError as error:
                left_out.append((submission.slug, str(error)))
        tick("read", done, len(submissions))
    return loaded, left_out


def _read(submission: Submission, manifest: Manifest, wanted: list[str], maintainers: Collection[str]) -> Loaded:
    found = read_scores(submission.folder / CSV, {shot.item for shot in manifest.gallery})
    if list(found.ids) != wanted:
        raise UserError("its rows are not the benchmark's items")
    if not all(np.isfinite(column).all() for column in found.values.values()):
        raise UserError("some of its scores are no numbers")
    level = level_of(submission.folder, manifest, maintainers)
    outcomes, reasons = Counter(found.outcomes), Counter(filter(None, found.reasons))
    reference = manifest.system.plain in BUILTINS
    return Loaded(submission, manifest, level, outcomes, reasons, found.values, found.plans, reference)


def _objection(manifest: Manifest, path: Path, benchmark: Benchmark) -> str | None:
    if manifest.benchmark.hash != benchmark.hash:
        return f"it is of another version of the benchmark ({manifest.benchmark.version})"
    for _, what, _ in strange(manifest.run, benchmark):
        return what
    if (why := check_signature(manifest)) is not None:
        return why
    try:
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == manifest.table.sha256
    except OSError:
        same = False
    return None if same else f"{CSV} is not the file that was signed"
