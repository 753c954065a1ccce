"""The command line of `chatgenbench train`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

train_app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

OutOption = Annotated[Path, typer.Option("--out", help="Where the training lives; type the command again to go on.")]
BenchmarkOption = Annotated[str, typer.Option("--benchmark", help="miniature, a folder, or hf:OWNER/NAME[@REVISION].")]
BaseOption = Annotated[
    str, typer.Option("--base-model", help="smollm2, a folder, a hub name, or tiny (fresh and small, for a try).")
]
EpochsOption = Annotated[float, typer.Option("--epochs", min=0.01, help="Passes over the chats in the first stage.")]
BatchOption = Annotated[int, typer.Option("--batch", min=1, help="Chats in a step.")]
RateOption = Annotated[float, typer.Option("--rate", min=0, help="Learning rate of the first stage.")]
RankOption = Annotated[int, typer.Option("--rank", min=1, max=512, help="Rank of the LoRA.")]
FullOption = Annotated[bool, typer.Option("--full", help="Train all weights instead of a LoRA.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Only so many chats, spread over all.")]
PoolOption = Annotated[str | None, typer.Option("--pool", help="Pictures (default: $CHATGENBENCH_HOME/pool).")]
DeviceOption = Annotated[str, typer.Option("--device", help="What draws and scores: auto, cpu, cuda ...")]


@train_app.callback()
def train() -> None:
    """Train a system of the literature on a benchmark's training split.

    It needs more packages: pip install 'chatgenbench\\[train]'
    """


@train_app.command()
def evo(
    out: OutOption,
    benchmark: BenchmarkOption = "miniature",
    base_model: BaseOption = "smollm2",
    epochs: EpochsOption = 3,
    batch: BatchOption = 8,
    rate: RateOption = 1e-3,
    rank: RankOption = 16,
    full: FullOption = False,
    shown: Annotated[int, typer.Option("--shown", min=1, max=32, help="Demonstrations that stage 3 shows.")] = 4,
    seed: SeedOption = 0,
    limit: LimitOption = None,
) -> None:
    """ChatGen-Evo: prompt writing, then one token per model, then arguments from demonstrations.

    Examples:

      chatgenbench train evo --benchmark miniature --out runs/evo

      chatgenbench train evo --benchmark builds/full --base-model Qwen/Qwen2.5-1.5B-Instruct --out runs/evo-qwen

      chatgenbench eval --system evo:runs/evo --system evo2:runs/evo --system evo1:runs/evo --out runs/stages

    Exit codes: 0 done, 1 a mistake in what was typed, 2 usage, 3 incomplete (type it again), 130 interrupted.
    """
    from chatgenbench.train_commands import Common, run_evo

    run_evo(Common(benchmark, base_model, out, epochs, batch, rate, 0 if full else rank, seed, limit), shown)


@train_app.command()
def beautifulprompt(
    out: OutOption,
    benchmark: BenchmarkOption = "miniature",
    base_model: BaseOption = "smollm2",
    epochs: EpochsOption = 2,
    batch: BatchOption = 8,
    rate: RateOption = 1e-3,
    rank: RankOption = 16,
    full: FullOption = False,
    chats: Annotated[int, typer.Option("--chats", min=2, help="Chats whose prompts are drawn for rewards.")] = 32,
    draws: Annotated[int, typer.Option("--draws", min=1, max=64, help="Prompts sampled for each of them.")] = 3,
    reward: Annotated[
        list[str] | None,
        typer.Option("--reward", help="METRIC=WEIGHT; repeat to mix (default: as published, or the miniature's)."),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of policy optimisation.")] = 16,
    seed: SeedOption = 0,
    limit: LimitOption = None,
    pool: PoolOption = None,
    device: DeviceOption = "auto",
) -> None:
    """BeautifulPrompt: fine-tuning, a reward model of drawn pictures, policy optimisation (RLOO).

    Examples:

      chatgenbench train beautifulprompt --benchmark miniature --out runs/beautiful

      chatgenbench train beautifulprompt --reward pickscore=0.7 --reward hpsv2=0.3 --steps 500 --out runs/beautiful
    """
    from chatgenbench.train_commands import Common, Drawing, run_beautifulprompt

    common = Common(benchmark, base_model, out, epochs, batch, rate, 0 if full else rank, seed, limit)
    run_beautifulprompt(common, Drawing(chats, draws, pool, device), tuple(reward or ()), steps)


@train_app.command()
def diffagent(
    out: OutOption,
    benchmark: BenchmarkOption = "miniature",
    base_model: BaseOption = "smollm2",
    epochs: EpochsOption = 2,
    batch: BatchOption = 8,
    rate: RateOption = 1e-3,
    rank: RankOption = 16,
    full: FullOption = False,
    chats: Annotated[int, typer.Option("--chats", min=2, help="Chats whose calls are drawn for rewards.")] = 32,
    draws: Annotated[int, typer.Option("--draws", min=1, max=64, help="Calls sampled for each of them.")] = 3,
    seed: SeedOption = 0,
    limit: LimitOption = None,
    pool: PoolOption = None,
    device: DeviceOption = "auto",
) -> None:
    """DiffAgent: fine-tuning over API calls, then RRHF with rewards of drawn pictures.

    Examples:

      chatgenbench train diffagent --benchmark miniature --out runs/diffagent

      chatgenbench eval --system diffagent:runs/diffagent --out runs/agent
    """
    from chatgenbench.train_commands import Common, Drawing, run_diffagent

    common = Common(benchmark, base_model, out, epochs, batch, rate, 0 if full else rank, seed, limit)
    run_diffagent(common, Drawing(chats, draws, pool, device))
