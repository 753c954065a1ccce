"""Which answer belongs to which chat, and what it says: nothing here trusts what a system sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from chatgenbench.errors import shorten
from chatgenbench.schema import Costs, Failure, FreestyleInput, Plan
from chatgenbench.systems.answers import AnswerError, Reader
from chatgenbench.systems.guard import first_problem, one_line
from chatgenbench.systems.protocol import Answered

#: What an answer may hold beside its id.
SAYS = ("plan", "text", "failure")


def settle(inputs: Sequence[FreestyleInput], answers: Sequence[Any], reader: Reader) -> list[Answered]:
    """One answer per input, in the order of the inputs, from answers in any order.

    A row that was answered twice and differently, or not at all, fails; answers to what was not asked are passed over.
    The only answer to the only input needs no id.
    """
    if len(inputs) == len(answers) == 1 and isinstance(answers[0], Mapping) and answers[0].get("id") is None:
        answers = [{**answers[0], "id": inputs[0].id}]
    given: dict[str, list[Mapping[str, Any]]] = {}
    for answer in answers:
        if isinstance(answer, Mapping) and isinstance(key := answer.get("id"), str):
            given.setdefault(key, []).append(answer)
    return [_one(given.get(chat.id, []), len(answers), reader) for chat in inputs]


def _one(given: Sequence[Mapping[str, Any]], count: int, reader: Reader) -> Answered:
    if not given:
        return Answered(Failure(reason=f"not-answered: none of the {count} answers has this row's id"))
    if any(answer != given[0] for answer in given[1:]):
        return Answered(Failure(reason=f"answered-twice: {len(given)} different answers to one row"), _costs(given[0]))
    return Answered(_said(given[0], reader), _costs(given[0]))


def _said(answer: Mapping[str, Any], reader: Reader) -> Plan | Failure:
    told = [name for name in SAYS if answer.get(name) is not None]
    if len(told) > 1:
        return Failure(reason=f"two-plans: {' and '.join(told)} in one answer")
    if told == ["failure"]:
        return _failure(answer["failure"])
    try:
        return reader.read(answer[told[0]] if told else {k: v for k, v in answer.items() if k not in ("id", "costs")})
    except AnswerError as error:
        return Failure(reason=one_line(error))


def _failure(value: Any) -> Failure:
    if isinstance(value, str):
        value = {"reason": value}
    if isinstance(value, Mapping):
        value = {**value, "reason": one_line(value.get("reason", "no reason given"))}
    try:
        return Failure.model_validate(value)
    except ValidationError as error:
        return Failure(reason=one_line(f"bad-value: failure: {first_problem(error)}"))


def _costs(answer: Mapping[str, Any]) -> Costs:
    """What the system counted; what is no count at all is as good as not told."""
    told = answer.get("costs")
    found: dict[str, Any] = {}
    for name, value in told.items() if isinstance(told, Mapping) else ():
        with suppress(ValidationError):
            found[name] = getattr(Costs.model_validate({name: value}, strict=True), name)
    return Costs(**found)


def quoted(text: str) -> str:
    """A piece of what was sent, for a message."""
    return f"'{shorten(text.strip(), 80)}'" if text.strip() else "nothing"
