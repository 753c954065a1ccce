"""One request to a server that may send anything: bounded in time and in bytes, and never sent elsewhere."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Received:
    """What a server sent; `whole` is False if its body is longer than was allowed, and `body` is the beginning then."""

    status: int
    body: bytes
    whole: bool
    retry_after: str | None = None
    location: str | None = None


class NoAnswerError(Exception):
    """Nothing that is an answer came; `reached` is False if there was not even a connection."""

    def __init__(self, why: str, reached: bool) -> None:
        super().__init__(why)
        self.reached = reached


async def send(
    http: httpx.AsyncClient, method: str, address: str, json: Any, timeout: float, limit: int
) -> Received:  # fmt: skip
    """Send `json` (None: no body) and read at most about `limit` bytes of what comes back, within `timeout` seconds.

    Raises:
        NoAnswerError: no connection, a broken one, or no end of the answer in time.
        httpx.UnsupportedProtocol: the address is none.
    """
    data = bytearray()
    try:
        async with (
            asyncio.timeout(timeout),
            http.stream(method, address, json=json) if json is not None else http.stream(method, address) as response,
        ):
            async for part in response.aiter_bytes():
                data += part
                if len(data) > limit:
                    break
    except httpx.UnsupportedProtocol:
        raise
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise NoAnswerError(type(error).__name__, reached=False) from None
    except (httpx.TransportError, httpx.DecodingError, OSError) as error:  # TimeoutError is an OSError
        raise NoAnswerError(type(error).__name__, reached=True) from None
    told = response.headers
    return Received(
        response.status_code, bytes(data), len(data) <= limit, told.get("retry-after"), told.get("location")
    )
