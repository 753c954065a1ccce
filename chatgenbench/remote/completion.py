"""Reads what endpoints send back: chat completions, refusals and errors, none of which has to be well formed."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from chatgenbench.errors import shorten

#: Bytes of a body that are read; a longer one is no chat completion.
MAX_BODY = 5_000_000
#: What endpoints call a prompt that their filter refuses (OpenAI, Azure).
_FILTERED = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})
_LONE = re.compile("[\ud800-\udfff]")
#: Longest name of a model or an answer, in characters.
_NAME = 200


def read(data: bytes) -> dict[str, Any] | None:
    """`text`, `response_id`, `model` and `usage` of a chat completion, or None when the body is none.

    When the model or a filter refused, `refused` says which, and `text` is what was said all the same.
    """
    body = _json(data) if len(data) <= MAX_BODY else None
    choices = _of(body, "choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message, ending = _of(choice, "message"), _of(choice, "finish_reason")
    text, refusal = _text(_of(message, "content")), _text(_of(message, "refusal"))
    text = text if text and text.strip() else _called(message) or text
    refused = "content_filter" if ending == "content_filter" else "refusal" if refusal else ""
    # a completion may say nothing, such as one that used up its tokens on thoughts
    ended = isinstance(message, dict) and isinstance(ending, str)
    if text is None and not refused and not ended:
        return None
    line: dict[str, Any] = {
        "text": text or refusal or "", "response_id": _name(_of(body, "id"))[:_NAME],
        "model": _name(_of(body, "model")).replace("\\", "/").rsplit("/", 1)[-1][:_NAME],  # local servers name a path
        "usage": counted(_of(body, "usage")),
    }  # fmt: skip
    return {**line, "refused": refused} if refused else line


def counted(usage: Any) -> dict[str, int]:
    """The tokens that an endpoint counted; every request has some, and every answer but an empty one."""
    counts = {name: _of(usage, name) for name in ("prompt_tokens", "completion_tokens")}
    return {name: count for name, count in counts.items() if type(count) is int and 0 < count < 2**31}


def filtered(data: bytes) -> bool:
    """Whether a request was refused because a filter found something in its messages."""
    error = _of(_json(data), "error")
    named = (_of(error, "code"), _of(error, "type"), _of(_of(error, "innererror"), "code"))
    return any(isinstance(name, str) and name in _FILTERED for name in named)


def said(data: bytes) -> str:
    """The reason that an endpoint gives for an error, on one line."""
    body = _json(data)
    error = _of(body, "error")
    for told in (_of(error, "message"), error, _of(body, "message")):
        if isinstance(told, str) and told.strip():
            return shorten(whole(told), 160)
    return "no reason given"


def whole(text: str) -> str:
    """`text` with lone surrogates, which no file can hold, as U+FFFD."""
    return _LONE.sub("\ufffd", text)


def _json(data: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(data)
    return None


def _of(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _text(value: Any) -> str | None:
    """A text, or the texts of a list of parts."""
    if isinstance(value, list):
        texts = [_of(part, "text") for part in value]
        value = "".join(text for text in texts if isinstance(text, str)) or None
    return whole(value) if isinstance(value, str) else None


def _called(message: Any) -> str | None:
    """The arguments of the first tool call: where some servers put structured output, and say nothing else."""
    calls = _of(message, "tool_calls")
    first = calls[0] if isinstance(calls, list) and calls else None
    told = _of(_of(first, "function"), "arguments")
    return json.dumps(told) if isinstance(told, dict) else _text(told)


def _name(value: Any) -> str:
    return whole(value) if isinstance(value, str) else ""
