"""Single requests: how long a server may have itself waited for, and how its answers may be packed."""

from __future__ import annotations

import asyncio
import gzip
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from chatgenbench.remote.pauses import asked
from chatgenbench.remote.post import NoAnswerError, Received, send


def test_a_server_asks_to_wait_by_seconds_or_by_date() -> None:
    now = datetime.now(UTC)
    later, before = (format_datetime(now + timedelta(hours=hours), usegmt=True) for hours in (1, -1))
    assert asked(later) == pytest.approx(3600, abs=60)
    assert (asked(before), asked("7"), asked("-5"), asked(None)) == (0, 7, 0, None)
    assert asked(later.replace("GMT", "-0000")) == pytest.approx(3600, abs=60)
    assert [asked(junk) for junk in ("soon", "", "Wed, 99 Nov 2026 99:99:99 GMT")] == [None] * 3


@contextmanager
def serving(body: bytes, encoding: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Encoding", encoding)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def received(body: bytes, encoding: str, limit: int = 1000) -> Received:
    async def one(url: str) -> Received:
        async with httpx.AsyncClient(trust_env=False) as http:
            return await send(http, "POST", url, {}, 60, limit)

    with serving(body, encoding) as url:
        return asyncio.run(one(url))


@pytest.mark.parametrize(
    ("packed", "encoding"),
    [(gzip.compress(b"{}"), "gzip"), (zlib.compress(b"{}"), "Deflate"), (b"{}", "identity")],
    ids=["gzip", "deflate", "plain"],
)
def test_answers_may_be_packed_once(packed: bytes, encoding: str) -> None:
    assert received(packed, encoding).body == b"{}"


def test_no_more_is_unpacked_than_is_read() -> None:
    found = received(gzip.compress(b" " * (1 << 26)), "gzip")
    assert (len(found.body), found.whole) == (1001, False)


@pytest.mark.parametrize(
    ("encoding", "why"), [("gzip", "its compression is broken"), ("gzip, gzip", "packed as 'gzip, gzip'")]
)
def test_what_is_packed_otherwise_is_no_answer(encoding: str, why: str) -> None:
    with pytest.raises(NoAnswerError, match=why):
        received(b"{}", encoding)
