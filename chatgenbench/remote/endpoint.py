"""Asks any OpenAI-compatible endpoint, each thing once: what was answered is kept and never asked again."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from chatgenbench.errors import InfraError, UserError, shorten
from chatgenbench.remote import completion
from chatgenbench.remote.address import bare
from chatgenbench.remote.journal import Journal
from chatgenbench.remote.pauses import asked, pause
from chatgenbench.remote.post import NoAnswerError, Received, client, send
from chatgenbench.schema import digest_of

ATTEMPTS = 6
#: So many requests without an answer in a row: the endpoint is down.
GIVE_UP = 4
_AGAIN = frozenset({408, 409, 425, 429, 499})
#: Statuses of a request that is wrong in itself: in how it is put, or in what it holds.
_UNFIT = frozenset({400, 413, 422})
#: How many characters a token is taken to have when nobody counted: a stated rule.
CHARACTERS_PER_TOKEN = 4
#: How many tokens a picture is taken to have then: a stated rule too.
PICTURE_TOKENS = 765


@dataclass(frozen=True)
class Endpoint:
    """Where a language model is reached and what it costs.

    `price_in` and `price_out` are USD per million tokens; `structured` asks for JSON by schema (an endpoint that
    refuses that is asked for plain JSON); `max_tokens` bounds an answer; `frequency_penalty` is sent where it is not 0;
    `patience` is the longest first pause between `attempts` in seconds; `timeout` bounds one attempt in seconds;
    `timed` keeps how long each answer took.
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
    timed: bool = False


class NoAnswer(InfraError):
    """No answer to one request after all attempts; `why` is what came of the last."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the language model did not answer ({why}): type the same command again to go on")
        self.why = why


#: A message of a chat: its role, and a text or a list of parts, some of which may be pictures.
Message = Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """What a model said, under which key it is kept, and what the endpoint calls the answer.

    `refused`: the model or its endpoint's filter would not answer; `text` is then what was said all the same.
    `unfit`: the endpoint cannot carry out this request, though it does others: too long for a small model, say.
    `why` is what the endpoint said of either, `usage` the tokens that it counted, and `seconds` the time of the attempt
    that succeeded, if it was timed.
    """

    key: str
    text: str
    response_id: str
    model: str
    refused: bool = False
    unfit: bool = False
    why: str = ""
    usage: Mapping[str, int] = field(default_factory=dict)
    seconds: float | None = None


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
        self._spelt: dict[str, str] = {}
        self._places = asyncio.Semaphore(endpoint.concurrency)
        self.spent = 0.0
        self._promised = 0.0
        self._settled = asyncio.Condition()
        self.asked = 0
        self._http = client(headers)
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
        self, messages: Sequence[Message], seed: int, schema: dict[str, Any] | None,
        temperature: float | None = None,
    ) -> Reply:  # fmt: skip
        """The model's answer, from the journal if it was given before.  The journal keeps digests of pictures."""
        request = {
            "model": self.endpoint.model, "messages": messages, "seed": seed,
            "temperature": self.endpoint.temperature if temperature is None else temperature,
            "max_tokens": self.endpoint.max_tokens, "schema": schema if self.endpoint.structured else None,
        }  # fmt: skip
        if self.endpoint.frequency_penalty:
            request["frequency_penalty"] = self.endpoint.frequency_penalty
        kept = {**request, "messages": [without_pictures(message) for message in messages]}
        key = digest_of(kept)
        line = self._journal.get(key)
        if line is None:
            async with self._places, self._affordable(request):
                line = {"id": key, "request": kept, **await self._answer(key, request)}
                self._journal.append(line)
                self.asked += 1
                self.spent += self._cost(line)
        refused, unfit = bool(line.get("refused")), bool(line.get("unfit"))
        why = str(line.get("refused") or line.get("unfit") or "")
        counted = completion.counted(line.get("usage"))
        return Reply(
            key, line["text"], line["response_id"], line["model"], refused, unfit, why, counted, line.get("seconds")
        )

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
                    "one, or ask for less; all answers are kept"
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
                    raise NoAnswer(str(failure)) from None
                await asyncio.sleep(pause(attempt, self.endpoint.patience, failure.after, jitter))
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, request: dict[str, Any]) -> dict[str, Any]:
        body = self._body(request)
        structured = request["schema"] is not None and self._structured
        named = {"name": "chat", "strict": True, "schema": request["schema"]}
        wanted = {"response_format": {"type": "json_schema", "json_schema": named}} if structured else {}
        begun = time.perf_counter()
        answer = await self._post({**body, **wanted})
        if answer.status == 400 and self._spells_otherwise(answer.body):
            return await self._attempt(request)
        if structured and answer.status == 400 and not completion.filtered(answer.body):
            # an older server knows no schemas, and is asked for JSON in words, which the prompt does anyway; but there
            # are other reasons for this status, so only a success without schema shows that the schema was the reason
            answer = await self._post(body)
            if answer.status == 200:
                self._structured = False
        timed = {"seconds": round(time.perf_counter() - begun, 6)} if self.endpoint.timed else {}
        if answer.status == 400 and completion.filtered(answer.body):
            return {**_nothing("refused", answer), **timed}
        if (answer.status in _UNFIT or _blind(answer)) and await self.answers_others():
            return {**_nothing("unfit", answer), **timed}
        self._refused(answer)
        line = completion.read(answer.body)
        if line is None:
            raise _Again("an answer that is no chat completion")
        self._accepts = True
        return {**line, **timed}

    def _body(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A request as this endpoint spells it."""
        named = ((self._spelt.get(name, name), value) for name, value in request.items() if name != "schema")
        return {name: value for name, value in named if name}

    def _spells_otherwise(self, body: bytes) -> bool:
        """Whether an endpoint says that it has another name for a parameter, or none; noted for all that follows."""
        said = completion.said(body)
        if "max_completion_tokens" in said and "max_tokens" not in self._spelt:
            self._spelt["max_tokens"] = "max_completion_tokens"
            return True
        for name in ("temperature", "seed"):
            if re.search(rf"\b{name}\b", said) and "support" in said and name not in self._spelt:
                self._spelt[name] = ""
                return True
        return False

    async def answers_others(self) -> bool:
        """Whether a request that fails does so for what it holds (too long for a small model, say): another, or else
        a plain one in the same form, is answered."""
        if not self._accepts:
            plain = {"model": self.endpoint.model, "messages": [{"role": "user", "content": "Say hello."}], "seed": 0}
            rest = {"temperature": self.endpoint.temperature, "max_tokens": self.endpoint.max_tokens}
            with suppress(_Again):
                self._accepts = (await self._post(self._body(plain | rest))).status == 200
        return self._accepts

    async def _post(self, body: dict[str, Any]) -> Received:
        """What the endpoint sends back; of a body longer than `completion.MAX_BODY` only the beginning."""
        address = f"{self.endpoint.base_url.rstrip('/')}/chat/completions"
        try:
            return await send(self._http, "POST", address, body, self.endpoint.timeout, completion.MAX_BODY)
        except httpx.UnsupportedProtocol:
            raise _no_address(self.endpoint.base_url) from None
        except NoAnswerError as error:
            raise _Again(str(error)) from None

    def _refused(self, answer: Received) -> None:
        status = answer.status
        if status in _AGAIN or status >= 500:
            raise _Again(f"status {status}: {completion.said(answer.body)}", asked(answer.retry_after))
        if 300 <= status < 400:
            place = shorten((answer.location or "nowhere").rpartition("@")[2], 80)
            raise UserError(f"--llm-base-url sends on to {place} (status {status}): give the address itself")
        if status in (401, 403):
            raise UserError(
                f"the language model's endpoint refuses the key (status {status}): put the right one in "
                "$CHATGENBENCH_LLM_KEY ($OPENAI_API_KEY is sent only to https://api.openai.com)"
            )
        if status == 404:
            raise UserError(
                f"no such model or address (status 404): check the name '{shorten(self.endpoint.model, 60)}' and "
                f"--llm-base-url {shorten(bare(self.endpoint.base_url), 80)}"
            )
        if status != 200:
            raise UserError(
                f"the language model's endpoint refuses the request (status {status}): {completion.said(answer.body)}"
            )


def _nothing(name: str, answer: Received) -> dict[str, Any]:
    """A line of the journal for a request that the endpoint will not carry out, and why."""
    return {"text": "", "response_id": "", "model": "", "usage": {}, name: completion.said(answer.body)}


def _blind(answer: Received) -> bool:
    """Whether a server that sees no pictures was sent one (llama.cpp answers that with 500)."""
    return answer.status >= 500 and "image input is not supported" in completion.said(answer.body)


def cost_of(tokens_in: float, tokens_out: float, endpoint: Endpoint) -> float:
    """USD for so many tokens."""
    return (tokens_in * endpoint.price_in + tokens_out * endpoint.price_out) / 1e6


def tokens_of(messages: Sequence[Message]) -> int:
    """Estimated tokens of a request (`CHARACTERS_PER_TOKEN`, `PICTURE_TOKENS`)."""
    return sum(_size(message["content"]) for message in messages) // CHARACTERS_PER_TOKEN + 1


def _size(content: Any) -> int:
    if isinstance(content, str):
        return len(content)
    return sum(len(part.get("text", "")) or PICTURE_TOKENS * CHARACTERS_PER_TOKEN for part in content)


def without_pictures(message: Message) -> dict[str, Any]:
    """A message with the digest of each picture in its place."""
    if isinstance(message["content"], str):
        return dict(message)
    parts = [
        {**part, "image_url": {"sha256": hashlib.sha256(part["image_url"]["url"].encode()).hexdigest()}}
        if "image_url" in part else part
        for part in message["content"]
    ]  # fmt: skip
    return {**message, "content": parts}


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
    return UserError(
        f"no language model's endpoint can be at {shorten(address.rpartition('@')[2], 80)!r}: check --llm-base-url"
    )
