"""The command line of `chatgenbench diff`, `vote` and `seeds`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

RunA = Annotated[Path, typer.Argument(metavar="RUN_A", help="A finished run folder.")]
RunB = Annotated[Path, typer.Argument(metavar="RUN_B", help="Another one of the same benchmark.")]
BenchmarkOption = Annotated[
    str | None,
    typer.Option("--benchmark", help="miniature, a folder, or hf:OWNER/NAME (default: what RUN_A names)."),
]


def diff(
    run_a: RunA,
    run_b: RunB,
    benchmark: BenchmarkOption = None,
    out: Annotated[Path, typer.Option("--out", help="The page to write.")] = Path("diff.html"),
) -> None:
    """Compare two finished runs row by row: who is better, by how much, and which stage is at fault.

    Example: chatgenbench diff runs/demo/retrieval runs/demo/echo --out diff.html

    Exit codes: 0 done, 1 the runs cannot be compared (it says why), 2 usage.
    """
    from chatgenbench.compare_commands import run_diff

    run_diff(run_a, run_b, benchmark, out, _console())


def vote(
    run_a: RunA,
    run_b: RunB,
    benchmark: BenchmarkOption = None,
    out: Annotated[Path, typer.Option("--out", help="Where votes are kept; the same file goes on.")] = Path(
        "votes.jsonl"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any free one.")] = 0,
    voter: Annotated[str | None, typer.Option("--voter", help="Your name; without it the page asks.")] = None,
    items: Annotated[int | None, typer.Option("--items", min=1, help="Ask about so many pairs, stratified.")] = None,
    results: Annotated[bool, typer.Option("--results", help="Print what the votes say, and stop.")] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Ask people which of two runs drew the better picture, blind, on a page served to this machine only.

    Every vote is on disk before the next pair is shown. Type the same command again to go on.

    Examples:

      chatgenbench vote runs/demo/retrieval runs/demo/echo --voter ada --items 40

      chatgenbench vote runs/demo/retrieval runs/demo/echo --results

    Exit codes: 0 done (Ctrl-C ends the voting), 1 a mistake in what was typed, 2 usage.
    """
    from chatgenbench.compare_commands import run_results, run_vote

    if results:
        run_results(run_a, run_b, benchmark, out, _console())
    else:
        run_vote(run_a, run_b, benchmark, out, port, voter, items, open_page, _console())


def seeds(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs of one system, each with another --seed.")],
    benchmark: BenchmarkOption = None,
) -> None:
    """More items or more seeds?  Split each metric's spread by item and by seed, and say what would shrink it.

    Example: chatgenbench seeds runs/seed-0 runs/seed-1 runs/seed-2

    Exit codes: 0 done, 1 the runs do not belong together (it says why), 2 usage.
    """
    from chatgenbench.compare_commands import run_seeds

    run_seeds(runs, benchmark, _console())


def register(app: typer.Typer) -> None:
    """Put the commands on the program's command line."""
    app.command()(diff)
    app.command()(vote)
    app.command()(seeds)


def _console() -> Console:
    from rich.console import Console

    return Console()
