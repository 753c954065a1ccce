"""Asks any OpenAI-compatible endpoint, each thing once: what was answered is kept and never asked again."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from chatgenbench.build.journal import Journal
from chatgenbench.errors import InfraError, UserError, shorten
from chatgenbench.schema import digest_of

ATTEMPTS = 6
#: Longest pause of our own between attempts, and the longest that a server is granted, in seconds.
MAX_PAUSE, MAX_RETRY_AFTER = 30.0, 120.0
_AGAIN = frozenset({408, 409, 425, 429, 499})
#: How many characters a token is taken to have when nobody counted: a stated rule, for estimates only.
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Endpoint:
    """Where a language model is reached and what it costs.

    `price_in` and `price_out` are USD per million tokens; `structured` asks for JSON by schema (an endpoint that
    refuses that is asked for plain JSON); `max_tokens` bounds an answer; `patience` is the longest first pause between
    attempts in seconds.
    """

    base_url: str
    model: str
    price_in: float = 0.0
    price_out: float = 0.0
    budget: float | None = None
    concurrency: int = 4
    max_tokens: int = 400
    temperature: float = 0.9
    structured: bool = True
    patience: float = 1.0
    timeout: float = 180.0


@dataclass(frozen=True)
class Reply:
    """What a model said, under which key it is kept, and what the endpoint calls the answer."""

    key: str
    text: str
    response_id: str
    model: str


class _Again(Exception):
    """This attempt brought no answer; `after`: seconds that the server asks to wait."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after


class Model:
    """One endpoint, for use in one event loop with `async with`.

    Every request and its answer go to the journal; the key ($CHATGENBENCH_LLM_KEY, else $OPENAI_API_KEY) does not.

    Raises:
        UserError: the endpoint refuses the key, the model or the request; or the budget is spent.
        InfraError: no answer after all attempts.
    """

    def __init__(self, endpoint: Endpoint, journal: Path) -> None:
        self.endpoint = endpoint
        self._journal = Journal(journal)
        self._structured = endpoint.structured
        self._places = asyncio.Semaphore(endpoint.concurrency)
        self.spent = 0.0
        self._promised = 0.0
        self._settled = asyncio.Condition()
        self.asked = 0
        key = os.environ.get("CHATGENBENCH_LLM_KEY") or os.environ.get("OPENAI_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(headers=headers, timeout=endpoint.timeout, follow_redirects=False)
        for known in self._journal.keys():  # noqa: SIM118
            line = self._journal.get(known)
            self.spent += self._cost((line or {}).get("usage") or {})

    async def __aenter__(self) -> Model:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._journal.__exit__(kind, error, tb)
        await self._http.aclose()

    async def ask(
        self, messages: list[dict[str, str]], seed: int, schema: dict[str, Any] | None,
        temperature: float | None = None,
    ) -> Reply:  # fmt: skip
        """The model's answer, from the journal if it was given before."""
        request = {
            "model": self.endpoint.model, "messages": messages, "seed": seed,
            "temperature": self.endpoint.temperature if temperature is None else temperature,
            "max_tokens": self.endpoint.max_tokens, "schema": schema if self.endpoint.structured else None,
        }  # fmt: skip
        key = digest_of(request)
        line = self._journal.get(key)
        if line is None:
            async with self._places, self._affordable(request):
                line = {"id": key, "request": request, **await self._answer(key, request)}
                self._journal.append(line)
                self.asked += 1
                self.spent += self._cost(line["usage"])
        return Reply(key, line["text"], line["response_id"], line["model"])

    @asynccontextmanager
    async def _affordable(self, request: dict[str, Any]) -> AsyncIterator[None]:
        """Hold back what a request may cost at worst; wait while others may still turn out cheaper than they might."""
        worst = cost_of(tokens_of(request["messages"]), self.endpoint.max_tokens, self.endpoint)
        budget = self.endpoint.budget
        async with self._settled:
            while budget is not None and self.spent + self._promised + worst > budget and self._promised:
                await self._settled.wait()
            if budget is not None and self.spent + worst > budget:
                raise UserError(
                    f"the budget is spent ({self.spent:.2f} of {budget:.2f} USD): type the command again with a larger "
                    "--budget, or with a smaller --max-items; all answers are kept"
                )
            self._promised += worst
        try:
            yield
        finally:
            async with self._settled:
                self._promised -= worst
                if self._promised < 1e-9:
                    self._promised = 0.0
                self._settled.notify_all()

    def _cost(self, usage: dict[str, Any]) -> float:
        return cost_of(usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0, self.endpoint)

    async def _answer(self, key: str, request: dict[str, Any]) -> dict[str, Any]:
        jitter = random.Random(key)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._attempt(request)
            except _Again as failure:
                if attempt == ATTEMPTS:
                    raise InfraError(
                        f"the language model did not answer ({failure}): type the same command again to go on"
                    ) from None
                own = jitter.uniform(0, min(MAX_PAUSE, self.endpoint.patience * 2 ** (attempt - 1)))
                await asyncio.sleep(own if failure.after is None else min(failure.after, MAX_RETRY_AFTER))
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, request: dict[str, Any]) -> dict[str, Any]:
        body = {name: request[name] for name in ("model", "messages", "seed", "temperature", "max_tokens")}
        if request["schema"] is not None and self._structured:
            named = {"name": "chat", "strict": True, "schema": request["schema"]}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        try:
            response = await self._http.post(f"{self.endpoint.base_url.rstrip('/')}/chat/completions", json=body)
        except (httpx.TransportError, httpx.DecodingError, OSError) as error:
            raise _Again(type(error).__name__) from None
        if response.status_code == 400 and "response_format" in body:
            self._structured = False  # an older server: it is asked for JSON in words, which the prompt does anyway
            return await self._attempt(request)
        self._refused(response)
        return _read(response)

    def _refused(self, response: httpx.Response) -> None:
        status = response.status_code
        if status in _AGAIN or status >= 500:
            raise _Again(f"status {status}", _seconds(response.headers.get("retry-after")))
        if status in (401, 403):
            raise UserError(
                f"the language model's endpoint refuses the key (status {status}): put the right one in "
                "$CHATGENBENCH_LLM_KEY"
            )
        if status == 404:
            raise UserError(
                f"no such model or address (status 404): check --llm-model '{shorten(self.endpoint.model, 60)}' and "
                f"--llm-base-url {shorten(self.endpoint.base_url, 80)}"
            )
        if status != 200:
            raise UserError(f"the language model's endpoint refuses the request (status {status}): {_said(response)}")


def cost_of(tokens_in: float, tokens_out: float, endpoint: Endpoint) -> float:
    """USD for so many tokens."""
    return (tokens_in * endpoint.price_in + tokens_out * endpoint.price_out) / 1e6


def tokens_of(messages: list[dict[str, str]]) -> int:
    """Estimated tokens of a request (`CHARACTERS_PER_TOKEN`)."""
    return sum(len(m["content"]) for m in messages) // CHARACTERS_PER_TOKEN + 1


def _read(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
        text = body["choices"][0]["message"]["content"]
        usage = body.get("usage") or {}
        if not isinstance(text, str):
            raise TypeError
    except (ValueError, TypeError, KeyError, IndexError):
        raise _Again("an answer that is no chat completion") from None
    counted = {k: usage[k] for k in ("prompt_tokens", "completion_tokens") if isinstance(usage.get(k), int)}
    told = str(body.get("model") or "").replace("\\", "/").rsplit("/", 1)[-1]  # a local server names a path
    return {"text": text, "response_id": str(body.get("id") or ""), "model": told, "usage": counted}


def _said(response: httpx.Response) -> str:
    with suppress(ValueError, TypeError, KeyError):
        return shorten(str(json.loads(response.text)["error"]["message"]), 160)
    return "no reason given"


def _seconds(value: str | None) -> float | None:
    try:
        return None if value is None else max(0.0, float(value))
    except ValueError:
        return None
