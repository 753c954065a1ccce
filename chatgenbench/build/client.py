"""Asks the hub's public API, politely: few requests at a time, at a steady pace, and again when it is out of breath."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any

import httpx

from chatgenbench.build import civitai
from chatgenbench.build.store import Answer, key_of
from chatgenbench.errors import UserError, shorten
from chatgenbench.net import USER_AGENT, is_loopback

#: Largest answer, in bytes of its decompressed body.
MAX_BYTES = 64 * 1024 * 1024
ATTEMPTS = 7
MAX_REDIRECTS = 3
#: Longest pause of our own between attempts, longest that the hub is granted, longest time of one attempt, in seconds.
MAX_PAUSE = 30.0
MAX_RETRY_AFTER = 120.0
ATTEMPT_TIME = 120.0
#: `page * limit` above this is answered 429 however long one waits.
_DEEPEST = 1000
_SHORTEST_TOKEN = 8
#: What to do about a refusal, at the end of a message.
CHECK_TOKEN = "check $CIVITAI_API_TOKEN (civitai.com, account settings, API keys), then type the command again"
_FINAL = frozenset({400, 403, 404, 405, 410})
_AGAIN = frozenset({408, 425, 429, 499})
_BROKEN = (httpx.TransportError, httpx.DecodingError, OSError)  # TimeoutError is an OSError

Params = Sequence[tuple[str, str]]


class Unanswered(Exception):
    """No answer after all attempts; `why` is short and holds no address and no secret."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class _Again(Exception):
    """This attempt brought no answer; `after`: seconds that the hub asks to wait."""

    def __init__(self, why: str, after: float | None = None, last: bool = False) -> None:
        super().__init__(why)
        self.why, self.after, self.last = why, after, last


class Pace:
    """Lets requests begin no closer together than `1 / per_second` seconds."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for one's turn."""
        clock = asyncio.get_running_loop().time
        while (wait := self._next - clock()) > 0:
            await asyncio.sleep(wait)
        self._next = clock() + self._gap

    def hold(self, seconds: float) -> None:
        """Let nothing begin for so long."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)


class Client:
    """The API at `base_url`, for use in one event loop with `async with`.

    Args:
        token: sent as bearer token to that host only; None: ask without one.
        patience: longest first pause between attempts in seconds; each further one may be twice as long, up to
            `MAX_PAUSE`.

    Raises:
        UserError: the address is none that a token may be sent to, or the token is not one.
    """

    def __init__(
        self, base_url: str, token: str | None, requests_per_second: float, concurrency: int, patience: float = 1.0
    ) -> None:
        self._base = base_url.rstrip("/")
        self._url = checked(self._base)
        self._token = _checked_token(token)
        self._pace = Pace(requests_per_second)
        self._places = asyncio.Semaphore(concurrency)
        self._patience = patience
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(15.0, read=60.0, pool=None),
            limits=httpx.Limits(max_connections=concurrency),
            trust_env=not is_loopback(self._url.host),
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def get(self, path: str, params: Params) -> Answer:
        """The final answer to a request: 200 with a JSON object, or a refusal (400, 403, 404, 405, 410, 429 too deep).

        Raises:
            Unanswered: `ATTEMPTS` attempts brought none.
            UserError: the token is refused, or the API has moved to another host.
        """
        key = key_of(path, params)
        jitter = random.Random(key)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._places:
                    return await self._attempt(key, dict(params))
            except _Again as failure:
                if failure.last or attempt == ATTEMPTS:
                    raise Unanswered(failure.why) from None
                if failure.after is not None:
                    self._pace.hold(min(failure.after, MAX_RETRY_AFTER))
                else:
                    await asyncio.sleep(jitter.uniform(0, min(MAX_PAUSE, self._patience * 2 ** (attempt - 1))))
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, key: str, params: dict[str, str]) -> Answer:
        await self._pace.turn()
        try:
            async with asyncio.timeout(ATTEMPT_TIME):
                status, headers, body = await self._follow(self._base + key)
        except _BROKEN as error:
            raise _Again(type(error).__name__) from None
        return self._judge(key, params, status, headers, self._without_token(body))

    async def _follow(self, address: str) -> tuple[int, httpx.Headers, bytes]:
        for _ in range(MAX_REDIRECTS + 1):
            async with self._http.stream("GET", address) as response:
                if not response.has_redirect_location:
                    return response.status_code, response.headers, await _body(response)
                address = self._redirected(response)
        raise _Again("redirects without end", last=True)

    def _redirected(self, response: httpx.Response) -> str:
        try:
            target = response.url.join(response.headers["location"])
        except (httpx.InvalidURL, ValueError):
            raise _Again("a redirect to nowhere") from None
        here = self._url
        if (target.scheme, target.host, target.port) != (here.scheme, here.host, here.port):
            raise UserError(
                f"the API at {here.host} sends on to {shorten(target.host, 80)}, where your token does not go: "
                "if you trust that host, name its API with --api"
            )
        return str(target)

    def _judge(self, key: str, params: dict[str, str], status: int, headers: httpx.Headers, body: bytes) -> Answer:
        """The answer, if it is one."""
        why = f"status {status}"
        if status == 401:
            raise UserError(f"the API refuses the token ({civitai.reason(body) or why}): {CHECK_TOKEN}")
        if status == 407:
            raise UserError("a proxy on the way to the API wants a password (status 407): check $HTTPS_PROXY")
        if status == 429 and _too_deep(params):
            return Answer(key, status, body)
        if status in _AGAIN or status >= 500:
            raise _Again(why, _retry_after(headers.get("retry-after")))
        if civitai.is_page(body):
            raise _Again("an HTML page instead of JSON", _retry_after(headers.get("retry-after")))
        if status in _FINAL:
            return Answer(key, status, body)
        if status != 200:
            raise _Again(why, last=True)
        try:
            found = civitai.load(body)
        except ValueError:
            raise _Again("JSON that breaks off") from None
        if not isinstance(found, dict) or ("error" in found and "items" not in found):
            raise _Again("JSON without what was asked for")
        return Answer(key, status, body)

    def _without_token(self, body: bytes) -> bytes:
        """A body that may be stored and quoted, should the hub ever send back what it was sent."""
        token = (self._token or "").encode()
        return body.replace(token, b"TOKEN") if len(token) >= _SHORTEST_TOKEN else body


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > MAX_BYTES:
            raise _Again(f"an answer of more than {MAX_BYTES >> 20} MiB", last=True)
    return bytes(body)


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, from a number of seconds or a date."""
    if not value:
        return None
    with suppress(ValueError):
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _too_deep(params: dict[str, Any]) -> bool:
    try:
        return int(params["page"]) * int(params.get("limit", "100")) > _DEEPEST
    except (KeyError, ValueError):
        return False


def checked(base_url: str) -> httpx.URL:
    """An API address that a token may be sent to; UserError for any other."""
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL("")
    if url.scheme == "https" and url.host and not url.userinfo and not url.query and not url.fragment:
        return url
    if url.scheme == "http" and is_loopback(url.host) and not url.userinfo and not url.query:
        return url
    raise UserError("--api must be an https address without name, password or query, e.g. https://civitai.com/api/v1")


def _checked_token(token: str | None) -> str | None:
    clean = (token or "").strip()
    if not all("!" <= char <= "~" for char in clean):
        raise UserError("$CIVITAI_API_TOKEN holds characters that no token has: copy it again")
    return clean or None
