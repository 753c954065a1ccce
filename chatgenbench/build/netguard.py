"""Fetching from addresses that strangers wrote down: only http(s), only public hosts, little data, few redirects.

The address that was checked is the one that is connected to: the check sits where the connection is opened, so a name
that answers differently the second time gains nothing.  Proxies of the environment are not used, as behind one there
is no telling where a request ends.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpcore
import httpx

from chatgenbench.net import USER_AGENT, is_public

MAX_BYTES = 25 * 1024 * 1024
MAX_REDIRECTS = 3
ATTEMPTS = 5
#: Longest pause between attempts, whatever the server asks for, and longest time of one attempt, in seconds.
MAX_PAUSE = 60.0
ATTEMPT_TIME = 120.0

_HEADERS = (
    ("User-Agent", USER_AGENT),
    ("Accept", "image/png, image/jpeg, image/webp"),
    ("Accept-Encoding", "identity"),
)
_TIMEOUTS = {"timeout": {"connect": 15.0, "read": 30.0, "write": 15.0, "pool": 60.0}}
_HOST = re.compile(rb"[A-Za-z0-9._:-]+")


class Refused(Exception):
    """What was asked for will not be had, however often one asks; `reason` is a fixed name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unanswered(Exception):
    """No answer now; `why` is short and holds no address.  `after`: seconds that the server asks to wait."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.after = after


class Guard(httpcore.AsyncNetworkBackend):
    """Opens connections to public addresses only (to any with `allow_private`).

    Raises:
        Refused: `picture-private-address`, if any address of the host is not public.
    """

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._addresses(host, port)
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise Refused("picture-private-address")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise httpcore.ConnectError("the host's name is not known") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise Refused("picture-private-address")
        return addresses


@asynccontextmanager
async def connections(number: int, allow_private: bool = False) -> AsyncIterator[httpcore.AsyncConnectionPool]:
    """At most `number` connections at a time, all of them guarded."""
    async with httpcore.AsyncConnectionPool(
        max_connections=number, keepalive_expiry=30.0, network_backend=Guard(allow_private)
    ) as pool:
        yield pool


async def fetch(pool: httpcore.AsyncConnectionPool, url: str, patience: float = 1.0) -> bytes:
    """The body at `url`, at most `MAX_BYTES`.  Between attempts it waits up to `patience` seconds, doubled each time.

    Raises:
        Refused: asking again is of no use.
        Unanswered: `ATTEMPTS` attempts failed.
    """
    jitter = random.Random(url)
    for attempt in range(ATTEMPTS):
        try:
            async with asyncio.timeout(ATTEMPT_TIME):
                return await _follow(pool, url)
        except Unanswered as failure:
            if attempt + 1 == ATTEMPTS:
                raise
            pause = failure.after if failure.after is not None else jitter.uniform(0.5, 1) * patience * 2**attempt
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as failure:
            # TimeoutError, of asyncio.timeout too, is an OSError
            if attempt + 1 == ATTEMPTS:
                raise Unanswered(type(failure).__name__) from None
            pause = jitter.uniform(0.5, 1) * patience * 2**attempt
        await asyncio.sleep(min(pause, MAX_PAUSE))
    raise AssertionError("the last attempt returns or raises")


async def _follow(pool: httpcore.AsyncConnectionPool, address: str) -> bytes:
    try:
        url = httpx.URL(address)
        for _ in range(MAX_REDIRECTS + 1):
            found = await _get(pool, url)
            if isinstance(found, bytes):
                return found
            url = url.join(found)
    except (httpx.InvalidURL, ValueError):
        raise Refused("picture-bad-url") from None
    raise Refused("picture-bad-url")


async def _get(pool: httpcore.AsyncConnectionPool, url: httpx.URL) -> bytes | str:
    """The body, or where the server sends one to."""
    if url.scheme not in ("http", "https") or not _HOST.fullmatch(url.raw_host) or url.userinfo:
        raise Refused("picture-bad-url")
    if url.port is not None and not 0 < url.port < 65536:
        raise Refused("picture-bad-url")
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    headers = [("Host", url.netloc.decode("ascii")), *_HEADERS]
    async with pool.stream("GET", target, headers=headers, extensions=_TIMEOUTS) as response:
        given = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        if response.status in (301, 302, 303, 307, 308) and given.get(b"location"):
            return given[b"location"]
        _judge(response.status, given.get(b"retry-after", ""))
        if given.get(b"content-length", "0").isdigit() and int(given.get(b"content-length", "0")) > MAX_BYTES:
            raise Refused("picture-too-large")
        return await _body(response)


def _judge(status: int, retry_after: str) -> None:
    if status == 200:
        return
    if status in (404, 410):
        raise Refused("picture-gone")
    if status in (408, 425, 429) or status >= 500:
        raise Unanswered(f"status {status}", float(retry_after) if retry_after.isdecimal() else None)
    raise Refused("picture-refused")


async def _body(response: httpcore.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_stream():
        body += part
        if len(body) > MAX_BYTES:
            raise Refused("picture-too-large")
    return bytes(body)
