"""From one string on the command line to a system.

    oracle, random, ...          a built-in (declared with `@builtin` in its own file)
    NAME                         an entry point of the group `chatgenbench.systems`
    module:Object                a class, factory or instance; the current folder is importable
    http://host/path             a server that speaks JSON (`https://` too)
    openai:MODEL                 a language model behind an OpenAI-compatible endpoint
    cmd:COMMAND                  a command of this machine that speaks JSON lines
    chatgen:2b                   a published ChatGen-Base model
    plans.csv, plans.jsonl       a predictions file
    writer | chooser | arguer    stages, or one of them; systems are stages too (`chatgenbench.systems.stages`)
    evo:DIR and its like         what `chatgenbench train` left in DIR

A class or factory is called with no arguments, or with `seed=` where its signature names it.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from difflib import get_close_matches
from functools import reduce
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import UnknownNameError, UserError

# imported for what they declare
from chatgenbench.systems import echo, oracle, popular, random_plan, retrieval, stuffing  # noqa: F401
from chatgenbench.systems.declare import BUILTINS
from chatgenbench.systems.guard import describe, one_line, own_folder
from chatgenbench.systems.options import Options
from chatgenbench.systems.predictions import SUFFIXES, Predictions
from chatgenbench.systems.protocol import System
from chatgenbench.systems.stages import STAGES, compose, find, is_composed
from chatgenbench.systems.trained.names import trained_names, trained_system

GROUP = "chatgenbench.systems"
HINT = (
    "`chatgenbench systems` lists them; or give module:Object, a .csv or a .jsonl file, http://host/path, openai:MODEL "
    "or cmd:COMMAND"
)
#: What stands for a system beside the names: form, what it is.
FORMS = (
    ("module:Object", "a Python class, factory or instance; modules of the current folder are found"),
    ("plans.csv, plans.jsonl", "a predictions file: answers that you already have"),
    ("http://host/path", "a server that speaks JSON, a batch of chats at a time; https:// too"),
    ("cmd:python my.py", "a command of this machine that reads and writes JSON lines"),
    ("openai:MODEL", "a language model behind an OpenAI-compatible endpoint (--llm-base-url)"),
    ("chatgen:2b, :4b, :8b", "a published ChatGen-Base model (arXiv 2411.17176), or chatgen:FOLDER"),
)
MEMBERS = ("name", "revision", "prepare", "plan")
DEFAULTS = Options()
_IMPORT = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")


def resolve(spec: str, benchmark: Benchmark, seed: int, options: Options = DEFAULTS) -> System:
    """The system that `spec` names, not yet prepared.

    Raises:
        UnknownNameError: no such system; the message suggests near names.
        PredictionsError: a predictions file that cannot be used.
        UserError: a module, object, entry point or address that cannot be loaded or is no system.
        InfraError: a server that is not there.
    """
    spec = spec.strip()
    if is_composed(spec):
        return compose(spec, benchmark, seed, lambda part: resolve(part, benchmark, seed, options))
    if spec in BUILTINS:
        return BUILTINS[spec].make(benchmark, seed)
    if (point := _entry_points().get(spec)) is not None:
        return _outsider(spec, lambda: point.load(), seed)
    if (trained := trained_system(spec)) is not None:
        return trained
    if (addressed := _addressed(spec, benchmark, seed, options)) is not None:
        return addressed
    if Path(spec).suffix.lower() in SUFFIXES:
        return Predictions(Path(spec), benchmark)
    if find(spec) is not None:
        return compose(spec, benchmark, seed, lambda part: resolve(part, benchmark, seed, options))
    if _IMPORT.fullmatch(spec):
        return _outsider(spec, lambda: _import(spec), seed)
    known = [name for name, _ in names() if ":" not in name] + list(STAGES)
    raise UnknownNameError("system", spec, known, HINT)


def _addressed(spec: str, benchmark: Benchmark, seed: int, options: Options) -> System | None:
    """A system that is named by its kind and an address, if `spec` is one; what it needs is imported only then."""
    kind = spec.partition(":")[0].lower() if ":" in spec else ""
    if kind in ("http", "https"):
        from chatgenbench.systems.wire import HttpSystem

        return HttpSystem(spec, benchmark, options.timeout)
    if kind == "cmd":
        from chatgenbench.systems.wire import CommandSystem

        return CommandSystem(spec, benchmark, options.timeout)
    if kind == "openai":
        from chatgenbench.systems.llm import LanguageModel

        return LanguageModel(spec, benchmark, seed, options)
    if kind == "chatgen":
        from chatgenbench.systems.chatgen import ChatGen

        return ChatGen(spec.partition(":")[2], benchmark, seed)
    return None


def names() -> list[tuple[str, str]]:
    """(name, one line of description) of every registered system: built-ins, then entry points."""
    builtins = sorted((b.name, b.summary) for b in BUILTINS.values())
    outsiders = sorted((name, f"from {_origin(point)}") for name, point in _entry_points().items())
    return builtins + trained_names() + outsiders


def _entry_points() -> dict[str, EntryPoint]:
    """Entry points by name; a built-in's name always means the built-in."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in BUILTINS}


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def _import(spec: str) -> object:
    """`module:Object`, looked for in the current folder first, as `python -m` does."""
    module_name, _, path = spec.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    module = importlib.import_module(module_name)
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError:
        near = get_close_matches(path, [n for n in dir(module) if not n.startswith("_")], n=1)
        hint = f": did you mean '{near[0]}'?" if near else ""
        raise UserError(f"system '{spec}': module '{module_name}' has no '{path}'{hint}") from None


def _outsider(spec: str, load: Callable[[], object], seed: int) -> System:
    """Load someone's object and make it a system; whatever it raises becomes one line for a person."""
    try:
        with own_folder():
            return _checked(_instance(load(), seed), spec)
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise UserError(one_line(f"system '{spec}' cannot be loaded: {describe(error)}")) from error


def _instance(found: object, seed: int) -> object:
    """Call a class or factory; hand an instance on as it is."""
    if not callable(found) or (not inspect.isclass(found) and hasattr(found, "plan")):
        return found
    try:
        wants_seed = "seed" in inspect.signature(found).parameters
    except ValueError:  # some callables written in C have no signature
        wants_seed = False
    return found(seed=seed) if wants_seed else found()


def _checked(system: object, spec: str) -> System:
    lacking = [member for member in MEMBERS if not hasattr(system, member)]
    if not lacking and not (isinstance(system.name, str) and isinstance(system.revision, str)):  # type: ignore[attr-defined]
        lacking = ["name and revision as text"]
    if lacking or not isinstance(system, System):
        raise UserError(
            f"system '{spec}' is no system: its {type(system).__name__} lacks {', '.join(lacking)} "
            "(it needs name, revision, prepare(catalog, train) and plan(inputs))"
        )
    return system
