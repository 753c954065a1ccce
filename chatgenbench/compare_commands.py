"""What `diff` and `vote` do, as plain functions: load, make the page or serve it, print."""

from __future__ import annotations

import signal
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from chatgenbench.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from chatgenbench.compare import Match, VotesFile


def run_diff(run_a: Path, run_b: Path, benchmark: str | None, out: Path, console: Console) -> None:
    """Write the page, print a short table and where the page is."""
    from chatgenbench.compare import match, write_diff
    from chatgenbench.compare.terminal import print_differences

    if out.is_dir():
        raise UserError(f"--out {out} is a folder: name the page to write")
    found = match((run_a, run_b), benchmark)
    page, headline = write_diff(found, out)
    print_differences(found, headline, console)
    console.print(f"page: {page}", soft_wrap=True, highlight=False, markup=False)


def run_vote(
    run_a: Path, run_b: Path, benchmark: str | None, out: Path, port: int, voter: str | None, items: int | None,
    open_page: bool, console: Console,
) -> None:  # fmt: skip
    """Serve the voting page until Ctrl-C, then say what the votes say."""
    from chatgenbench.compare import VoteServer, VotesFile, match
    from chatgenbench.compare.ballots import votable, voter_name
    from chatgenbench.compare.booth import Booth

    name = None if voter is None else voter_name(voter)
    found = match((run_a, run_b), benchmark)
    asked = votable(found, items)
    file = VotesFile(out, found)
    with file.writing() as book, VoteServer(Booth(found, asked, file, book), port, name) as server:
        _tell(found, len(asked.pairs), asked.same, asked.missing, out, console)
        console.print(f"vote at {server.address}", soft_wrap=True, highlight=False)
        console.print("Ctrl-C ends the voting; every vote is kept", style="dim", highlight=False)
        if open_page:
            webbrowser.open(server.address)
        # a script that starts this in the background has it ignore Ctrl-C, and then nothing could end it in order
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            console.print()
    if file.current()[0]:
        _results(file, console)
    else:
        console.print("no vote yet: type the same command to go on", highlight=False)


def _tell(match: Match, pairs: int, same: int, missing: int, out: Path, console: Console) -> None:
    """What will be asked, and what cannot be."""
    console.print(f"{match.names[0]} against {match.names[1]}: {pairs} pairs", highlight=False, markup=False)
    if same:
        console.print(f"{same} items are not asked about: both runs drew the same picture", highlight=False)
    if missing:
        console.print(f"{missing} items are not asked about: a run has no picture", highlight=False)
    console.print(f"votes: {out}", soft_wrap=True, highlight=False, markup=False)


def run_results(run_a: Path, run_b: Path, benchmark: str | None, out: Path, console: Console) -> None:
    """Print what the votes say and write it beside them."""
    from chatgenbench.compare import VotesFile, match

    found = match((run_a, run_b), benchmark)
    if not out.is_file():
        raise UserError(f"{out} is not there: vote first, or name the votes with --out")
    _results(VotesFile(out, found), console)


def _results(file: VotesFile, console: Console) -> None:
    from chatgenbench.compare.results import count_votes, write_results
    from chatgenbench.compare.terminal import print_results

    found = count_votes(file)
    print_results(found, file.match, console)
    path = write_results(file, found)
    console.print(f"results: {path}", soft_wrap=True, highlight=False, markup=False)


def run_seeds(runs: list[Path], benchmark: str | None, console: Console) -> None:
    """Print what the spread of each metric comes from."""
    from chatgenbench.compare.seeds import spread
    from chatgenbench.compare.terminal import print_spread

    print_spread(spread(runs, benchmark), console)
