"""Declare a stage where it is written, and make a system of a string such as `chat | hybrid | model-args`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import UnknownNameError, UserError, shorten
from chatgenbench.systems.protocol import System
from chatgenbench.systems.stages.borrowed import Borrowed
from chatgenbench.systems.stages.compose import SEPARATOR, Composed
from chatgenbench.systems.stages.protocol import Arguer, Chooser, Stage, Writer

Role = Literal["writer", "chooser", "arguer"]
ROLES: tuple[Role, ...] = ("writer", "chooser", "arguer")
_A: dict[Role, str] = {"writer": "a writer", "chooser": "a chooser", "arguer": "an arguer"}
#: What stands where nothing is said.
DEFAULTS: dict[Role, str] = {"writer": "chat", "chooser": "retrieval", "arguer": "model-args"}

#: Given what follows the colon of its name (None: nothing does), the benchmark and the run's seed.
Maker = Callable[[str | None, Benchmark, int], Stage]
#: Makes a system of a string that names no stage.
Resolve = Callable[[str], System]
M = TypeVar("M", bound=Maker)


@dataclass(frozen=True)
class Declared:
    """A stage that can be named: `takes` says what may follow its colon ("" : nothing may)."""

    name: str
    role: Role
    summary: str
    make: Maker
    takes: str = ""


STAGES: dict[str, Declared] = {}


def stage(name: str, role: Role, summary: str, takes: str = "") -> Callable[[M], M]:
    """Register the decorated class (or function) as stage `name`."""

    def register(make: M) -> M:
        STAGES[name] = Declared(name, role, summary, make, takes)
        return make

    return register


def stage_names() -> list[tuple[str, Role, str]]:
    """(name as typed, role, one line of description), in the order of the roles."""
    order = sorted(STAGES.values(), key=lambda s: (ROLES.index(s.role), s.name))
    return [(f"{s.name}:{s.takes}" if s.takes else s.name, s.role, s.summary) for s in order]


def find(spec: str) -> Declared | None:
    """The stage that `spec` (`name` or `name:argument`) names, or None."""
    return STAGES.get(spec.partition(":")[0].strip())


def compose(spec: str, benchmark: Benchmark, seed: int, resolve: Resolve) -> Composed:
    """The system of a string of one to three stages.

    One name stands for its own part of the plan; two are a writer and a chooser.

    Raises:
        UserError: more than three parts, an empty one, a stage in another's place, or an argument it cannot take.
        UnknownNameError: a name that is neither stage nor system.
    """
    named = _placed(spec)
    borrowed: dict[str, Borrowed] = {}
    made = {role: _make(role, named[role], benchmark, seed, resolve, borrowed) for role in ROLES}
    writer, chooser, arguer = made["writer"], made["chooser"], made["arguer"]
    if not (isinstance(writer, Writer) and isinstance(chooser, Chooser) and isinstance(arguer, Arguer)):
        raise TypeError("a stage was declared for a role that it does not play")
    return Composed(f" {SEPARATOR} ".join(named[role] for role in ROLES), writer, chooser, arguer)


def _placed(spec: str) -> dict[Role, str]:
    """Which name plays which role."""
    parts = [part.strip() for part in spec.split(SEPARATOR)]
    if len(parts) > len(ROLES) or not all(parts):
        raise UserError(f"'{shorten(spec, 80)}' is no system: write one to three stages, `writer | chooser | arguer`")
    if len(parts) == 1 and (alone := find(parts[0])) is not None:
        return {**DEFAULTS, alone.role: parts[0]}
    return {**DEFAULTS, **dict(zip(ROLES, parts, strict=False))}


def _make(
    role: Role, spec: str, benchmark: Benchmark, seed: int, resolve: Resolve, borrowed: dict[str, Borrowed]
) -> Stage:
    declared = find(spec)
    if declared is None:
        return _borrow(role, spec, resolve, borrowed)
    if declared.role != role:
        raise UserError(
            f"'{declared.name}' is {_A[declared.role]}, not {_A[role]}: order them `writer | chooser | arguer`"
        )
    name, colon, argument = spec.partition(":")
    if colon and not declared.takes:
        raise UserError(f"stage '{name}' takes nothing after a colon: write '{name}'")
    return declared.make(argument.strip() or None, benchmark, seed)


def _borrow(role: Role, spec: str, resolve: Resolve, borrowed: dict[str, Borrowed]) -> Stage:
    """A whole system in one place; the same one in two places is asked once."""
    if spec not in borrowed:
        try:
            borrowed[spec] = Borrowed(resolve(spec))
        except UnknownNameError:
            known = [s.name for s in STAGES.values() if s.role == role]
            hint = "`chatgenbench systems` lists stages and systems, and any system is a stage"
            raise UnknownNameError(role, spec, known, hint) from None
    return borrowed[spec]
