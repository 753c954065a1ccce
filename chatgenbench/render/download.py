"""Download one weight file of Civitai: resumed where it tore, checked before, while and after it comes.

The token goes to the hub's own host over https and nowhere else; redirects lead to public addresses only.  The file
says itself in its first bytes that it is safetensors, and how long it is: anything else ends the download there.
"""

from __future__ import annotations

import hashlib
import random
import re
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import httpcore

from chatgenbench.errors import WeightsError
from chatgenbench.net import USER_AGENT, is_loopback, is_public
from chatgenbench.render.cache import Reserve
from chatgenbench.render.header import HeaderError, total_bytes
from chatgenbench.render.sources import Civitai

ATTEMPTS = 6
MAX_REDIRECTS = 5
#: Longest pause of our own between attempts, and longest that the hub is granted, in seconds.
MAX_PAUSE, MAX_RETRY_AFTER = 30.0, 120.0
_TIMEOUTS = {"timeout": {"connect": 15.0, "read": 60.0, "write": 15.0, "pool": 60.0}}
_AGAIN = frozenset({408, 425, 429, 499})
_HOST = re.compile(r"[A-Za-z0-9._:-]+", re.ASCII)
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")
_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)

#: What a refusal means, by status.
REFUSALS = {
    401: "Civitai wants a login for it (status 401): put a key of your account into $CIVITAI_TOKEN",
    403: "Civitai refuses it (status 403): it is in early access, or closed to this account",
    404: "Civitai no longer has it (status 404)",
    410: "it was archived by its author and can't be downloaded any more (status 410)",
}


@dataclass(frozen=True)
class Service:
    """Where to download from.

    Attributes:
        address: of the hub, e.g. "https://civitai.com".
        token: bearer token, or None.
        allow_private: whether redirects may lead to private addresses.
        patience: first pause between attempts in seconds, doubled each time.
    """

    address: str
    token: str | None
    allow_private: bool = False
    patience: float = 1.0


class _Again(Exception):
    """This attempt failed; `after`: seconds that the hub asks to wait."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.why, self.after = why, after


class _Guard(httpcore.NetworkBackend):
    """Connects to public addresses, and to the hub's own host wherever that is."""

    def __init__(self, service: Service) -> None:
        self._service, self._inner = service, httpcore.SyncBackend()
        self._home = urlsplit(service.address)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise httpcore.ConnectError("the host's name is not known") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        at_home = host == self._home.hostname and port == _port(self._home)
        if not (at_home or self._service.allow_private or all(is_public(address) for address in addresses)):
            raise WeightsError("its download leads to an address of a private network")
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
        return self._inner.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)


def download(source: Civitai, sha256: str, partial: Path, service: Service, reserve: Reserve) -> None:
    """Fill `partial` with the file of `source`; what lies there already is gone on with.

    Args:
        sha256: 64 hex digits that the file must have.

    Raises:
        WeightsError: refused, gone, not safetensors, not the file expected, or no answer after `ATTEMPTS` attempts.
    """
    jitter = random.Random(sha256)
    with httpcore.ConnectionPool(network_backend=_Guard(service)) as pool:
        for attempt in range(1, ATTEMPTS + 1):
            resumed = partial.exists()
            try:
                found = _attempt(pool, source, partial, service, reserve)
            except _Again as failure:
                if attempt == ATTEMPTS:
                    raise WeightsError(f"{failure.why}, {ATTEMPTS} times: type the command again later") from None
                pause = jitter.uniform(0.5, 1) * min(MAX_PAUSE, service.patience * 2 ** (attempt - 1))
                time.sleep(pause if failure.after is None else min(failure.after, MAX_RETRY_AFTER))
                continue
            except HeaderError as error:
                partial.unlink(missing_ok=True)
                if not resumed:
                    raise WeightsError(f"what Civitai sends is {error}") from None
                continue
            if found == sha256:
                return
            partial.unlink(missing_ok=True)
            if not resumed:
                raise WeightsError(f"what Civitai sends is not the file that the catalog describes (sha256 {found})")
        raise WeightsError("it changes while it is downloaded: type the command again later")


def _attempt(pool: httpcore.ConnectionPool, source: Civitai, partial: Path, service: Service, reserve: Reserve) -> str:
    """One request that goes on where `partial` ends; the sha256 of the whole file."""
    have = partial.stat().st_size if partial.exists() else 0
    with _opened(pool, source, have, service) as (response, headers):
        if response.status == 416:  # it ends where we wanted to go on, or before that
            found = _RANGE.fullmatch(headers.get("content-range", ""))
            if found is None or int(found[2]) != have:
                partial.unlink(missing_ok=True)
                raise _Again("the file is shorter than what came of it before")
            return _digest_of(partial).hexdigest()
        _judge(response.status, headers)
        start = _start(response.status, headers, have)
        announced = headers.get("content-length", "")
        return _write(response, partial, start, start + int(announced) if announced.isdecimal() else None, reserve)


@contextmanager
def _opened(
    pool: httpcore.ConnectionPool, source: Civitai, have: int, service: Service
) -> Iterator[tuple[httpcore.Response, dict[str, str]]]:
    """The answer at the end of all redirects, and its headers."""
    address = f"{service.address.rstrip('/')}/api/download/models/{source.version}"
    address += "" if source.file is None else f"?fileId={source.file}"
    for _ in range(MAX_REDIRECTS + 1):
        _check(address, service)  # before anything else reads it
        request = [("Host", urlsplit(address).netloc), ("User-Agent", USER_AGENT), ("Accept-Encoding", "identity")]
        if have:
            request.append(("Range", f"bytes={have}-"))
        if service.token and _origin(address) == _origin(service.address):  # storage refuses what is signed twice
            request.append(("Authorization", f"Bearer {service.token}"))
        try:
            with pool.stream("GET", address, headers=request, extensions=_TIMEOUTS) as response:
                headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in response.headers}
                if response.status not in (301, 302, 303, 307, 308):
                    yield response, headers
                    return
                address = _joined(address, headers.get("location", ""))
        except _BROKEN as error:
            raise _Again(f"the connection broke ({type(error).__name__})") from None
    raise WeightsError("its download redirects without end")


def _joined(address: str, location: str) -> str:
    """Where a redirect leads; "" for what is no address at all, which `_check` refuses."""
    try:
        return urljoin(address, location)
    except ValueError:
        return ""


def _check(address: str, service: Service) -> None:
    """See that an address may be asked: https (or http where the hub itself is on this machine), without a password."""
    try:
        url = urlsplit(address)
        harmless = url.username is None and _HOST.fullmatch(url.hostname or "") and _port(url)
    except ValueError:
        harmless = None
    home = urlsplit(service.address)
    plain = url.scheme == "http" and is_loopback(home.hostname or "")
    if not harmless or not (url.scheme == "https" or plain):
        raise WeightsError("its download redirects to an address that is not https")


def _judge(status: int, headers: dict[str, str]) -> None:
    """Nothing, if what comes is a file."""
    if status in _AGAIN or status >= 500:
        after = headers.get("retry-after", "")
        why = "Civitai allows no more downloads for now (status 429)" if status == 429 else f"status {status}"
        raise _Again(why, float(after) if after.isdecimal() else None)
    if status not in (200, 206):
        raise WeightsError(REFUSALS.get(status, f"Civitai refuses it (status {status})"))
    kind = headers.get("content-type", "").partition(";")[0].strip().casefold()
    if kind in ("text/html", "application/json", "text/plain"):
        raise WeightsError(f"Civitai sends a page ({kind}) instead of weights: it may want a login, see $CIVITAI_TOKEN")


def _start(status: int, headers: dict[str, str], have: int) -> int:
    """The byte of the file that the answer begins with."""
    if status == 200:
        return 0
    found = _RANGE.fullmatch(headers.get("content-range", ""))
    if found is None or found[1] is None or int(found[1]) not in (0, have):
        raise WeightsError("Civitai sends another part of it than was asked for")
    return int(found[1])


def _write(response: httpcore.Response, partial: Path, start: int, announced: int | None, reserve: Reserve) -> str:
    """Write what comes behind the first `start` bytes of `partial`; the sha256 of the whole."""
    with partial.open("r+b" if start else "wb") as file:
        digest = _digest_of(partial) if start else hashlib.sha256()
        file.seek(start)
        file.truncate()
        size, total = start, None
        for part in response.iter_stream():
            size += len(part)
            if total is not None and size > total:
                raise HeaderError(f"longer than the {total:,} bytes that its header says")
            file.write(part)
            digest.update(part)
            if total is None:
                file.flush()
                total = total_bytes(partial)
                if total is not None:
                    _compare(total, announced)
                    reserve(total)
    if total is None or size < total:
        raise _Again("the download broke off")
    return digest.hexdigest()


def _compare(total: int, announced: int | None) -> None:
    if announced is not None and announced != total:
        raise HeaderError(f"announced with {announced:,} bytes, and its header says {total:,}")


def _digest_of(path: Path) -> hashlib._Hash:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")


def _origin(address: str) -> tuple[str, str | None, int | None]:
    url = urlsplit(address)
    return url.scheme, url.hostname, _port(url)


def _port(url: SplitResult) -> int | None:
    return url.port or {"https": 443, "http": 80}.get(url.scheme)
