"""The command line of `chatgenbench pool`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

pool_app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

PoolOption = Annotated[
    str | None, typer.Option("--pool", help="Its folder, or URL such as s3://b/p (default: $CHATGENBENCH_HOME/pool).")
]


@pool_app.callback()
def pool() -> None:
    """Look after the pictures that runs share: count them, look for broken ones, make room."""


@pool_app.command()
def stats(pool: PoolOption = None) -> None:
    """Say how many pictures there are, how large, how old, and what else lies in the pool.

    Examples:

      chatgenbench pool stats

      chatgenbench pool stats --pool s3://bucket/pictures
    """
    from chatgenbench.pool_commands import run_stats

    run_stats(pool, _console())


@pool_app.command()
def verify(
    pool: PoolOption = None,
    run: Annotated[list[Path] | None, typer.Option("--run", help="Also hold pictures to what these runs saw.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take broken ones out: they are drawn again.")] = False,
) -> None:
    """Decode every picture, and compare with the checksums that runs recorded.

    Example: chatgenbench pool verify --run runs/first --remove

    Exit codes: 0 all are whole, 1 some are not (it names them).
    """
    from chatgenbench.pool_commands import run_verify

    if run_verify(pool, run or [], remove, _console()):
        raise typer.Exit(1)


@pool_app.command()
def gc(
    pool: PoolOption = None,
    keep: Annotated[
        list[Path] | None,
        typer.Option("--keep", help="A run, or a folder of runs, whose pictures stay; repeatable."),
    ] = None,
    days: Annotated[float, typer.Option("--days", min=0, help="Only pictures older than this.")] = 0,
    max_gb: Annotated[
        float | None, typer.Option("--max-gb", min=0, help="Stop, oldest first, when the pool is this small.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and keep everything.")] = False,
) -> None:
    """Make room: remove pictures that none of the named runs needs.  They are drawn again when a run needs them.

    Examples:

      chatgenbench pool gc --keep runs/first --keep runs/paper --days 30

      chatgenbench pool gc --max-gb 50 --dry-run
    """
    from chatgenbench.pool_commands import run_gc

    run_gc(pool, keep or [], days, max_gb, dry_run, _console())


def _console() -> Console:
    from rich.console import Console

    return Console()
