"""Asks any OpenAI-compatible endpoint, each thing once: what was answered is kept and never asked again."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from chatgenbench.errors import InfraError, UserError, shorten
from chatgenbench.remote import completion
from chatgenbench.remote.journal import Journal
from chatgenbench.schema import digest_of

ATTEMPTS = 6
#: Longest pause of our own between attempts, and the longest that a server is granted, in seconds.
MAX_PAUSE, MAX_RETRY_AFTER = 30.0, 120.0
#: So many requests without an answer in a row: the endpoint is down.
GIVE_UP = 4
_AGAIN = frozenset({408, 409, 425, 429, 499})
#: Statuses of a request that is wrong in itself: in how it is put, or in what it holds.
_UNFIT = frozenset({400, 413, 422})
#: How many characters a token is taken to have when nobody counted: a stated rule.
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Endpoint:
    """Where a language model is reached and what it costs.

    `price_in` and `price_out` are USD per million tokens; `structured` asks for JSON by schema (an endpoint that
    refuses that is asked for plain JSON); `max_tokens` bounds an answer; `frequency_penalty` is sent where it is not 0;
    `patience` is the longest first pause between `attempts` in seconds; `timeout` bounds one attempt in seconds.
    """

    base_url: str
    model: str
    price_in: float = 0.0
    price_out: float = 0.0
    budget: float | None = None
    concurrency: int = 4
    max_tokens: int = 400
    temperature: float = 0.9
    frequency_penalty: float = 0.0
    structured: bool = True
    patience: float = 1.0
    timeout: float = 180.0
    attempts: int = ATTEMPTS


class NoAnswer(InfraError):
    """No answer to one request after all attempts."""


@dataclass(frozen=True)
class Reply:
    """What a model said, under which key it is kept, and what the endpoint calls the answer.

    `refused`: the model or its endpoint's filter would not answer; `text` is then what was said all the same.
    `unfit`: the endpoint cannot carry out this request, though it does others: too long for a small model, say.
    """

    key: str
    text: str
    response_id: str
    model: str
    refused: bool = False
    unfit: bool = False


@dataclass(frozen=True)
class _Answer:
    """What came back for one request."""

    status: int
    retry_after: str | None
    body: bytes


class _Again(Exception):
    """This attempt brought no answer; `after`: seconds that the server asks to wait."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after


class Model:
    """One endpoint, for use in one event loop with `async with`.

    Every request and its answer go to the journal; the key does not.  `$CHATGENBENCH_LLM_KEY` is sent to the endpoint,
    whichever it is; `$OPENAI_API_KEY` only to https://api.openai.com, and only when the other is not set.

    What an endpoint does not count is counted by characters (`CHARACTERS_PER_TOKEN`), so that a budget holds anyway.

    Raises:
        UserError: the address is none; the endpoint refuses the key, the model or the request; the budget is spent.
        NoAnswer: no answer after all attempts.
    """

    def __init__(self, endpoint: Endpoint, journal: Path) -> None:
        self.endpoint = endpoint
        self._in_a_row = 0
        self._accepts = False
        headers = _headers(endpoint.base_url)
        self._journal = Journal(journal)
        self._structured = endpoint.structured
        self._places = asyncio.Semaphore(endpoint.concurrency)
        self.spent = 0.0
        self._promised = 0.0
        self._settled = asyncio.Condition()
        self.asked = 0
        self._http = httpx.AsyncClient(headers=headers, timeout=endpoint.timeout, follow_redirects=False)
        for known in self._journal.keys():  # noqa: SIM118
            self.spent += self._cost(self._journal.get(known) or {})

    async def __aenter__(self) -> Model:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._journal.__exit__(kind, error, tb)
        await self._http.aclose()

    @property
    def down(self) -> bool:
        """Whether nothing was answered for so long that it is not for what was asked."""
        return self._in_a_row >= GIVE_UP

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
        if self.endpoint.frequency_penalty:
            request["frequency_penalty"] = self.endpoint.frequency_penalty
        key = digest_of(request)
        line = self._journal.get(key)
        if line is None:
            async with self._places, self._affordable(request):
                line = {"id": key, "request": request, **await self._answer(key, request)}
                self._journal.append(line)
                self.asked += 1
                self.spent += self._cost(line)
        refused, unfit = bool(line.get("refused")), bool(line.get("unfit"))
        return Reply(key, line["text"], line["response_id"], line["model"], refused, unfit)

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

    def _cost(self, line: dict[str, Any]) -> float:
        """USD for a line of the journal, by what the endpoint counted, else by what was sent and received."""
        counted = completion.counted(line.get("usage"))
        read = counted.get("prompt_tokens") or tokens_of(line.get("request", {}).get("messages", []))
        written = counted.get("completion_tokens") or -(-len(line.get("text", "")) // CHARACTERS_PER_TOKEN)
        return cost_of(read, written, self.endpoint)

    async def _answer(self, key: str, request: dict[str, Any]) -> dict[str, Any]:
        jitter = random.Random(key)
        for attempt in range(1, self.endpoint.attempts + 1):
            try:
                found = await self._attempt(request)
                self._in_a_row = 0
                return found
            except _Again as failure:
                if attempt == self.endpoint.attempts:
                    self._in_a_row += 1
                    raise NoAnswer(
                        f"the language model did not answer ({failure}): type the same command again to go on"
                    ) from None
                own = jitter.uniform(0, min(MAX_PAUSE, self.endpoint.patience * 2 ** (attempt - 1)))
                await asyncio.sleep(own if failure.after is None else min(failure.after, MAX_RETRY_AFTER))
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, request: dict[str, Any]) -> dict[str, Any]:
        body = {name: value for name, value in request.items() if name != "schema"}
        structured = request["schema"] is not None and self._structured
        named = {"name": "chat", "strict": True, "schema": request["schema"]}
        wanted = {"response_format": {"type": "json_schema", "json_schema": named}} if structured else {}
        answer = await self._post({**body, **wanted})
        if structured and answer.status == 400 and not completion.filtered(answer.body):
            # an older server knows no schemas, and is asked for JSON in words, which the prompt does anyway; but there
            # are other reasons for this status, so only a success without schema shows that the schema was the reason
            answer = await self._post(body)
            if answer.status == 200:
                self._structured = False
        if answer.status == 400 and completion.filtered(answer.body):
            return _nothing("refused", answer)
        if answer.status in _UNFIT and await self.answers_others():
            return _nothing("unfit", answer)
        self._refused(answer)
        line = completion.read(answer.body)
        if line is None:
            raise _Again("an answer that is no chat completion")
        self._accepts = True
        return line

    async def answers_others(self) -> bool:
        """Whether a request that fails does so for what it holds (too long for a small model, say): another, or else
        a plain one in the same form, is answered."""
        if not self._accepts:
            plain = {"model": self.endpoint.model, "messages": [{"role": "user", "content": "Say hello."}], "seed": 0}
            rest = {"temperature": self.endpoint.temperature, "max_tokens": self.endpoint.max_tokens}
            with suppress(_Again):
                self._accepts = (await self._post(plain | rest)).status == 200
        return self._accepts

    async def _post(self, body: dict[str, Any]) -> _Answer:
        """What the endpoint sends back; of a body longer than `completion.MAX_BODY` only the beginning."""
        address = f"{self.endpoint.base_url.rstrip('/')}/chat/completions"
        data = bytearray()
        try:
            async with (
                asyncio.timeout(self.endpoint.timeout),
                self._http.stream("POST", address, json=body) as response,
            ):
                async for part in response.aiter_bytes():
                    data += part
                    if len(data) > completion.MAX_BODY:
                        break
        except httpx.UnsupportedProtocol:
            raise _no_address(self.endpoint.base_url) from None
        except (httpx.TransportError, httpx.DecodingError, OSError) as error:
            raise _Again(type(error).__name__) from None
        return _Answer(response.status_code, response.headers.get("retry-after"), bytes(data))

    def _refused(self, answer: _Answer) -> None:
        status = answer.status
        if status in _AGAIN or status >= 500:
            raise _Again(f"status {status}", _seconds(answer.retry_after))
        if status in (401, 403):
            raise UserError(
                f"the language model's endpoint refuses the key (status {status}): put the right one in "
                "$CHATGENBENCH_LLM_KEY ($OPENAI_API_KEY is sent only to https://api.openai.com)"
            )
        if status == 404:
            raise UserError(
                f"no such model or address (status 404): check --llm-model '{shorten(self.endpoint.model, 60)}' and "
                f"--llm-base-url {shorten(self.endpoint.base_url, 80)}"
            )
        if status != 200:
            raise UserError(
                f"the language model's endpoint refuses the request (status {status}): {completion.said(answer.body)}"
            )


def _nothing(name: str, answer: _Answer) -> dict[str, Any]:
    """A line of the journal for a request that the endpoint will not carry out, and why."""
    return {"text": "", "response_id": "", "model": "", "usage": {}, name: completion.said(answer.body)}


def cost_of(tokens_in: float, tokens_out: float, endpoint: Endpoint) -> float:
    """USD for so many tokens."""
    return (tokens_in * endpoint.price_in + tokens_out * endpoint.price_out) / 1e6


def tokens_of(messages: list[dict[str, str]]) -> int:
    """Estimated tokens of a request (`CHARACTERS_PER_TOKEN`)."""
    return sum(len(m["content"]) for m in messages) // CHARACTERS_PER_TOKEN + 1


def _headers(address: str) -> dict[str, str]:
    """The key that may be sent to an address."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        raise _no_address(address) from None
    key = os.environ.get("CHATGENBENCH_LLM_KEY", "").strip()
    if not key and (url.scheme, url.host) == ("https", "api.openai.com"):
        key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key.isascii() or not key.isprintable():
        raise UserError("the language model's key holds strange characters: put the right one in $CHATGENBENCH_LLM_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _no_address(address: str) -> UserError:
    return UserError(f"no language model's endpoint can be at {shorten(address, 80)!r}: check --llm-base-url")


def _seconds(value: str | None) -> float | None:
    try:
        return None if value is None else max(0.0, float(value))
    except ValueError:
        return None
