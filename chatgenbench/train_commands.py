"""What `chatgenbench train` does with what was typed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.errors import InfraError, UserError, shorten
from chatgenbench.evaluate.pipeline import pick_device
from chatgenbench.interrupt import held

if TYPE_CHECKING:
    from chatgenbench.train.sft import Fit


@dataclass(frozen=True)
class Common:
    """What every recipe is told; `rank` 0 trains all weights."""

    benchmark: str
    base_model: str
    out: Path
    epochs: float
    batch: int
    rate: float
    rank: int
    seed: int
    limit: int | None


@dataclass(frozen=True)
class Drawing:
    """What recipes are told that draw."""

    chats: int
    draws: int
    pool: str | None
    device: str


def say(line: str) -> None:
    """One line of progress."""
    typer.echo(line, err=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """A disk that refuses is InfraError: those who write weights say it in exceptions of their own."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        said = str(error)
        if not any(
            words in said for words in ("I/O error", "PytorchStreamWriter", "inline_container", "No space left")
        ):
            raise
        raise InfraError(f"cannot write to {folder} ({shorten(said, 120)}): mend that, type it again") from error


def run_evo(common: Common, shown: int) -> None:
    benchmark = _begun(common)
    with held():
        from chatgenbench.train import evo

    options = evo.EvoOptions(base_model=common.base_model, fit=_fit(common), shown=shown, limit=common.limit)
    with writing(common.out):
        evo.train(benchmark, options, common.out, say)
    _ended(f"evo:{common.out}", common)


def run_beautifulprompt(common: Common, drawing: Drawing, reward: tuple[str, ...], steps: int) -> None:
    benchmark = _begun(common)
    with held():
        from chatgenbench.train import beautifulprompt as recipe
        from chatgenbench.train.policy import Policy

    usual = recipe.MINIATURE if benchmark.manifest.weights == "miniature" else recipe.PUBLISHED
    options = recipe.BeautifulPromptOptions(
        base_model=common.base_model, fit=_fit(common), reward=_weights(reward) or dict(usual), chats=drawing.chats,
        draws=drawing.draws, policy=Policy(steps=steps, seed=common.seed), limit=common.limit,
    )  # fmt: skip
    with writing(common.out):
        recipe.train(benchmark, options, common.out, say, pick_device(drawing.device), drawing.pool)
    _ended(f"beautifulprompt:{common.out}", common)


def run_diffagent(common: Common, drawing: Drawing) -> None:
    benchmark = _begun(common)
    with held():
        from chatgenbench.train import diffagent as recipe

    options = recipe.DiffAgentOptions(
        base_model=common.base_model, fit=_fit(common), prompts=drawing.chats, calls=drawing.draws, limit=common.limit
    )
    options = replace(options, ranking=replace(options.ranking, seed=common.seed))
    with writing(common.out):
        recipe.train(benchmark, options, common.out, say, pick_device(drawing.device), drawing.pool)
    _ended(f"diffagent:{common.out}", common)


def _begun(common: Common) -> Benchmark:
    """The benchmark, once what was typed is seen to be usable."""
    from chatgenbench.train.data import require

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for package in ("peft", "accelerate"):
        require(package)
    if common.out.exists() and not common.out.is_dir():
        raise UserError(f"--out {common.out} is a file: choose another place")
    return load_benchmark(common.benchmark)


def _ended(system: str, common: Common) -> None:
    scores = common.out.with_name(f"{common.out.name}-scores")
    words = ["eval", "--system", system, "--benchmark", common.benchmark, "--limit", "40", "--out", str(scores)]
    typer.echo(f"trained: {common.out}\ntry it: chatgenbench {shlex.join(words)}")


def _fit(common: Common) -> Fit:
    from chatgenbench.train.sft import Fit

    return Fit(common.epochs, common.batch, common.rate, common.rank, common.seed)


def _weights(typed: tuple[str, ...]) -> dict[str, float]:
    """METRIC=WEIGHT, each a picture metric of the suite."""
    import t2imetrics

    found: dict[str, float] = {}
    for one in typed:
        name, equals, number = one.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            equals = ""
        if not equals or name not in t2imetrics.list():
            raise UserError(f"--reward '{shorten(one, 60)}' is no METRIC=WEIGHT; `chatgenbench metrics` lists metrics")
    return found
