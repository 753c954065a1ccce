"""Ask a system for plans and get exactly one usable answer per input, whatever the system does.

Systems are other people's code and models: they raise, miscount, answer with the wrong type or name models that do
not exist.  Every such case ends as a `Failure` of the rows it concerns, with a reason of one line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter

from pydantic import ValidationError

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.errors import ChatGenBenchError, InfraError, PlanError, UnknownNameError, UserError, shorten
from chatgenbench.schema import Costs, Failure, FreestyleInput, Outcome, Plan
from chatgenbench.systems.protocol import Answered, StopRun, System

#: Longest reason of a failed row, in characters.
MAX_REASON = 300
#: Unknown models that get a "did you mean": each costs a comparison with the whole catalog.
MAX_SUGGESTIONS = 200


class Fitting:
    """Brings plans into the catalog's terms: `model` and `ranking` become catalog ids."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._complaints: dict[str, str] = {}

    def fit(self, plan: Plan) -> Plan:
        """`plan` with catalog ids.  A ranking keeps names it cannot place: they are wrong guesses, not absent ones.

        Raises:
            PlanError: the catalog has no such model.
        """
        record = self._catalog.find(plan.model)
        if record is None:
            raise PlanError(self._complaint(plan.model))
        found = [(name, self._catalog.find(name)) for name in plan.ranking[: len(self._catalog)]]
        ranking = tuple(name if known is None else known.id for name, known in found)
        return plan.model_copy(update={"model": record.id, "ranking": ranking})

    def _complaint(self, name: str) -> str:
        if name not in self._complaints and len(self._complaints) >= MAX_SUGGESTIONS:
            return f"unknown model '{shorten(name, 80)}'"
        return self._complaints.setdefault(name, str(UnknownNameError("model", name, self._catalog.records)))


@contextmanager
def own_folder() -> Iterator[None]:
    """Afterwards the current folder is what it was before: a system that changes it must not move the run's files."""
    try:
        before = os.getcwd()
    except OSError:  # it was deleted
        before = None
    try:
        yield
    finally:
        if before is not None:
            os.chdir(before)


def ready(system: System, benchmark: Benchmark) -> None:
    """Prepare a system on the benchmark's catalog and training split.

    Raises:
        UserError: the system could not prepare itself; what it raised is in the message.
    """
    try:
        with own_folder():
            system.prepare(Catalog(benchmark.catalog), benchmark.train)  # one of its own: plans are read with ours
    except (ChatGenBenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise UserError(one_line(f"system '{system.name}' could not prepare itself: {describe(error)}")) from error


@dataclass(frozen=True)
class Spent:
    """Seconds that an answer took, what it cost, and what the system says of it."""

    seconds: float
    costs: Costs
    note: str = ""


def ask(
    system: System, inputs: Iterable[FreestyleInput], catalog: Catalog, batch_size: int
) -> Iterator[tuple[FreestyleInput, Plan | Failure, Spent]]:
    """Yield (input, answer, spent) for each input, in order, asking `batch_size` inputs at a time.

    Seconds are the batch's time divided by its rows, unless the system timed its answers one by one.  A system that
    runs on this machine holds it for that time: these are its device seconds, unless it counted them.  When the system
    raises, the answers it gave before stand and the rest of the batch fails; when it gives more or fewer answers than
    inputs, the whole batch fails, because nobody can say which answer belongs to which input.

    Raises:
        UserError, InfraError: what a system that can answer nothing more stops the run with (`StopRun`), after the
            answers it gave before.  KeyboardInterrupt passes through.
    """
    fitting = Fitting(catalog)
    here = bool(getattr(system, "runs_here", True))
    waiting = iter(inputs)
    while batch := tuple(islice(waiting, batch_size)):
        start = perf_counter()
        answers, stop = _collect(system, batch)
        seconds = (perf_counter() - start) / len(batch)
        for chat, answer in zip(batch, answers, strict=stop is None):
            found = answer.answer if isinstance(answer, Answered) else answer
            yield chat, _settle(found, fitting), _spent(answer, seconds, here)
        if stop is not None:
            raise stop.error from None


def _spent(answer: object, seconds: float, here: bool) -> Spent:
    costs, note = Costs(), ""
    if isinstance(answer, Answered):
        seconds = seconds if answer.seconds is None else answer.seconds
        costs, note = answer.costs, one_line(answer.note)
    if here and costs.device_seconds is None:
        costs = costs.model_copy(update={"device_seconds": seconds})
    return Spent(seconds, costs, note)


def _collect(system: System, batch: Sequence[FreestyleInput]) -> tuple[list[object], StopRun | None]:
    """As many answers as inputs, of whatever type; or those given before the system stopped the run."""
    answers: list[object] = []
    try:
        own = [chat.model_copy(deep=True) for chat in batch]  # whatever a system does with them, rows keep their ids
        # one more than asked for is enough to know: an endless generator must not hang the run
        with own_folder():
            for answer in islice(system.plan(own), len(batch) + 1):
                answers.append(answer)
    except KeyboardInterrupt:
        raise
    except StopRun as stop:
        return answers[: len(batch)], stop
    except BaseException as error:  # a cancelled task, an exit or a closed generator ends no run of ours
        outcome = Outcome.INFRA_FAILED if isinstance(error, InfraError) else Outcome.SYSTEM_FAILED
        failure = Failure(outcome=outcome, reason=one_line(f"the system raised {describe(error)}"))
        return [*answers, *[failure] * len(batch)][: len(batch)], None
    if len(answers) == len(batch):
        return answers, None
    given = f"more than {len(batch)}" if len(answers) > len(batch) else str(len(answers))
    reason = f"the system gave {given} answers to {len(batch)} inputs: which belongs to which cannot be known"
    return [Failure(reason=reason)] * len(batch), None


def keep(system: System, folder: Path) -> None:
    """Show a system that keeps a journal of its own the run's folder."""
    if callable(shown := getattr(system, "keep_in", None)):
        shown(folder)


def done(system: System) -> None:
    """Tell a system that there is nothing more to ask; what it raises at that is no row's fault."""
    if callable(close := getattr(system, "close", None)):
        with suppress(Exception):
            close()


def _settle(answer: object, fitting: Fitting) -> Plan | Failure:
    """The answer as a plan that fits the catalog, or why it is none."""
    try:
        if isinstance(answer, Failure):
            return Failure(outcome=answer.outcome, reason=one_line(answer.reason))
        return fitting.fit(_coerce(answer))
    except ValidationError as error:
        return Failure(reason=one_line(f"not a valid plan: {first_problem(error)}"))
    except PlanError as error:
        return Failure(reason=one_line(error))
    except Exception as error:  # a hostile __getattr__ or __iter__ of the answer itself
        return Failure(reason=one_line(f"the answer cannot be read: {describe(error)}"))


def _coerce(answer: object) -> Plan:
    """A checked Plan.  An instance is checked again: `model_construct` and `model_copy` check nothing."""
    if isinstance(answer, Plan):
        return Plan.model_validate(answer.model_dump(include=set(Plan.model_fields), warnings=False))
    if isinstance(answer, Mapping):
        return Plan.model_validate(dict(answer))
    raise PlanError(f"the system answered with {type(answer).__name__}, not with a Plan")


def first_problem(error: ValidationError) -> str:
    """The first thing wrong, as `field: what (got ...)`, and how many more there are."""
    problems = error.errors(include_url=False)
    where = next((part for part in reversed(problems[0]["loc"]) if isinstance(part, str)), "plan")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{where}: {_what(problems[0]['msg'], problems[0]['input'])}{more}"


def _what(message: str, value: object) -> str:
    """A validation message with the value it is about, where that is short enough to help."""
    if isinstance(value, str):
        return f"{message} (got '{shorten(value, 40)}')"
    if isinstance(value, float) or (isinstance(value, int) and value.bit_length() <= 64):
        return f"{message} (got {value})"
    return message


def describe(error: BaseException) -> str:
    """An exception for a person: its type, unless it is one of ours, and its message."""
    try:
        message = str(error)
    except Exception:
        message = "(its message cannot be shown)"
    return message if isinstance(error, ChatGenBenchError) else f"{type(error).__name__}: {message}".rstrip(": ")


def one_line(text: object, limit: int = MAX_REASON) -> str:
    """`text` on one line, at most `limit` characters, and writable as UTF-8."""
    return shorten(str(text), limit).encode("utf-8", "replace").decode("utf-8")
