"""`eval --dry-run`: what would be done and what it needs, before anything heavy starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from chatgenbench.benchmark import Benchmark
from chatgenbench.schema import Plan

if TYPE_CHECKING:
    from rich.console import Console

    from chatgenbench.commands import Request
    from chatgenbench.render import RenderEstimate
    from chatgenbench.systems import System

#: Models with unusable weights that are named.
SHOWN = 3


def explain(
    request: Request, benchmark: Benchmark, systems: Mapping[str, System], folders: Mapping[str, Path], console: Console
) -> None:
    """Print rows, pictures, loads, memory and disk for all systems together, each with its basis.

    Nothing is written.  Rows a system has not answered yet are counted as if it answered with the gold plan,
    the best guess there is before asking it.
    """
    from rich.table import Table

    from chatgenbench.commands import pool_of
    from chatgenbench.evaluate.pipeline import check_machine, picture_seed
    from chatgenbench.evaluate.run import RunFolder, identity_of, started
    from chatgenbench.quiet import quiet
    from chatgenbench.render import devices_for, plan_estimate
    from chatgenbench.render.bases import with_bases

    items = benchmark.subset(request.limit)
    for spec, system in systems.items():
        settings = request.settings(spec)
        started(folders[spec], identity_of(settings, benchmark, (system.name, system.revision)))
    with quiet():
        device, _ = check_machine(settings, benchmark)
    runs: list[list[tuple[str, Plan]]] = []
    answered = finished = 0
    for spec in systems:
        rows: list[tuple[str, Plan]] = []
        runs.append(rows)
        folder = RunFolder(folders[spec])
        planned, drawn = folder.planned(), folder.drawn()
        answered += sum(item.id in planned for item in items)
        finished += sum(item.id in drawn for item in items)
        for item in items:
            row = planned.get(item.id)
            if row is None:
                rows.append((item.id, benchmark.gold(item).plan))
            elif row.plan is not None:
                rows.append((item.id, row.plan))
    table = Table("what", "how much", "basis", title=f"Dry run on {benchmark.manifest.name}: nothing was started")
    table.add_row("rows", f"{len(items):,} items x {len(systems):,} systems", "--limit and the benchmark")
    table.add_row("answered already", f"{answered:,}", "plans.jsonl of the run folders")
    if not request.draw:
        why = "--no-render" if benchmark.manifest.pictures else "the benchmark has none"
        table.add_row("pictures", "none", f"{why}: plan -> score -> report, without picture metrics, FID and unified")
        console.print(table)
        return
    workers = len(devices_for(device, request.workers)) if request.executor == "local" else request.workers or 1
    based = with_bases(benchmark, dict(settings.bases)).benchmark
    estimate = plan_estimate(
        runs, based, pool_of(request), seed_of=lambda item: picture_seed(settings, item),
        batch_size=request.batch_size, device=device, workers=workers,
    )  # fmt: skip
    asked = (
        "rows not answered yet count as their gold plan" if answered < len(items) * len(systems) else "answers on disk"
    )
    basis = estimate.basis
    for what, value, why in (
        ("drawn already", f"{finished:,}", "pictures.jsonl of the run folders"),
        ("unique pictures", f"{estimate.unique:,}", f"{basis['unique']}; {asked}"),
        ("in the pool", f"{estimate.in_pool:,}", str(pool_of(request))),
        ("to draw", f"{estimate.unique - estimate.in_pool:,}", "unique less those in the pool"),
        ("undrawable rows", f"{estimate.undrawable:,}", _why_not(estimate)),
        ("checkpoint loads", f"{estimate.checkpoints:,}", basis["checkpoints"]),
        ("LoRA loads", f"{estimate.loras:,}", "each LoRA once on its warm base"),
        ("weights to fetch", _fetched(estimate), "; ".join([basis["fetch_bytes"], *_room(estimate)])),
        ("weights to read", _bytes(estimate.weight_bytes), basis["weight_bytes"]),
        ("new pictures on disk", _bytes(estimate.disk_bytes), basis["disk_bytes"]),
        ("peak memory", _bytes(estimate.peak_memory_bytes), basis["peak_memory_bytes"]),
        ("time to draw", _time(estimate.seconds), basis["seconds"]),
    ):
        table.add_row(what, value, why)
    console.print(table)


def _why_not(estimate: RenderEstimate) -> str:
    """What makes rows undrawable, with the first models whose weights are at fault."""
    why = "unknown model or sampler, size out of bounds, or weights that cannot be used"
    if not estimate.unusable:
        return why
    shown = [f"{model}: {reason}" for model, reason in sorted(estimate.unusable.items())[:SHOWN]]
    more = len(estimate.unusable) - len(shown)
    return "; ".join([f"{why}, e.g. {shown[0]}", *shown[1:], *([f"and {more:,} more models"] if more else [])])


def _fetched(estimate: RenderEstimate) -> str:
    if not estimate.fetched:
        return "none"
    return f"{estimate.fetched:,} models, {_bytes(estimate.fetch_bytes)}"


def _room(estimate: RenderEstimate) -> list[str]:
    """What of the room for weights is to be known before they are fetched; nothing where none are."""
    from shutil import disk_usage

    from chatgenbench.render.resolver import Fetching

    if not estimate.fetched:
        return []
    place = Fetching.of_environment()
    free = disk_usage(next(folder for folder in (place.root, *place.root.parents) if folder.is_dir())).free
    told = [f"{_bytes(free)} free at {place.root}"]
    if place.budget is not None:
        told.append(f"--weights-budget {_bytes(place.budget)}")
    if estimate.fetch_bytes > min(free, free if place.budget is None else place.budget):
        told.append(
            "too little to keep all: what was used longest ago goes first, and is fetched again when needed"
            if place.budget is not None
            else "too little: free some, or set --weights-budget"
        )
    return told


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
