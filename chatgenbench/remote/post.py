"""One request to a server that may send anything: bounded in time and in bytes, and never sent elsewhere."""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from chatgenbench.errors import UserError, shorten


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


def client(headers: Mapping[str, str], proxies: bool = True) -> httpx.AsyncClient:
    """Connections without a time limit of their own; `proxies`: the environment's are used.

    Raises:
        UserError: proxies or certificates of the environment that cannot be used.
    """
    try:
        trusted = httpx.create_ssl_context()
        return httpx.AsyncClient(headers=headers, timeout=None, verify=trusted, trust_env=proxies)
    except OSError as error:
        why = shorten(str(error.strerror or error), 80)
        raise UserError(f"$SSL_CERT_FILE or $SSL_CERT_DIR cannot be used ({why}): mend it, or unset it") from None
    except (ValueError, httpx.InvalidURL) as error:
        named = "$HTTP_PROXY, $HTTPS_PROXY and $ALL_PROXY"
        raise UserError(f"the environment's proxies cannot be used ({type(error).__name__}): mend {named}") from None


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
            http.stream(method, address, json=json, headers=_PACKED) as response,
        ):
            unpack = _unpacker(response.headers.get("content-encoding", ""))
            async for part in response.aiter_raw():
                data += unpack(part, limit + 1 - len(data))
                if len(data) > limit:
                    break
    except httpx.UnsupportedProtocol:
        raise
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise NoAnswerError(_distrust(error) or type(error).__name__, reached=False) from None
    except zlib.error:
        raise NoAnswerError("its compression is broken", reached=True) from None
    except (httpx.TransportError, OSError) as error:  # TimeoutError is an OSError
        raise NoAnswerError(type(error).__name__, reached=True) from None
    told = response.headers
    return Received(
        response.status_code, bytes(data), len(data) <= limit, told.get("retry-after"), told.get("location")
    )


#: How an answer may be packed: one layer, unpacked here, because a few kilobytes can hold gigabytes.
_PACKED = {"Accept-Encoding": "gzip, deflate"}


def _unpacker(encoding: str) -> Callable[[bytes, int], bytes]:
    """Gives at most so many bytes of a piece; what is beyond them is lost.

    Raises:
        NoAnswerError: packed in a way that was not asked for.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return lambda piece, most: piece[:most]
    if name in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress
    raise NoAnswerError(f"packed as {name[:40]!r}", reached=True)


def _distrust(error: BaseException | None) -> str:
    """What is wrong with a server's certificate, if that is why there is no connection."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {error.verify_message}; $SSL_CERT_FILE can name whom to trust"
        error = error.__cause__ or error.__context__
    return ""
