"""What `chatgenbench systems` does: list and explain systems, and have one answer one chat."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.errors import InfraError, RenderError, UserError
from chatgenbench.schema import ARGUMENT_KEYS, MAX_TEXT, Failure, FreestyleInput, Message, Plan

if TYPE_CHECKING:
    from rich.console import Console

    from chatgenbench.systems import Options, Spent, System

#: Id of the one chat of a trial; no item has it.
TRIAL = "try"


@dataclass(frozen=True)
class Trial:
    """The options of `chatgenbench systems try`."""

    name: str
    chat: tuple[str, ...]
    images: tuple[Path, ...]
    draw: Path | None
    benchmark: str
    seed: int
    device: str
    options: Options


def list_systems(console: Console) -> None:
    """Names, what else --system takes, and where to read on."""
    from chatgenbench.commands import print_rows
    from chatgenbench.systems import FORMS, names
    from chatgenbench.systems.stages import stage_names

    print_rows(console, "Systems", ("name", "what it answers"), names())
    title = "Stages: --system 'writer | chooser | arguer', where any system is a stage too"
    print_rows(console, title, ("name", "role", "what it does"), stage_names())
    print_rows(console, "Systems of your own", ("--system", "what it is"), FORMS)
    line = 'try one: chatgenbench systems try NAME "what a person says" --draw picture.png   (docs/SYSTEMS.md)'
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def run_trial(trial: Trial, console: Console) -> bool:
    """Ask, print, and draw if asked to; False, with the reason printed, if there is no plan.

    Raises:
        UserError: a chat, picture, system or device that cannot be used.
        InfraError: the system, disk or device failed.
    """
    from chatgenbench.evaluate.handed import handed
    from chatgenbench.quiet import quiet
    from chatgenbench.systems import ask, done, ready, resolve

    benchmark = load_benchmark(trial.benchmark)
    chat = chat_of(trial)
    system: System = resolve(trial.name, benchmark, trial.seed, trial.options)
    try:
        with quiet():
            ready(system, benchmark)
            [(_, answer, spent)] = ask(system, [handed(chat, Path("/"))], benchmark.catalog, 1)
    finally:
        done(system)
    _show(answer, spent, trial, console)
    if isinstance(answer, Failure):
        return False
    if trial.draw is not None:
        _draw(answer, benchmark, trial, trial.draw)
        console.print(f"picture: {trial.draw}", soft_wrap=True, highlight=False, markup=False)
    return True


def chat_of(trial: Trial) -> FreestyleInput:
    """The chat that was typed: turns of the person and replies by turns, pictures with the last turn."""
    if len(trial.chat) % 2 == 0:
        raise UserError("a chat ends with what the person says: turn, reply, turn, ... (give an odd number of texts)")
    for image in trial.images:
        if not image.is_file():
            raise UserError(f"--image {image}: no such file")
    if any(len(text) > MAX_TEXT for text in trial.chat):
        raise UserError(f"a turn of a chat has at most {MAX_TEXT:,} characters")
    last = len(trial.chat) - 1
    shown = tuple(str(image.resolve()) for image in trial.images)
    messages = tuple(
        Message(role="assistant" if at % 2 else "user", text=text, images=shown if at == last else ())
        for at, text in enumerate(trial.chat)
    )
    return FreestyleInput(id=TRIAL, kind="history" if last else "multimodal" if shown else "single", messages=messages)


def _show(answer: Plan | Failure, spent: Spent, trial: Trial, console: Console) -> None:
    from chatgenbench.commands import print_rows

    rows = [("outcome", str(answer.outcome)), ("reason", answer.reason)] if isinstance(answer, Failure) else []
    if isinstance(answer, Plan):
        rows = [("prompt", answer.prompt), ("negative prompt", answer.negative_prompt), ("model", answer.model)]
        told = answer.arguments.model_dump(exclude_none=True)
        rows += [(key.replace("_", " "), f"{told[key]}") for key in (*ARGUMENT_KEYS, *(told.keys() - {*ARGUMENT_KEYS}))]
        if answer.ranking:
            rows.append(("next models", ", ".join(answer.ranking[1:5])))
    costs = spent.costs
    usd = trial.options.prices.of(costs)
    rows.append(("seconds", f"{spent.seconds:.3g}"))
    if costs.tokens is not None:
        rows.append(("tokens", f"{costs.tokens:,} ({costs.prompt_tokens} read, {costs.completion_tokens} written)"))
    if costs.device_seconds is not None:
        rows.append(("device seconds", f"{costs.device_seconds:.3g}"))
    if usd is not None:
        rows.append(("price", f"US$ {usd:.6g}"))
    print_rows(console, f"{trial.name} answers", ("part", "answer"), rows)


def _draw(plan: Plan, benchmark: Benchmark, trial: Trial, file: Path) -> None:
    """Draw one plan and copy its picture out of the pool."""
    from chatgenbench.evaluate.pipeline import pick_device
    from chatgenbench.home import home
    from chatgenbench.quiet import quiet
    from chatgenbench.render import Pool, draw
    from chatgenbench.schema import Outcome

    device = pick_device(trial.device)
    pool = Pool(home() / "pool")
    pool.check()
    with quiet():
        [row] = draw([(TRIAL, plan)], benchmark, pool, seed_of=lambda item: trial.seed, batch_size=1, device=device)
    if row.outcome is not Outcome.OK or row.picture is None:
        reason = row.reason or "no picture"
        raise InfraError(reason) if row.outcome is Outcome.INFRA_FAILED else RenderError(reason)
    try:
        shutil.copyfile(pool.path(row.picture), file)
    except OSError as error:
        raise UserError(f"--draw {file} cannot be written ({error.strerror}): choose another") from None
