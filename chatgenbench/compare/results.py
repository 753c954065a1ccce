"""What the votes say: who wins, which metrics the voters agree with, and whether the voters agree at all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from chatgenbench.compare.agreement import Share, alpha, kappa, share, votes_to_tell, wilson
from chatgenbench.compare.ballots import Vote, VotesFile, votable
from chatgenbench.compare.pairing import Match
from chatgenbench.errors import UserError
from chatgenbench.evaluate.run import write_json
from chatgenbench.report import notes

#: Slices the votes are broken down by.
SLICES = ("split", "kind")

Results = dict[str, Any]


def results_path(votes: Path) -> Path:
    """`votes.jsonl` -> `votes_results.json`, beside it."""
    return votes.with_name(f"{votes.stem}_results.json")


def count_votes(file: VotesFile) -> Results:
    """Everything the votes of a file say, as votes_results.json holds it.

    Raises:
        UserError: nobody has voted yet.
        RunFolderError: the file is damaged, or of other runs.
    """
    match = file.match
    votes, stale = file.current()
    if not votes:
        raise UserError(f"{file.path} holds no vote on these runs: type the command without --results to vote")
    asked = votable(match)
    cast = [v for v in votes if v.choice != "skip"]
    return {
        "a": match.names[0], "b": match.names[1], "benchmark": notes.benchmark(match.a.summary),
        "label": notes.label(match.a.summary), "votes": len(cast), "skipped": len(votes) - len(cast),
        "on_other_pictures": stale, "items": len({v.item for v in cast}),
        "pairs": {"votable": len(asked.pairs), "same_picture": asked.same, "no_picture": asked.missing},
        "interval": "95% bootstrap clustered by demonstration (Wilson where all demonstrations say the same)",
        "win_rate": _sliced(match, cast, lambda part: _win_rate(match, part)),
        "metrics": {
            m: _sliced(match, cast, lambda part, m=m: _agreement(match, m, part))  # type: ignore[misc]
            for m in match.metrics
        },
        "between_voters": _between(cast), "position": _position(cast),
        "voters": dict(Counter(v.voter for v in cast)),
    }  # fmt: skip


def write_results(file: VotesFile, found: Results) -> Path:
    """Write votes_results.json beside the votes and return it."""
    path = results_path(file.path)
    write_json(path, _finite(found))
    return path


def _sliced(match: Match, votes: Sequence[Vote], measure: Callable[[Sequence[Vote]], Results]) -> Results:
    """A measure of all votes, and under `slices` of those on each split and kind of chat."""
    slices = {pair.item.id: pair.a.slices for pair in match.pairs}
    parts: dict[str, list[Vote]] = {}
    for name in SLICES:
        for value in sorted({slices[v.item][name] for v in votes}):
            parts[f"{name}={value}"] = [v for v in votes if slices[v.item][name] == value]
    return {**measure(votes), "slices": {where: measure(part) for where, part in parts.items()}}


def _win_rate(match: Match, votes: Sequence[Vote]) -> Results:
    """How often A wins, a tie counting half."""
    worth = {"a": 1.0, "tie": 0.5, "b": 0.0}
    found = _share(match, [(v, worth[v.winner]) for v in votes])
    counts = Counter(v.winner for v in votes)
    return {
        "a": counts["a"], "b": counts["b"], "ties": counts["tie"], **asdict(found),
        "demonstrations_needed": found.needed, "votes_to_tell": votes_to_tell(found),
    }  # fmt: skip


def _agreement(match: Match, metric: str, votes: Sequence[Vote]) -> Results:
    """In how many of the votes that chose a side the metric prefers the same side; its own ties are counted apart."""
    a, b = match.values(metric)
    preferred = dict(zip((p.item.id for p in match.pairs), np.sign(a - b) * match.sign(metric), strict=True))
    sided = [v for v in votes if v.winner in ("a", "b")]
    told = [(v, float((preferred[v.item] > 0) == (v.winner == "a"))) for v in sided if preferred[v.item] != 0]
    found = _share(match, told)
    return {**asdict(found), "metric_ties": len(sided) - len(told), "demonstrations_needed": found.needed,
            "votes_to_tell": votes_to_tell(found)}  # fmt: skip


def _share(match: Match, values: Sequence[tuple[Vote, float]]) -> Share:
    gold = {pair.item.id: pair.a.gold.id for pair in match.pairs}
    seed = int(match.a.manifest["identity"].get("seed") or 0)
    return share([value for _, value in values], [gold[vote.item] for vote, _ in values], seed)


def _between(votes: Sequence[Vote]) -> Results:
    """Agreement of the voters with each other, on A, B and tie."""
    said: dict[str, dict[str, str]] = {}
    for vote in votes:
        said.setdefault(vote.voter, {})[vote.item] = vote.winner
    units: dict[str, list[str]] = {}
    for vote in votes:
        units.setdefault(vote.item, []).append(vote.winner)
    pairs = [_pair(x, y, said[x], said[y]) for x, y in combinations(sorted(said), 2) if said[x].keys() & said[y].keys()]
    shared = [unit for unit in units.values() if len(unit) > 1]
    return {"voters": len(said), "items_shared": len(shared), "alpha": alpha(shared), "pairs": pairs}


def _pair(x: str, y: str, first: dict[str, str], second: dict[str, str]) -> Results:
    items = sorted(first.keys() & second.keys())
    ours, theirs = [first[i] for i in items], [second[i] for i in items]
    agreed = sum(o == t for o, t in zip(ours, theirs, strict=True))
    return {"voters": [x, y], "items": len(items), "agreed": agreed, "kappa": kappa(ours, theirs)}


def _position(votes: Sequence[Vote]) -> Results:
    """How often the left picture was chosen; without a bias about half of the votes that chose a side."""
    sided = [v for v in votes if v.choice in ("left", "right")]
    left = sum(v.choice == "left" for v in sided)
    low, high = wilson(left, len(sided))
    return {"left": left, "n": len(sided), "share": left / len(sided) if sided else math.nan, "low": low, "high": high}


def _finite(value: Any) -> Any:
    """`value` with null for what is no number, which JSON has no word for."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
