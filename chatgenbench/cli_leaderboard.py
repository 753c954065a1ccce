"""The command line of `chatgenbench leaderboard`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

leaderboard_app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

BoardOption = Annotated[Path, typer.Option("--board", help="The board's folder: submissions, results, site.")]
BenchmarkOption = Annotated[str, typer.Option("--benchmark", help="miniature, a folder, or hf:OWNER/NAME[@REVISION].")]
Submission = Annotated[Path, typer.Argument(help="A submission's folder, or the submission.csv in it.")]


@leaderboard_app.callback()
def leaderboard() -> None:
    """Submissions that can be trusted: make, check, verify, rank and show them.

    The way of a submission:

      chatgenbench leaderboard keygen my-key.pem

      chatgenbench leaderboard submit runs/mine --key my-key.pem --author 'Ada L.' --licence MIT \\
        --training-data 'the train split only' --out my-submission

      chatgenbench leaderboard check my-submission

    and of a board:

      chatgenbench leaderboard add my-submission --board leaderboard

      chatgenbench leaderboard verify leaderboard/submissions/NAME --rows 50 --key maintainer.pem --secret secret.txt

      chatgenbench leaderboard rank --board leaderboard

      chatgenbench leaderboard build --board leaderboard
    """


@leaderboard_app.command()
def keygen(path: Annotated[Path, typer.Argument(help="Where the private key goes; keep it to yourself.")]) -> None:
    """Make an Ed25519 key to sign with, and print its public half.

    Example: chatgenbench leaderboard keygen my-key.pem
    """
    from chatgenbench.leaderboard_commands import run_keygen

    run_keygen(path, _console())


@leaderboard_app.command()
def submit(
    run: Annotated[Path, typer.Argument(help="A finished run of all items.")],
    key: Annotated[Path, typer.Option("--key", help="Your private key, made by keygen.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the submission.")],
    author: Annotated[list[str], typer.Option("--author", help="Who made the system; repeat for more.")],
    licence: Annotated[str, typer.Option("--licence", help="Of the system, e.g. an SPDX id, or proprietary.")],
    training_data: Annotated[
        str, typer.Option("--training-data", help="What the system was trained on, in a sentence.")
    ],
    name: Annotated[str | None, typer.Option("--name", help="Name on the board (default: the run's system).")] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Which version of it (default: the run's revision).")
    ] = None,
    link: Annotated[str, typer.Option("--link", help="https address of paper, code or page.")] = "",
    seconds: Annotated[float | None, typer.Option("--seconds", min=0, help="Per item (default: as measured).")] = None,
    tokens: Annotated[float | None, typer.Option("--tokens", min=0, help="Per item (default: as counted).")] = None,
    usd: Annotated[float | None, typer.Option("--usd", min=0, help="Price per item (default: as counted).")] = None,
    benchmark: BenchmarkOption = "miniature",
) -> None:
    """Write a finished run as a signed submission: submission.csv, manifest.json, and a small gallery.

    Example: chatgenbench leaderboard submit runs/mine --key my-key.pem --author 'Ada L.' --licence MIT
    --training-data 'the train split only' --out my-submission
    """
    from chatgenbench.leaderboard_commands import Submit, run_submit

    run_submit(
        Submit(
            run=run, key=key, out=out, authors=tuple(author), licence=licence, training_data=training_data, name=name,
            revision=revision, link=link, seconds=seconds, tokens=tokens, usd=usd, benchmark=benchmark,
        ),
        _console(),
    )  # fmt: skip


@leaderboard_app.command()
def check(
    submission: Submission,
    benchmark: BenchmarkOption = "miniature",
    board: Annotated[
        Path | None, typer.Option("--board", help="Also look for copies of submissions that are on this board.")
    ] = None,
) -> None:
    """Say everything that is wrong with a submission, row by row, and how to mend it.

    Example: chatgenbench leaderboard check my-submission --benchmark miniature

    Exit codes: 0 nothing is wrong, 1 something is (it says what), 2 usage.
    """
    from chatgenbench.leaderboard_commands import run_check

    if run_check(submission, benchmark, board, _console()):
        raise typer.Exit(1)


@leaderboard_app.command()
def schema() -> None:
    """Print the JSON Schema of manifest.json.

    Example: chatgenbench leaderboard schema > manifest.schema.json
    """
    from chatgenbench.leaderboard.manifest import schema_text

    print(schema_text(), end="")


@leaderboard_app.command()
def add(
    submission: Submission, board: BoardOption = Path("leaderboard"), benchmark: BenchmarkOption = "miniature"
) -> None:
    """Check a submission and put it on the board.

    Example: chatgenbench leaderboard add my-submission --board leaderboard
    """
    from chatgenbench.leaderboard_commands import run_add

    if run_add(submission, benchmark, board, _console()):
        raise typer.Exit(1)


@leaderboard_app.command()
def verify(
    submission: Submission,
    rows: Annotated[int, typer.Option("--rows", min=0, help="Draw so many pictures again; 0: scores of plans only.")],
    benchmark: BenchmarkOption = "miniature",
    key: Annotated[
        Path | None, typer.Option("--key", help="Sign what was found; ranking trusts the keys in maintainers.txt.")
    ] = None,
    secret: Annotated[
        Path | None,
        typer.Option("--secret", help="File that decides which rows ($CHATGENBENCH_SECRET, else drawn at random)."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, max=512, help="Pictures drawn at once.")] = 8,
    pool: Annotated[
        str | None, typer.Option("--pool", help="Where the new pictures go (default: $CHATGENBENCH_HOME/verify).")
    ] = None,
) -> None:
    """Compute a submission again: scores of all plans, and pictures of rows that nobody could foresee.

    Example: chatgenbench leaderboard verify leaderboard/submissions/NAME --rows 50 --key maintainer.pem

    Exit codes: 0 it holds, 1 it does not (it says where), 2 usage, 3 incomplete (type it again).
    """
    from chatgenbench.leaderboard_commands import Verify, run_verify

    asked = Verify(submission, rows, benchmark, key, secret, device, batch_size, pool)
    if run_verify(asked, _console()):
        raise typer.Exit(1)


@leaderboard_app.command()
def rank(
    board: BoardOption = Path("leaderboard"),
    benchmark: BenchmarkOption = "miniature",
    by: Annotated[
        str | None, typer.Option("--by", help="Metric to sort by (default: unified, else bertscore).")
    ] = None,
) -> None:
    """Rank all submissions of a board, with error bars and tie groups, into results.csv and results.json.

    Example: chatgenbench leaderboard rank --board leaderboard
    """
    from chatgenbench.leaderboard_commands import run_rank

    run_rank(board, benchmark, by, _console())


@leaderboard_app.command()
def build(
    board: BoardOption = Path("leaderboard"),
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the site (default: BOARD/site).")] = None,
) -> None:
    """Write the board as a static site: open index.html, or put the folder on any web server.

    Example: chatgenbench leaderboard build --board leaderboard
    """
    from chatgenbench.leaderboard_commands import run_build

    run_build(board, out or board / "site", _console())


def _console() -> Console:
    from rich.console import Console

    return Console()
