"""Computes a submission again: scores of the plans for all rows, pictures of rows that nobody could foresee."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import InfraError
from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.evaluate.score import PLAN_METRICS, TEXT_METRICS, Scored, Scorers, score
from chatgenbench.evaluate.stepwise import COLUMNS as STEPWISE
from chatgenbench.evaluate.summary import summarise
from chatgenbench.leaderboard import choice
from chatgenbench.leaderboard.cells import SETS
from chatgenbench.leaderboard.columns import JOINT, read_text
from chatgenbench.leaderboard.manifest import CSV, Manifest
from chatgenbench.leaderboard.record import PHASH_BITS, TOLERANCES, Record
from chatgenbench.leaderboard.verification import Verification
from chatgenbench.render import Pool, draw, engine_fingerprint
from chatgenbench.render.bases import with_bases
from chatgenbench.render.checkpoints import dtype_name
from chatgenbench.schema import ARGUMENT_KEYS, DrawnRow, Outcome, Plan, PlannedRow

#: Differences that are written down.
NAMED = 100

#: tick(what, rows done, rows in all)
Tick = Callable[[str, int, int], None]


def verify(
    folder: Path, manifest: Manifest, benchmark: Benchmark, rows: int, secret: bytes, pool: Pool, created: str,
    device: str, batch_size: int, tick: Tick,
) -> Verification:  # fmt: skip
    """Compute again what a checked submission claims.

    Args:
        folder: the submission's; `check` found nothing wrong with it.
        rows: how many rows are drawn again, chosen by `secret`; as many as there are makes it "reproduced".

    Returns:
        Its level is "claimed" where something came out otherwise.

    Raises:
        InfraError: pictures could not be drawn on this machine.
    """
    weights = benchmark.manifest.weights
    told = _read(folder / CSV)
    claimed = _rows(told, benchmark)
    record = Record(manifest, told)
    with tempfile.TemporaryDirectory() as work:
        scored = _score(claimed, benchmark, Path(work), None, weights, device, manifest, tick)
        record.compare(scored.values, claimed, _step(scored))
        drawn = [row.item.id for row in claimed if told[row.item.id]["image_sha256"]]
        again = choice.chosen(drawn, rows, manifest.table.sha256, secret)
        if again:
            known = set(again)
            redrawn = _draw([row for row in claimed if row.item.id in known], benchmark, pool, device, batch_size, tick)
            whole = len(again) == len(drawn)
            part = _with_pictures(claimed if whole else [r for r in claimed if r.item.id in known], redrawn)
            scored = _score(part, benchmark, Path(work), pool, weights, device, manifest, tick)
            record.pictures(redrawn, pool)
            record.compare(scored.values, part, [m for m in scored.values if m not in _step(scored)])
            if whole:
                record.sets(summarise(part, scored, manifest.run.seed))
    engine = engine_fingerprint(device, dtype_name(device)) if again else ""
    return Verification(
        table=manifest.table.sha256, benchmark=benchmark.hash,
        level=record.level(len(again), len(drawn), engine == manifest.run.engine), rows=len(claimed),
        rerun=tuple(again), exact=record.exact, largest=dict(sorted(record.largest.items())),
        failures=tuple(record.failures[:NAMED]), tolerances=dict(TOLERANCES) | {"phash_bits": PHASH_BITS},
        engine=engine, device=device, created=created, secret=choice.fingerprint(secret) if again else "",
    )  # fmt: skip


def _read(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {line["id"]: line for line in csv.DictReader(file)}


def _rows(told: Mapping[str, Mapping[str, str]], benchmark: Benchmark) -> list[Row]:
    """The rows that a CSV tells of, without pictures, in the benchmark's order."""
    found = []
    for item in benchmark.items:
        cells = told[item.id]
        plan = _plan(cells)
        outcome = Outcome.OK if plan is not None else Outcome(cells["outcome"])
        planned = PlannedRow(item=item.id, outcome=outcome, plan=plan, reason=read_text(cells["reason"]) or None)
        found.append(Row(item, benchmark.gold(item), planned, None))
    return found


def _plan(cells: Mapping[str, str]) -> Plan | None:
    if not cells["model"]:
        return None
    asked = (*ARGUMENT_KEYS, "seed", "clip_skip", "lora_weight")
    ranking = read_text(cells["ranking"])
    return Plan.model_validate({
        "prompt": read_text(cells["prompt"]), "negative_prompt": read_text(cells["negative_prompt"]),
        "model": read_text(cells["model"]), "ranking": tuple(ranking.split(JOINT)) if ranking else (),
        "arguments": {key: read_text(cells[key]) for key in asked if cells[key]},
    })  # fmt: skip


def _step(scored: Scored) -> list[str]:
    return [name for name in scored.values if name in (*TEXT_METRICS, *STEPWISE, *PLAN_METRICS)]


def _score(
    rows: Sequence[Row], benchmark: Benchmark, work: Path, pool: Pool | None, weights: str, device: str,
    manifest: Manifest, tick: Tick,
) -> Scored:  # fmt: skip
    """Scores of rows, with their pictures where a pool is given."""
    from chatgenbench.home import home

    known = {*TEXT_METRICS, *STEPWISE, *SETS, "clipscore", "imagereward", "hpsv2", "clip_image"}
    extra = [name for name in manifest.metrics if name not in known] if pool is not None else []
    scorers = Scorers(weights, device, 32, extra, pictures=pool is not None)
    folder = RunFolder(work / ("plans" if pool is None else "pictures"))
    folder.path.mkdir(exist_ok=True)
    path = pool.picture if pool is not None else Path
    return score(rows, benchmark, folder, path, scorers, manifest.run.text, home() / "features", tick)


def _draw(
    rows: Sequence[Row], benchmark: Benchmark, pool: Pool, device: str, batch_size: int, tick: Tick
) -> dict[str, DrawnRow]:
    """The pictures of rows, drawn here (or taken from the pool, where this machine drew them before)."""
    plans = [(row.item.id, row.plan) for row in rows if row.plan is not None]
    found: dict[str, DrawnRow] = {}
    based = with_bases(benchmark, {}).benchmark
    for one in draw(plans, based, pool, seed_of=lambda item: 0, batch_size=batch_size, device=device):
        if one.outcome is Outcome.INFRA_FAILED:
            raise InfraError(f"'{one.item}' could not be drawn ({one.reason}): type the same command again")
        found[one.item] = one
        tick("draw again", len(found), len(plans))
    return found


def _with_pictures(rows: Sequence[Row], drawn: Mapping[str, DrawnRow]) -> list[Row]:
    """Rows with their new pictures; one that claims no picture is scored as the failure it claims to be."""
    found = []
    for row in rows:
        picture = drawn.get(row.item.id)
        if picture is None:
            picture = DrawnRow(item=row.item.id, outcome=Outcome.SYSTEM_FAILED, reason="claimed to have failed")
        found.append(Row(row.item, row.gold, row.planned, picture))
    return found
