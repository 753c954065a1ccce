"""What `chatgenbench leaderboard` and its subcommands do, as plain functions: load, call, print."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from chatgenbench.benchmark import load_benchmark
from chatgenbench.errors import UserError, shorten

if TYPE_CHECKING:
    from rich.console import Console

    from chatgenbench.leaderboard.results import Results

#: Problems and differences that are printed; the rest is counted.
SHOWN = 50


@dataclass(frozen=True)
class Submit:
    """The options of `leaderboard submit`."""

    run: Path
    key: Path
    out: Path
    authors: tuple[str, ...]
    licence: str
    training_data: str
    name: str | None
    revision: str | None
    link: str
    seconds: float | None
    tokens: float | None
    usd: float | None
    benchmark: str


@dataclass(frozen=True)
class Verify:
    """The options of `leaderboard verify`."""

    submission: Path
    rows: int
    benchmark: str
    key: Path | None
    secret: Path | None
    device: str
    batch_size: int
    pool: str | None


def run_keygen(path: Path, console: Console) -> None:
    """Make a key."""
    from chatgenbench.leaderboard.keys import keygen

    public = keygen(path)
    _say(console, f"private key: {path} (keep it to yourself; whoever has it can sign in your name)")
    _say(console, f"public key:  {public}")


def run_submit(asked: Submit, console: Console) -> None:
    """Write a submission."""
    from pydantic import ValidationError

    from chatgenbench.dates import today
    from chatgenbench.evaluate.run import RunFolder
    from chatgenbench.leaderboard import keys
    from chatgenbench.leaderboard.manifest import Cost, Who
    from chatgenbench.leaderboard.submit import submit
    from chatgenbench.render import Pool
    from chatgenbench.report.data import read_run

    benchmark = load_benchmark(asked.benchmark)
    folder = RunFolder(asked.run)
    manifest = folder.read_manifest()
    pool = Pool(manifest["pool"]) if manifest.get("pool") else None
    run = read_run(folder, benchmark, pool.picture if pool is not None else Path)
    try:
        who = Who(
            name=asked.name or run.name, revision=asked.revision or str(manifest["identity"]["system_revision"]),
            authors=asked.authors, link=asked.link, licence=asked.licence, training_data=asked.training_data,
        )  # fmt: skip
        cost = Cost(seconds=asked.seconds, tokens=asked.tokens, usd=asked.usd)
    except ValidationError as error:
        first = error.errors()[0]
        option = {"authors": "author"}.get(name := str(first["loc"][0]), name.replace("_", "-"))
        told = first["msg"].removeprefix("Value error, ")
        raise UserError(f"--{option}: {shorten(told, 160)}") from None
    out = submit(run, benchmark, who, cost, keys.load(asked.key), asked.out, today().isoformat())
    _say(console, f"submission: {out}")
    _say(console, f"check it:   chatgenbench leaderboard check {quote(str(out))} --benchmark {quote(asked.benchmark)}")


def run_check(path: Path, spec: str, board: Path | None, console: Console) -> bool:
    """Print what is wrong; True if anything is."""
    from chatgenbench.leaderboard.board import Board, folder_of
    from chatgenbench.leaderboard.check import check

    folder_of(path)
    if board is not None and not board.is_dir():
        raise UserError(f"--board {board} is no folder: name the board's, such as leaderboard")
    known = [s.manifest for s in Board(board).submissions() if s.manifest is not None] if board else []
    maintainers = Board(board).maintainers() if board else None
    problems = check(path, load_benchmark(spec), known, maintainers)
    for problem in problems[:SHOWN]:
        _say(console, str(problem))
    if len(problems) > SHOWN:
        _say(console, f"... and {len(problems) - SHOWN:,} more")
    _say(console, _count(len(problems)) if problems else f"{path}: nothing is wrong")
    return bool(problems)


def _count(problems: int) -> str:
    return f"{problems:,} problem{'' if problems == 1 else 's'}"


def run_add(path: Path, spec: str, board: Path, console: Console) -> bool:
    """Check a submission and copy it in; True if it is wrong."""
    from chatgenbench.leaderboard.board import Board, folder_of

    folder = folder_of(path)
    if not board.exists():
        board.mkdir(parents=True)
        _say(console, f"a new board: {board}")
    if run_check(path, spec, board, console):
        return True
    _say(console, f"added: {Board(board).add(folder)}")
    return False


def run_verify(asked: Verify, console: Console) -> bool:
    """Compute a submission again and write verification.json; True if it does not hold."""
    from chatgenbench.dates import today
    from chatgenbench.evaluate.pipeline import pick_device
    from chatgenbench.evaluate.run import write_bytes
    from chatgenbench.home import home
    from chatgenbench.leaderboard import choice, keys
    from chatgenbench.leaderboard.board import Board, folder_of
    from chatgenbench.leaderboard.check import check
    from chatgenbench.leaderboard.manifest import MANIFEST, VERIFICATION, Manifest
    from chatgenbench.leaderboard.record import STRAY
    from chatgenbench.leaderboard.verification import signed_by
    from chatgenbench.leaderboard.verify import verify
    from chatgenbench.quiet import quiet
    from chatgenbench.render import Pool

    folder = folder_of(asked.submission)
    benchmark = load_benchmark(asked.benchmark)
    key = keys.load(asked.key) if asked.key is not None else None
    secret = _secret(asked.secret)
    if problems := check(folder, benchmark):
        told = f"chatgenbench leaderboard check {quote(str(folder))} shows all"
        raise UserError(f"{_count(len(problems))}, first {problems[0]}; {told}")
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    pool = Pool(asked.pool or home() / "verify")
    with quiet(), _bars(console) as tick:
        found = verify(
            folder, manifest, benchmark, asked.rows, secret, pool, today().isoformat(), pick_device(asked.device),
            asked.batch_size, tick,
        )  # fmt: skip
    if key is not None:
        found = signed_by(found, key)
    write_bytes(folder / VERIFICATION, (found.model_dump_json(indent=1) + "\n").encode())
    for difference in found.failures[:SHOWN]:
        where = difference.item or "all rows"
        _say(
            console, f"{where}: {difference.what}: claimed {difference.claimed or 'nothing'}, found {difference.found}"
        )
    rerun = len(found.rerun)
    _say(console, f"level: {found.level}; {found.rows:,} rows scored again, {rerun:,} drawn again, {found.exact} exact")
    if rerun and found.level == "spot-rerun":
        stray = 0 if found.engine == manifest.run.engine else int(STRAY * rerun)
        share = choice.chance(found.rows, max(1, round(found.rows * 0.05)), rerun, stray)
        _say(console, f"if 1 in 20 of its rows were forged, this would have shown it with probability {share:.3f}")
    if key is None:
        _say(console, "not signed: ranking takes it for claimed (--key signs it)")
    elif folder.absolute().parent.name == "submissions":
        board = Board(folder.absolute().parents[1])
        if found.key not in board.maintainers():
            _say(console, f"{found.key} is not in {board.root / 'maintainers.txt'}: ranking takes it for claimed")
    return found.level == "claimed"


def _secret(path: Path | None) -> bytes:
    """What chooses the rows."""
    if path is not None:
        try:
            found = path.read_bytes().strip()
        except OSError as error:
            raise UserError(f"--secret {path} cannot be read ({error.strerror})") from None
    else:
        found = os.environ.get("CHATGENBENCH_SECRET", "").strip().encode() or secrets.token_bytes(32)
    if len(found) < 16:
        raise UserError("the secret is too short to be one: at least 16 characters, e.g. from `openssl rand -hex 32`")
    return found


def run_rank(board: Path, spec: str, by: str | None, console: Console) -> None:
    """Rank a board and print the table."""
    from chatgenbench.leaderboard.board import Board
    from chatgenbench.leaderboard.rank import rank
    from chatgenbench.leaderboard.results_files import write_results

    with _bars(console) as tick:
        results = rank(Board(board), load_benchmark(spec), by, tick)
    table, _ = write_results(results, board)
    _print(results, console)
    _say(console, f"results: {table}")


def _print(results: Results, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    head = next(head for head in results.heads if head.name == results.primary)
    arrow = "↑" if head.higher_is_better else "↓"
    table = Table(title=Text(f"{results.benchmark} {results.version} ({results.label})"))
    for name in ("rank", "system", "revision", "level"):
        table.add_column(name)
    table.add_column(f"{head.title} {arrow}", justify="right")
    table.add_column("p, next", justify="right")
    table.add_column("notes", overflow="fold")
    for entry in results.entries:
        cell = entry.cells.get(results.primary)
        told = [*(["reference"] if entry.reference else [])]
        if cell is None:
            table.add_row("", Text(entry.system), Text(entry.revision[:12]), entry.level, "none", "", "")
            continue
        told += [f"reached by {name}" for name in cell.reached_by]
        interval = "" if cell.low is None else f" [{cell.low:.3f}, {cell.high:.3f}]"
        ranks = f"{cell.rank_low}" if cell.rank_low == cell.rank_high else f"{cell.rank_low}-{cell.rank_high}"
        table.add_row(
            ranks, Text(entry.system), Text(entry.revision[:12]), entry.level, f"{cell.value:.3f}{interval}",
            "" if cell.p_next is None else "<0.001" if cell.p_next < 0.001 else f"{cell.p_next:.3f}", ", ".join(told),
        )  # fmt: skip
    console.print(table)
    if results.absent:
        names = ", ".join(results.absent)
        _say(console, f"not on this board: {names}; run, submit and add them, so that scores can be judged")
    for slug, reason in results.left_out:
        _say(console, f"left out: {slug}: {reason}")


def run_build(board: Path, out: Path, console: Console) -> None:
    """Write the site."""
    from pydantic import ValidationError

    from chatgenbench.leaderboard.board import Board
    from chatgenbench.leaderboard.results import Results
    from chatgenbench.leaderboard.site import build_site

    path = board / "results.json"
    try:
        results = Results.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise UserError(f"{path} is missing or damaged: type chatgenbench leaderboard rank --board {board}") from None
    index = build_site([results], Board(board).folder, out)
    _say(console, f"site: {index}")


def _say(console: Console, line: str) -> None:
    """Print a line as it is: nothing in it is taken for markup, and nothing is broken in two."""
    console.print(line, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def _bars(console: Console) -> Iterator[Any]:
    from chatgenbench.commands import Bars, bars

    with bars(console) as progress:
        yield Bars(progress, "leaderboard").tick
