"""A system behind an HTTP address, asked a batch at a time with JSON (see `messages`)."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import httpx
from pydantic import ValidationError

import chatgenbench
from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.errors import SystemGoneError, UserError, shorten
from chatgenbench.remote.pauses import asked, patience, pause
from chatgenbench.remote.post import NoAnswerError, Received, client, send
from chatgenbench.schema import Demonstration, FreestyleInput
from chatgenbench.systems.answers import Reader
from chatgenbench.systems.guard import first_problem, one_line
from chatgenbench.systems.protocol import Answered, StopRun
from chatgenbench.systems.wire.careful import Careful, UnansweredError
from chatgenbench.systems.wire.messages import SystemInfo, plan_request, prepare_request
from chatgenbench.systems.wire.settle import quoted, settle

#: The value of the Authorization header is taken from here.
AUTH = "CHATGENBENCH_SYSTEM_AUTH"
#: Attempts for one batch, bytes of an answer that are read, and seconds for `prepare`.
ATTEMPTS, MAX_BODY, PREPARE_TIME = 4, 32 * 1024 * 1024, 1800.0
_TOO_MANY = 429
_BUSY = frozenset({408, 425, _TOO_MANY, 502, 503, 504})


class HttpSystem:
    """`http://host/path` or `https://host/path`.

    Args:
        timeout: seconds that one batch may take.

    Raises:
        UserError: an address that cannot be used, or a server that says it is something else.
        InfraError: the server is not there.
    """

    runs_here = False

    def __init__(self, address: str, benchmark: Benchmark, timeout: float) -> None:
        self._url = checked(address)
        self._address, self._timeout = address, timeout  # a slash at its end is the server's to want
        self._benchmark, self._reader = benchmark, Reader(benchmark.catalog)
        self._headers = _headers(self._url)
        self._first_pause = patience()
        self._runner: asyncio.Runner | None = None
        self._http: httpx.AsyncClient | None = None
        self._careful = Careful(f"the system at {shorten(address, 80)}", self._exchange)
        try:
            info = self._info()
        finally:
            self.close()
        self.name = info.name or f"{self._url.host}{self._url.path}"
        self.revision = info.revision or "not told"
        self._prepares = info.prepare

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        if not self._prepares:
            return
        try:
            self._run(
                self._tried(
                    "POST", "/prepare", prepare_request(catalog, train, self._benchmark.train_inputs), PREPARE_TIME
                )
            )
        except StopRun as stop:
            raise stop.error from None
        except UnansweredError as why:
            raise SystemGoneError(
                one_line(f"{self._address.rstrip('/')}/prepare: {why}; type the command again")
            ) from None

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Answered]:
        return self._careful.plan(inputs)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._runner is not None:
            if self._http is not None:
                self._runner.run(self._http.aclose())
            self._runner.close()
        self._runner = self._http = None

    def _info(self) -> SystemInfo:
        """What the server says of itself; a server that knows no GET says nothing."""
        try:
            sent = self._run(self._tried("GET", "", None, min(self._timeout, 30.0), (400, 404, 405, 501)))
            if sent.status != 200:
                return SystemInfo()
            known = {name: value for name, value in _object(sent).items() if name in SystemInfo.model_fields}
            return SystemInfo.model_validate(known)
        except StopRun as stop:
            raise stop.error from None
        except ValidationError as error:
            raise UserError(f"{self._address}: GET says {one_line(first_problem(error))}: mend the server") from None
        except UnansweredError as why:
            raise UserError(one_line(f"{self._address}: GET brings {why}; is it the address of a system?")) from None

    def _exchange(self, inputs: Sequence[FreestyleInput]) -> list[Answered]:
        request = plan_request(inputs, self._benchmark.root)
        value = self._run(self._parsed(request))
        answers = value.get("answers")
        if not isinstance(answers, list):
            raise UnansweredError(f"no list 'answers' in {quoted(json.dumps(value)[:400])}")
        return settle(inputs, answers, self._reader)

    def _run(self, what: Any) -> Any:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(what)

    async def _parsed(self, request: dict[str, Any]) -> dict[str, Any]:
        return _object(await self._tried("POST", "", request, self._timeout))

    async def _tried(
        self, method: str, path: str, body: Any, timeout: float, also: tuple[int, ...] = ()
    ) -> Received:  # fmt: skip
        """A whole answer of status 200 (or one of `also`), after as many attempts as it takes and is worth."""
        jitter = random.Random(self._address)
        for attempt in range(1, ATTEMPTS + 1):
            again = await self._attempt(method, path, body, timeout, also)
            if isinstance(again, Received):
                return again
            why, gone, after = again
            if attempt == ATTEMPTS:
                break
            await asyncio.sleep(pause(attempt, self._first_pause, after, jitter))
        if gone:
            said = f"{shorten(self._address, 80)} does not answer ({why}): {_how(why)}, then type the command again"
            raise StopRun(SystemGoneError(said))
        raise UnansweredError(f"{why}, {ATTEMPTS} times")

    async def _attempt(
        self, method: str, path: str, body: Any, timeout: float, also: tuple[int, ...]
    ) -> Received | tuple[str, bool, float | None]:
        """The answer, or why there is none, whether the server seems to be gone, and how long it asks to wait."""
        if self._http is None:
            local = _is_loopback(self._url.host)
            self._http = client(self._headers, proxies=not local)
        try:
            sent = await send(
                self._http, method, self._address.rstrip("/") + path if path else self._address, body, timeout, MAX_BODY
            )
        except NoAnswerError as error:
            if str(error) == "TimeoutError":  # a second try would take as long
                raise UnansweredError(f"no answer within {timeout:g} s") from None
            return str(error), not error.reached, None
        if sent.status in also:
            return sent
        self._final(sent)
        if sent.status in _BUSY:
            return f"status {sent.status}", True, asked(sent.retry_after)
        if sent.status >= 500:
            return f"status {sent.status}: {quoted(sent.body[:400].decode('utf-8', 'replace'))}", False, None
        if sent.status != 200:
            raise UnansweredError(f"status {sent.status}: {quoted(sent.body[:400].decode('utf-8', 'replace'))}")
        if not sent.whole:
            raise UnansweredError(f"too-long: more than {MAX_BODY // 2**20} MB")
        return sent

    def _final(self, sent: Received) -> None:
        """Raise StopRun for what no other chat would change."""
        where = shorten(self._address, 80)
        if 300 <= sent.status < 400:
            place = shorten(sent.location or "nowhere", 80)
            raise StopRun(UserError(f"{where} sends on to {place} (status {sent.status}): give the address itself"))
        if sent.status in (401, 403):
            raise StopRun(UserError(f"{where} refuses (status {sent.status}): put its Authorization header in ${AUTH}"))
        if sent.status in (404, 405, 501):
            raise StopRun(UserError(f"{where} takes no POST (status {sent.status}): check the address"))


def _how(why: str) -> str:
    """What to do before the command is typed again."""
    if "certificate" in why:
        return "mend that"
    return "wait until it is less busy" if why == f"status {_TOO_MANY}" else "start it"


def _object(sent: Received) -> dict[str, Any]:
    try:
        value = json.loads(sent.body)
    except (ValueError, RecursionError):
        raise UnansweredError(f"not JSON but {quoted(sent.body[:400].decode('utf-8', 'replace'))}") from None
    if not isinstance(value, dict):
        raise UnansweredError(f"a JSON {type(value).__name__}, not an object")
    return value


def checked(address: str) -> httpx.URL:
    """An address that a system can be at; what is secret does not belong into it, as it is recorded."""
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL("")
    plain = not url.userinfo and not url.query and not url.fragment
    if url.scheme in ("http", "https") and url.host and plain and 0 < (url.port or 1) < 65536:
        return url
    raise UserError(
        "the address of a system is http(s)://host/path, without name, password or query; "
        f"an Authorization header is taken from ${AUTH}"
    )


def _headers(url: httpx.URL) -> dict[str, str]:
    headers = {"User-Agent": f"chatgenbench/{chatgenbench.__version__}", "Accept": "application/json"}
    secret = os.environ.get(AUTH, "").strip()
    if not secret:
        return headers
    if not secret.isascii() or not secret.isprintable():
        raise UserError(f"${AUTH} holds strange characters: set it again")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise UserError(f"${AUTH} is sent only to https:// or this machine: use https, or unset it")
    return {**headers, "Authorization": secret}


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
