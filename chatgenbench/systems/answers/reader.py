"""From whatever was answered to a Plan of the catalog, or to the kind of trouble that it is in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from chatgenbench.benchmark import Catalog
from chatgenbench.errors import PlanError, printable, shorten
from chatgenbench.schema import ARGUMENT_KEYS, MAX_TEXT, Plan
from chatgenbench.systems.answers.kinds import AnswerError
from chatgenbench.systems.answers.labels import bare, labelled, pairs
from chatgenbench.systems.answers.lenient import Twice, objects, spans
from chatgenbench.systems.answers.values import field_of, fields, number, size
from chatgenbench.systems.guard import Fitting, first_problem

#: Characters of an answer that are read; a plan has a few thousand.
MAX_ANSWER = 200_000
_REFUSAL = re.compile(
    r"\bi(?:'m| am)(?: so| very)? sorry\b|\bi apologi[sz]e\b|\bi(?: can(?:'|no)t| won't| will not)\b|\bas an ai\b"
    r"|\bi(?:'m| am) (?:not able|unable)\b|\bcannot (?:assist|help|comply|fulfil)|\bunable to (?:assist|help|comply)"
    r"|\bagainst (?:my|the|our) (?:policy|policies|guidelines)|抱歉|对不起|无法|不能|lo siento|désolé|申し訳|죄송"
    r"|es tut mir leid", re.IGNORECASE,
)  # fmt: skip
_HTML = re.compile(r"\s*(?:<!doctype\s+html|<html|<head|<body)", re.IGNORECASE)
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_THINK = re.compile("<(/?)think>")
#: Where a model's name may end and its description begin.
_ENDS = re.compile(r"[.。]\s|[.。]$|\s[-–—(]|[:：,，;(（\n]|\s\|")
_SCHEDULES = {"karras": "Karras", "exponential": "Exponential"}


class Reader:
    """Reads answers in terms of one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._fitting = Fitting(catalog)

    def read(self, answer: object) -> Plan:
        """The plan in a text or in an object that came as JSON.

        Raises:
            AnswerError: there is none that can be used; its kind says why.
        """
        found = self._fields(answer)
        for value in found.values():
            if isinstance(value, Twice):
                raise AnswerError("two-plans", "a part is given twice")
        return self._plan(found)

    def _fields(self, answer: object) -> dict[str, Any]:
        if isinstance(answer, Mapping):
            if read := _one([dict(answer)]) or fields(answer):
                return read
            raise AnswerError("no-plan", "the answer is an object with none of a plan's parts")
        if not isinstance(answer, str):
            raise AnswerError("no-plan", f"the answer is a JSON {type(answer).__name__}, not text or an object")
        text = clean(answer)
        found, trouble = objects(text)
        return _one(found) or labelled(text) or _hopeless(text, trouble)

    def _plan(self, found: dict[str, Any]) -> Plan:
        arguments = self._arguments(found)
        prompt = _words(found.get("prompt"), "prompt")
        if not prompt:
            raise AnswerError("missing", "the prompt")
        plan = {
            "prompt": prompt, "negative_prompt": _words(found.get("negative_prompt"), "negative_prompt"),
            "model": self._model(found.get("model")), "arguments": arguments, "ranking": _ranking(found.get("ranking")),
        }  # fmt: skip
        try:
            return self._fitting.fit(Plan.model_validate(plan))
        except ValidationError as error:
            raise AnswerError("bad-value", first_problem(error)) from None
        except PlanError as error:
            raise AnswerError("unknown-model", str(error).removeprefix("unknown model ")) from None

    def _arguments(self, found: dict[str, Any]) -> dict[str, Any]:
        if isinstance(told := found.get("arguments"), str):
            found = {**pairs(told), **found}
        if "size" in found:
            width, height = size(found["size"])
            found = {"width": width, "height": height, **found}
        read: dict[str, Any] = {}
        for key in ("steps", "cfg_scale", "width", "height", "seed", "clip_skip", "lora_weight"):
            if found.get(key) not in (None, "") and not (key == "seed" and str(found[key]).strip() == "-1"):
                read[key] = number(key, found[key])
        if sampler := self._sampler(found):
            read["sampler"] = sampler
        if missing := [key for key in ARGUMENT_KEYS if key not in read]:
            raise AnswerError("missing", ", ".join(missing))
        return read

    def _sampler(self, found: dict[str, Any]) -> str:
        """The sampler; one whose schedule stands beside it gets A1111's name for the two."""
        name, schedule = (_name(found.get(key), key) for key in ("sampler", "scheduler"))
        if self._catalog.find(name) is not None:
            raise AnswerError("model-as-sampler", f"'{shorten(name, 60)}' is a model of the catalog")
        word = _SCHEDULES.get(schedule.lower(), "")
        if not name:
            return schedule
        return f"{name} {word}" if word and word.lower() not in name.lower() else name

    def _model(self, value: Any) -> str:
        if isinstance(value, Mapping):
            named = {field_of(key) or str(key).lower(): content for key, content in value.items()}
            value = next((named[key] for key in ("id", "model", "name", "file_stem") if named.get(key)), None)
        if isinstance(value, list):
            if len({str(one) for one in value}) > 1:
                raise AnswerError("two-plans", f"{len(value)} models are named")
            value = value[0] if value else None
        name = _name(value, "model")
        if not name:
            raise AnswerError("missing", "the model")
        if self._catalog.find(name) is not None:
            return name
        ends = [match.start() for match in _ENDS.finditer(name[:600])]
        known = [cut for end in reversed(ends) if self._catalog.find(cut := bare(name[:end])) is not None]
        return known[0] if known else (bare(name[: ends[0]]) if ends and len(name) > 80 else name)[:400]


def clean(text: str) -> str:
    """What a model said aloud: no thoughts, no invisible or control characters, at most `MAX_ANSWER` characters."""
    if len(text) > MAX_ANSWER:
        raise AnswerError("too-long", f"{len(text):,} characters, at most {MAX_ANSWER:,} are read")
    text = printable(_INVISIBLE.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))
    text = _aloud(text.replace("\ufffd", ""))
    if text.startswith('"') and text.rstrip().endswith('"') and '\\"' in text:
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            return text
        return inner if isinstance(inner, str) else text
    return text


def _aloud(text: str) -> str:
    """`text` without `<think>...</think>`; what a plan in strict JSON says of thinking stays."""
    tags = list(_THINK.finditer(text))
    inside = [(start, end) for start, end, value in spans(text) if _plans(value, 0)] if tags else []
    tags = [tag for tag in tags if not any(start < tag.start() < end for start, end in inside)]
    begin = max((tag.end() for tag in tags if tag[1]), default=0)
    end = min((tag.start() for tag in tags if not tag[1] and tag.start() >= begin), default=len(text))
    return text[begin:end].strip()


def _one(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The fields of the one plan among objects; empty if there is none.

    Raises:
        AnswerError: `two-plans`.
    """
    plans: list[dict[str, Any]] = []
    for value in found:
        for plan in _plans(value, 0):
            if plan not in plans:
                plans.append(plan)
    if len(plans) > 1:
        raise AnswerError("two-plans", f"{len(plans)} different plans in one answer")
    return plans[0] if plans else {}


def _plans(value: Any, depth: int) -> list[dict[str, Any]]:
    """The plans in an object: itself, or what it wraps."""
    if depth > 3:
        return []
    if isinstance(value, list):
        return [plan for one in value[:50] for plan in _plans(one, depth + 1)]
    if not isinstance(value, dict):
        return []
    named = {field_of(key) for key in value}
    parts = ("prompt" in named) + ("model" in named) + bool(named - {None, "prompt", "negative_prompt", "model"})
    if parts > 1:
        return [fields(value)]
    return [plan for one in value.values() for plan in _plans(one, depth + 1)]


def _hopeless(text: str, trouble: str) -> dict[str, Any]:
    if not text.strip():
        raise AnswerError("empty", "nothing was said")
    if _HTML.match(text):
        raise AnswerError("html", f"a web page ('{shorten(text, 40)}')")
    if trouble == "cut-off":
        raise AnswerError("cut-off", f"it ends with '{shorten(text[-40:], 40)}'")
    if _REFUSAL.search(text[:2000].replace("’", "'")):
        raise AnswerError("refusal", f"'{shorten(text, 80)}'")
    if trouble:
        raise AnswerError(trouble, f"'{shorten(text, 60)}'")
    raise AnswerError("no-plan", f"'{shorten(text, 80)}'")


def _words(value: Any, field: str) -> str:
    """A prompt; a list of tags is one as well."""
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        value = ", ".join(value)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AnswerError("bad-value", f"{field}: text is needed, not {type(value).__name__}")
    text = printable(value).replace("\ufffd", "").strip()
    if len(text) > MAX_TEXT:
        raise AnswerError("too-long", f"{field}: {len(text):,} characters, at most {MAX_TEXT:,}")
    return text


def _name(value: Any, field: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AnswerError("bad-value", f"{field}: a name is needed, not {type(value).__name__}")
    return bare(printable(value).replace("\ufffd", ""))


def _ranking(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else re.split(r"[|,\n]", value) if isinstance(value, str) else []
    return tuple(dict.fromkeys(bare(name) for name in names[:1000] if isinstance(name, str) and bare(name)))
