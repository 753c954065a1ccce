"""What a run must have been made with, so that its numbers stand beside others."""

from __future__ import annotations

from chatgenbench.benchmark import Benchmark
from chatgenbench.evaluate.score import SCORING
from chatgenbench.leaderboard.manifest import How

#: The text that picture metrics read on a board: what the person wanted, said well.
TEXT = "gold"


def strange(run: How, benchmark: Benchmark) -> list[tuple[str, str, str]]:
    """(field of `run`, what it is, how to mend it) for each way in which a run's numbers are not the board's."""
    found = []
    if run.text != TEXT:
        found.append(("text", f"picture metrics read another text ({run.text})", f"run it with --text {TEXT}"))
    if run.weights != benchmark.manifest.weights:
        wanted = benchmark.manifest.weights
        found.append(("weights", f"scored with '{run.weights}' weights", f"score it with the benchmark's, {wanted}"))
    if run.scoring != SCORING:
        told = f"scored by rules {run.scoring}, here they are {SCORING}"
        found.append(("scoring", told, "type its eval command again with a current version, then submit"))
    return found
