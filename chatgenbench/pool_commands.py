"""What `chatgenbench pool` does, as plain functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatgenbench.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from chatgenbench.render import Pool
    from chatgenbench.schema import DrawnRow

#: Broken pictures that are named; the rest is counted.
SHOWN = 50
GB = 1_000_000_000


def run_stats(root: str | None, console: Console) -> None:
    """Count the pool."""
    from chatgenbench.render import upkeep

    pool = _pool(root)
    found = upkeep.stats(pool)
    _say(console, f"pool:     {pool}")
    _say(console, f"pictures: {found.pictures:,}, {_size(found.size)}")
    if found.oldest is not None and found.newest is not None:
        _say(console, f"written:  {_day(found.oldest)} to {_day(found.newest)}")
    if found.staged:
        _say(console, f"on their way in, or left by a kill: {found.staged} batches (the next run tidies up)")
    if found.strange:
        _say(console, f"no pictures of ours: {len(found.strange)} files, e.g. {found.strange[0]}")


def run_verify(root: str | None, runs: Sequence[Path], remove: bool, console: Console) -> bool:
    """Look at every picture; True if one is broken."""
    from chatgenbench.render import upkeep

    pool = _pool(root)
    known = {r.picture: r.image_sha256 for p in runs for r in _drawn(p) if r.picture and r.image_sha256}
    from chatgenbench.commands import Bars, bars

    with bars(console) as progress:
        tick: Any = Bars(progress, "pool").tick
        found = list(upkeep.broken(pool, known, lambda done, total: tick("verify", done, total)))
    for digest, what in found[:SHOWN]:
        _say(console, f"{pool.where(digest)}: {what}")
    if len(found) > SHOWN:
        _say(console, f"... and {len(found) - SHOWN:,} more")
    missing = known.keys() - pool.present(known)
    if missing:
        _say(console, f"{len(missing):,} pictures of these runs are not there: type their eval command to draw them")
    if not found:
        _say(console, f"{pool}: every picture is whole")
    elif remove:
        pool.remove(digest for digest, _ in found)
        _say(console, f"{len(found):,} removed: they are drawn again when a run needs them")
    else:
        _say(console, f"{len(found):,} broken: --remove takes them out, so that they are drawn again")
    return bool(found) and not remove


def run_gc(
    root: str | None, keep: Sequence[Path], days: float, max_gb: float | None, dry_run: bool, console: Console
) -> None:
    """Remove what nobody needs."""
    from chatgenbench.render import upkeep

    if not keep and not days and max_gb is None:
        raise UserError("say what may go: --keep RUN (all but its pictures), --days N, or --max-gb N")
    pool = _pool(root)
    needed = {row.picture for path in keep for run in _runs(path) for row in _drawn(run) if row.picture}
    chosen = upkeep.disposable(pool, needed, days, None if max_gb is None else max_gb * GB)
    told = f"{len(chosen):,} pictures, {_size(sum(one.size for one in chosen))}"
    if dry_run:
        _say(console, f"would remove {told}; {len(needed):,} are needed by the runs named")
        return
    pool.remove(one.digest for one in chosen)
    _say(console, f"removed {told}; {len(needed):,} are needed by the runs named")


def _pool(root: str | None) -> Pool:
    from chatgenbench.home import home
    from chatgenbench.render import Pool

    pool = Pool(root or home() / "pool")
    if not pool.there():
        raise UserError(f"there is no pool at {pool}: name one with --pool, or run `chatgenbench eval` first")
    return pool


def _runs(path: Path) -> list[Path]:
    """A run folder, or the runs directly in a folder."""
    if (path / "run.json").is_file():
        return [path]
    found = sorted(one.parent for one in path.glob("*/run.json"))
    if not found:
        raise UserError(f"--keep {path} is neither a run nor a folder of runs: nothing was removed")
    return found


def _drawn(path: Path) -> Iterator[DrawnRow]:
    from chatgenbench import journal
    from chatgenbench.evaluate.run import RunFolder
    from chatgenbench.schema import DrawnRow

    folder = RunFolder(path)
    folder.read_manifest()
    yield from journal.read(folder.pictures, DrawnRow.model_validate)
    ladder = path / "ladder"
    for rung in sorted(ladder.glob("*/run.json")):
        yield from journal.read(RunFolder(rung.parent).pictures, DrawnRow.model_validate)


def _size(count: int) -> str:
    if count >= GB / 10:
        return f"{count / GB:.2f} GB"
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def _say(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
