"""The command line of `chatgenbench systems`, and the options of systems that `eval` shares: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from chatgenbench.systems import Options

systems_app = typer.Typer(invoke_without_command=True, rich_markup_mode="rich")

_PANEL = "Systems in another process, and what answers cost"

LlmBaseUrl = Annotated[
    str | None,
    typer.Option("--llm-base-url", help="Endpoint of openai:MODEL (else $OPENAI_BASE_URL, else OpenAI's).",
                 rich_help_panel=_PANEL),
]  # fmt: skip
LlmBudget = Annotated[
    float | None,
    typer.Option("--llm-budget", min=0, help="Stop when openai:MODEL has cost so many USD.", rich_help_panel=_PANEL),
]
LlmTemperature = Annotated[
    float, typer.Option("--llm-temperature", min=0, max=2, help="Of openai:MODEL.", rich_help_panel=_PANEL)
]
LlmShortlist = Annotated[
    int, typer.Option("--llm-shortlist", min=1, max=500, help="Models shown to openai:MODEL.", rich_help_panel=_PANEL)
]
LlmExamples = Annotated[
    int, typer.Option("--llm-examples", min=0, max=100, help="Plans shown to openai:MODEL.", rich_help_panel=_PANEL)
]
LlmMaxTokens = Annotated[
    int,
    typer.Option(
        "--llm-max-tokens", min=16, max=1_000_000, help="Longest answer of openai:MODEL.", rich_help_panel=_PANEL
    ),
]
LlmImages = Annotated[
    bool,
    typer.Option(
        "--llm-images/--no-llm-images", help="Send reference pictures to openai:MODEL.", rich_help_panel=_PANEL
    ),
]
PriceIn = Annotated[
    float | None, typer.Option("--price-in", min=0, help="USD per million tokens read.", rich_help_panel=_PANEL)
]
PriceOut = Annotated[
    float | None, typer.Option("--price-out", min=0, help="USD per million tokens written.", rich_help_panel=_PANEL)
]
PriceDevice = Annotated[
    float | None,
    typer.Option("--price-device", min=0, help="USD per hour of the machine that answers.", rich_help_panel=_PANEL),
]
Timeout = Annotated[
    float,
    typer.Option("--answer-timeout", min=0.1, help="Seconds for one batch of answers over a wire.",
                 rich_help_panel=_PANEL),
]  # fmt: skip


def options_of(
    base_url: str | None, budget: float | None, temperature: float, shortlist: int, examples: int, max_tokens: int,
    images: bool,
    prices: tuple[float | None, float | None, float | None], timeout: float,
) -> Options:  # fmt: skip
    """Options of systems, from those of a command."""
    from chatgenbench.systems import Options, Prices

    return Options(
        llm_base_url=base_url, prices=Prices(*prices), budget=budget, timeout=timeout, temperature=temperature,
        shortlist=shortlist, demonstrations=examples, max_tokens=max_tokens, images=images,
    )  # fmt: skip


@systems_app.callback()
def systems(context: typer.Context) -> None:
    """List the systems that --system knows and explain the others; `systems try` asks one of them.

    Examples:

      chatgenbench systems

      chatgenbench systems try retrieval "a grumpy cat as a flat sticker"
    """
    if context.invoked_subcommand is None:
        from chatgenbench.systems_commands import list_systems

        list_systems(_console())


@systems_app.command("try")
def try_system(
    name: Annotated[str, typer.Argument(help="What --system takes: a name, http://..., openai:MODEL, cmd:COMMAND ...")],
    chat: Annotated[
        list[str], typer.Argument(help="What the person says; further texts are reply, turn, reply, turn.")
    ],
    image: Annotated[list[Path] | None, typer.Option("--image", help="A reference picture; repeat for more.")] = None,
    draw: Annotated[Path | None, typer.Option("--draw", help="Draw the plan into this PNG file.")] = None,
    benchmark: Annotated[
        str, typer.Option("--benchmark", help="Whose models and training split: miniature, a folder, or hf:OWNER/NAME.")
    ] = "miniature",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of systems that draw lots, and of the picture.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")] = "auto",
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
    """Have one system answer one chat; print the plan and what it cost, and draw it if asked to.

    Examples:

      chatgenbench systems try retrieval "a grumpy cat as a flat sticker" --draw cat.png

      chatgenbench systems try http://127.0.0.1:8000/plan "just like this, but a fox" --image sticker.png

      chatgenbench systems try openai:gpt-4o-mini "a cow" "As a stamp or as a photo?" "a stamp, black ink"
    """
    from chatgenbench.systems_commands import Trial, run_trial

    options = options_of(
        llm_base_url, llm_budget, llm_temperature, llm_shortlist, llm_examples, llm_max_tokens,
        llm_images, (price_in, price_out, price_device), answer_timeout,
    )  # fmt: skip
    trial = Trial(name, tuple(chat), tuple(image or ()), draw, benchmark, seed, device, options)
    if not run_trial(trial, _console()):
        raise typer.Exit(1)


def _console() -> Console:
    from rich.console import Console

    return Console()
