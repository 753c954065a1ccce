"""The command line: parse, call, print.  No logic lives here, and nothing heavy is imported before it is used."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chatgenbench.cli_build import build_app
from chatgenbench.cli_compare import register as register_compare
from chatgenbench.cli_leaderboard import leaderboard_app
from chatgenbench.cli_pool import pool_app
from chatgenbench.cli_systems import (
    LlmBaseUrl,
    LlmBudget,
    LlmExamples,
    LlmImages,
    LlmMaxTokens,
    LlmShortlist,
    LlmTemperature,
    PriceDevice,
    PriceIn,
    PriceOut,
    Timeout,
    options_of,
    systems_app,
)
from chatgenbench.cli_train import train_app

if TYPE_CHECKING:
    from rich.console import Console


app = typer.Typer(
    name="chatgenbench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(build_app, name="build")
app.add_typer(leaderboard_app, name="leaderboard")
app.add_typer(pool_app, name="pool")
app.add_typer(train_app, name="train")
app.add_typer(systems_app, name="systems")
register_compare(app)

EXIT_USER, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 1, 3, 130


class TextChoice(StrEnum):
    GOLD = "gold"
    INPUT = "input"
    PLAN = "plan"


class ExecutorChoice(StrEnum):
    INLINE = "inline"
    LOCAL = "local"
    RAY = "ray"


BenchmarkOption = Annotated[str, typer.Option("--benchmark", help="miniature, a folder, or hf:OWNER/NAME[@REVISION].")]


def _version(wanted: bool) -> None:
    if wanted:
        import chatgenbench

        typer.echo(f"chatgenbench {chatgenbench.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Benchmark for automatic text-to-image: a chat becomes a plan, a plan becomes a picture, both get scores.

    Example: chatgenbench eval --system retrieval --system oracle --benchmark miniature --limit 60 --out runs/first
    """
    del version


@app.command("eval")
def evaluate(
    system: Annotated[
        list[str],
        typer.Option(
            "--system",
            help="A name, plans.csv, module:Object, http://..., openai:MODEL, cmd:COMMAND; repeat to compare.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Run folder; several systems get one each inside.")],
    benchmark: BenchmarkOption = "miniature",
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="First N items of a fixed stratified order."),
    ] = None,
    text: Annotated[
        TextChoice,
        typer.Option("--text", help="What image metrics read: gold prompt, chat, or own prompt."),
    ] = TextChoice.GOLD,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, help="Seed of draws, pictures and intervals."),
    ] = 0,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, max=512, help="Pictures drawn at once.")] = 8,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    executor: Annotated[
        ExecutorChoice,
        typer.Option("--executor", help="Draw in this process, in several of this machine, or on a Ray cluster."),
    ] = ExecutorChoice.INLINE,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, max=4096, help="Processes of local or ray (default: one a GPU; 2 on a CPU)."),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", help="Cluster of ray: auto (default), HOST:PORT, or local (one of its own)."),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option("--pool", help="Shared pictures: folder, or URL (s3://...); default $CHATGENBENCH_HOME/pool."),
    ] = None,
    base: Annotated[
        list[str] | None,
        typer.Option("--base", help="What LoRAs of a family are drawn on, e.g. sdxl=MODEL; repeat for more."),
    ] = None,
    weights_budget: Annotated[
        str | None,
        typer.Option("--weights-budget", help="Disk for downloaded weights, e.g. 200GB; the longest unused go first."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", help="Metric weights: published, miniature, or a folder."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="A picture metric beside the usual ones, e.g. pickscore; repeat for more."),
    ] = None,
    no_render: Annotated[
        bool, typer.Option("--no-render", help="Draw nothing: score prompts, models and arguments only.")
    ] = False,
    ladder: Annotated[
        bool, typer.Option("--ladder", help="Also swap in gold prompt, model, arguments: which stage loses what.")
    ] = False,
    certify: Annotated[
        int | None,
        typer.Option(
            "--certify", min=1, help="Draw K rows again at another batch size: what moves in pixels and scores?"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do and cost, then stop.")] = False,
    llm_base_url: LlmBaseUrl = None,
    llm_budget: LlmBudget = None,
    llm_temperature: LlmTemperature = 0.0,
    llm_shortlist: LlmShortlist = 12,
    llm_examples: LlmExamples = 4,
    llm_max_tokens: LlmMaxTokens = 1024,
    llm_images: LlmImages = True,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    price_device: PriceDevice = None,
    answer_timeout: Timeout = 120.0,
) -> None:
    """Run one or more systems: plan, render, score, report.  Type the same command again to resume.

    Examples:

      chatgenbench eval --system oracle --benchmark miniature --limit 40 --out runs/oracle

      chatgenbench eval --system retrieval --system plans.csv --out runs/compare

      chatgenbench eval --system mypackage.agent:Agent --text plan --out runs/mine --dry-run

      chatgenbench eval --system oracle --limit 60 --certify 8 --out runs/oracle

      chatgenbench eval --system oracle --benchmark mine --base sdxl=MODEL --weights-budget 200GB --out runs/mine

      chatgenbench eval --system http://127.0.0.1:8000/plan --system "cmd:python my.py" --out runs/ours

      chatgenbench eval --system openai:gpt-4o-mini --price-in 0.15 --price-out 0.6 --llm-budget 2 --out runs/llm

      chatgenbench eval --system retrieval --executor ray --ray-address auto --pool /shared/pool --out runs/cluster

    Exit codes: 0 done, 1 a mistake in what was typed, 2 usage, 3 incomplete (type it again), 130 interrupted.
    """
    from chatgenbench.commands import Request, run_eval

    request = Request(
        systems=tuple(system), benchmark=benchmark, out=out, limit=limit, text=text.value, seed=seed,
        batch_size=batch_size, device=device, pool=pool, weights=weights, metrics=tuple(metric or ()),
        dry_run=dry_run, draw=not no_render, ladder=ladder, certify=certify, executor=executor.value, workers=workers,
        bases=tuple(base or ()), weights_budget=weights_budget, ray_address=ray_address,
        options=options_of(
            llm_base_url, llm_budget, llm_temperature, llm_shortlist, llm_examples, llm_max_tokens,
            llm_images, (price_in, price_out, price_device), answer_timeout,
        ),
    )  # fmt: skip
    if run_eval(request, _console()):
        raise typer.Exit(EXIT_INCOMPLETE)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A finished run folder, or a folder of several.")],
    benchmark: BenchmarkOption = "miniature",
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table as Markdown and write nothing.")
    ] = False,
) -> None:
    """Print the table of finished runs and write their pages again.

    Examples:

      chatgenbench report runs/demo

      chatgenbench report runs/demo --markdown
    """
    from chatgenbench.commands import run_report

    run_report(run, benchmark, markdown, _console())


@app.command()
def models(benchmark: BenchmarkOption = "miniature") -> None:
    """List the models of a benchmark's catalog.

    Example: chatgenbench models --benchmark miniature
    """
    from chatgenbench.commands import list_models

    list_models(benchmark, _console())


@app.command()
def samplers() -> None:
    """List the sampler names that can be drawn with, and which are only approximated.

    Example: chatgenbench samplers
    """
    from chatgenbench.commands import list_samplers

    list_samplers(_console())


@app.command()
def metrics(
    name: Annotated[str | None, typer.Argument(help="Show one metric's card in full.")] = None,
) -> None:
    """List the metrics with direction, range and text limit, or show one card.

    Examples:

      chatgenbench metrics

      chatgenbench metrics clipscore
    """
    from chatgenbench.commands import list_metrics

    list_metrics(name, _console())


@app.command()
def selftest(
    weights: Annotated[
        str, typer.Option("--weights", help="Check these as well: published (never downloaded here) or a folder.")
    ] = "miniature",
    metric: Annotated[list[str] | None, typer.Option("--metric", help="Only this metric; repeat for more.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")] = "auto",
) -> None:
    """Compare pictures, tokenizers and scores with golden values, before a GPU hour is spent.

    Examples:

      chatgenbench selftest

      chatgenbench selftest --weights published --metric clipscore --metric hpsv2

    Exit codes: 0 all as it should be, 1 something is wrong (it says what), 2 usage.
    """
    from chatgenbench.commands import run_selftest

    if not run_selftest(weights, metric, device, _console()):
        raise typer.Exit(EXIT_USER)


def _console() -> Console:
    from rich.console import Console

    return Console()


def _check_words() -> None:
    """UserError for words that no file of ours could hold: Python reads bytes that are no UTF-8 as lone surrogates."""
    from chatgenbench.errors import UserError, shorten

    for word in sys.argv[1:]:
        try:
            word.encode()
        except UnicodeEncodeError:
            told = shorten(word.encode("utf-8", "replace").decode(), 80)
            raise UserError(f"'{told}' is not UTF-8: type it in a terminal that is, or rename it") from None


def main() -> None:
    """Entry point: turns our errors into one line and an exit code, and Ctrl-C into a promise kept."""
    from chatgenbench.errors import ChatGenBenchError, InfraError, visible

    # threads that spin while they wait slow a busy machine down tenfold; must be set before torch is loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # matrices of the intervals are small: more BLAS threads only wait for one another, minutes of it on a busy machine
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        _check_words()
        app(standalone_mode=True)
    except SystemExit as stop:
        if stop.code == EXIT_INTERRUPTED:  # typer turns Ctrl-C into this
            sys.stderr.write("\nstopped; finished rows are kept: type the same command again to go on\n")
        raise
    except InfraError as error:
        sys.stderr.write(f"incomplete: {visible(str(error))}\n")
        sys.exit(EXIT_INCOMPLETE)
    except ChatGenBenchError as error:
        sys.stderr.write(f"error: {visible(str(error))}\n")
        sys.exit(EXIT_USER)
    except OSError as error:
        sys.stderr.write(f"incomplete: {visible(str(error))}; mend that, then type the same command again\n")
        sys.exit(EXIT_INCOMPLETE)


if __name__ == "__main__":
    main()
