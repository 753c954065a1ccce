"""The command line of `chatgenbench build`: parse, call, print."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

build_app = typer.Typer(no_args_is_help=True, invoke_without_command=True, rich_markup_mode="rich")


class Source(StrEnum):
    CIVITAI = "civitai"
    BUNDLED = "bundled"


class Period(StrEnum):
    ALL = "AllTime"
    YEAR = "Year"
    MONTH = "Month"
    WEEK = "Week"
    DAY = "Day"


class Nsfw(StrEnum):
    NONE = "none"


class Form(StrEnum):
    RELEASE = "release"
    FULL = "full"


class Facts(StrEnum):
    LLM = "llm"
    WORDS = "words"
    OFF = "off"


@build_app.callback()
def build(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of this build; the dataset ends in OUT/dataset.")
    ] = None,
    source: Annotated[
        Source, typer.Option("--source", help="Civitai's public API, or the bundled records.")
    ] = Source.CIVITAI,
    max_models: Annotated[
        int | None, typer.Option("--max-models", min=1, help="Collect at most so many models.")
    ] = None,
    max_images: Annotated[
        int | None, typer.Option("--max-images", min=1, help="Collect at most so many pictures.")
    ] = None,
    images_per_model: Annotated[int, typer.Option("--images-per-model", min=1, help="Per model version.")] = 200,
    period: Annotated[Period, typer.Option("--period", help="Of the hub's statistics.")] = Period.ALL,
    base_model: Annotated[
        list[str] | None, typer.Option("--base-model", help="Only this base model, e.g. 'SDXL 1.0'; repeat for more.")
    ] = None,
    nsfw: Annotated[Nsfw, typer.Option("--nsfw", help="Only safe pictures are collected.")] = Nsfw.NONE,
    min_reactions: Annotated[
        int, typer.Option("--min-reactions", min=0, help="Drop pictures that fewer people liked.")
    ] = 0,
    blocklist: Annotated[
        Path | None, typer.Option("--blocklist", help="Words, one a line, that no prompt may hold.")
    ] = None,
    removals: Annotated[
        Path | None, typer.Option("--removals", help="Pictures, models and @users that people asked to have removed.")
    ] = None,
    api: Annotated[str, typer.Option("--api", help="Address of the API.")] = "https://civitai.com/api/v1",
    requests_per_second: Annotated[
        float, typer.Option("--requests-per-second", min=0.01, help="Upper bound, whatever the concurrency.")
    ] = 1.0,
    llm_base_url: Annotated[
        str,
        typer.Option(
            "--llm-base-url",
            help="Any OpenAI-compatible endpoint; key: $CHATGENBENCH_LLM_KEY ($OPENAI_API_KEY for api.openai.com).",
        ),
    ] = "https://api.openai.com/v1",
    llm_model: Annotated[
        str | None,
        typer.Option("--llm-model", help="The model that plays the people; 'local' is a small one on this machine."),
    ] = None,
    llm_price_in: Annotated[float, typer.Option("--llm-price-in", min=0, help="USD per million tokens read.")] = 0.0,
    llm_price_out: Annotated[
        float, typer.Option("--llm-price-out", min=0, help="USD per million tokens written.")
    ] = 0.0,
    budget: Annotated[
        float | None, typer.Option("--budget", min=0, help="Stop before more than so many USD are spent.")
    ] = None,
    inputs: Annotated[int, typer.Option("--inputs", min=1, max=20, help="Freestyle inputs per demonstration.")] = 1,
    max_items: Annotated[
        int | None, typer.Option("--max-items", min=1, help="Ask for at most so many freestyle inputs.")
    ] = None,
    with_train: Annotated[
        bool, typer.Option("--with-train", help="Freestyle inputs for the training demonstrations, too.")
    ] = False,
    facts: Annotated[
        Facts | None,
        typer.Option("--facts", help="How to see that a chat says what matters (llm; words for the local model)."),
    ] = None,
    test_share: Annotated[
        float, typer.Option("--test-share", min=0.001, max=0.5, help="Share of demonstrations to test on.")
    ] = 0.1,
    few_shot_threshold: Annotated[
        int, typer.Option("--few-shot-threshold", min=1, help="A target model at most so often in train is few-shot.")
    ] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the split, the personas and the language model.")] = 0,
    name: Annotated[str, typer.Option("--name", help="Name of the dataset.")] = "my-chatgenbench",
    contact: Annotated[str, typer.Option("--contact", help="Opt-out address printed on the dataset's card.")] = "",
    form: Annotated[
        Form,
        typer.Option(
            "--form", help="release: no raw community prompts or pictures; full: all of it, for your own use."
        ),
    ] = Form.RELEASE,
    push_to_hub: Annotated[
        str | None, typer.Option("--push-to-hub", help="OWNER/NAME on the Hugging Face hub, with $HF_TOKEN.")
    ] = None,
    skip_unanswered: Annotated[
        bool,
        typer.Option(
            "--skip-unanswered", help="Go on without pages, pictures and chats that are never answered; counts them."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would fetch and ask, and what that costs, then stop.")
    ] = False,
) -> None:
    """Make a benchmark: collect, parse, filter, dedupe, split, role-play, publish.  Type the same command to resume.

    Examples:

      chatgenbench build --source bundled --llm-model local --max-items 12 --out runs/build-demo

      CIVITAI_API_TOKEN=... chatgenbench build --max-models 500 --max-images 20000 --llm-model gpt-4o-mini \\
        --llm-price-in 0.15 --llm-price-out 0.6 --budget 20 --out builds/first

      chatgenbench build hydrate builds/downloaded --out builds/full

    Exit codes: 0 done, 1 a mistake in what was typed, 2 usage, 3 incomplete (type it again), 130 interrupted.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    if out is None:
        raise typer.BadParameter("name the folder of the build", param_hint="--out")
    from chatgenbench.build_commands import Request, run_build

    run_build(
        Request(
            out=out, source=source.value, max_models=max_models, max_images=max_images,
            images_per_model=images_per_model, period=period.value, base_models=tuple(base_model or ()),
            nsfw=nsfw.value, min_reactions=min_reactions, blocklist=blocklist, removals=removals, api=api,
            requests_per_second=requests_per_second, llm_base_url=llm_base_url, llm_model=llm_model,
            llm_price_in=llm_price_in, llm_price_out=llm_price_out, budget=budget, inputs=inputs,
            max_items=max_items, with_train=with_train, facts=facts.value if facts else None, test_share=test_share,
            few_shot_threshold=few_shot_threshold,
            seed=seed, name=name, contact=contact, form=form.value, push_to_hub=push_to_hub, dry_run=dry_run,
            skip_unanswered=skip_unanswered,
        ),
        _console(),
    )  # fmt: skip


def _refuse_options(context: typer.Context) -> None:
    """Options before a subcommand's name are those of `build`, which is not what runs."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name) if parameter.name else None
        if source is not None and source.name == "COMMANDLINE":
            name = context.invoked_subcommand
            raise typer.BadParameter(f"write the options of {name} after its name", param_hint=parameter.opts[0])


@build_app.command()
def hydrate(
    folder: Annotated[Path, typer.Argument(help="A dataset in its release form: a folder, or hf:OWNER/NAME.")],
    out: Annotated[Path, typer.Option("--out", help="Where the full dataset goes.")],
    api: Annotated[str, typer.Option("--api", help="Address of the API.")] = "https://civitai.com/api/v1",
    requests_per_second: Annotated[
        float, typer.Option("--requests-per-second", min=0.01, help="Upper bound, one request a record.")
    ] = 1.0,
    removals: Annotated[
        Path | None, typer.Option("--removals", help="Pictures, models and @users that people asked to have removed.")
    ] = None,
    skip_unanswered: Annotated[
        bool, typer.Option("--skip-unanswered", help="Go on without records and pictures that are never answered.")
    ] = False,
) -> None:
    """Fetch the prompts and pictures that a release leaves out, with your own token ($CIVITAI_API_TOKEN).

    Example: chatgenbench build hydrate downloads/my-chatgenbench --out builds/full
    """
    from chatgenbench.build_commands import run_hydrate

    run_hydrate(folder, out, api, requests_per_second, removals, skip_unanswered, _console())


@build_app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A file or folder in the layout of the released ChatGenBench.")],
    out: Annotated[Path, typer.Option("--out", help="Benchmark folder to write.")],
) -> None:
    """Read the paper's released data, as far as its layout is known, into a benchmark folder.

    Example: chatgenbench build import downloads/ChatGenBench --out builds/chatgenbench-paper
    """
    from chatgenbench.build_commands import run_import

    run_import(source, out, _console())


def _console() -> Console:
    from rich.console import Console

    return Console()
