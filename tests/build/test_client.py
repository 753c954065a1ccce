"""The client against real servers: when it asks again, how long it waits, where it sends the token."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import chatgenbench
from chatgenbench.build import client as module
from chatgenbench.build.client import ATTEMPTS, Client, Unanswered
from chatgenbench.build.store import Answer
from chatgenbench.errors import UserError
from chatgenbench.remote import pauses

TOKEN = "t0ken-that-nobody-may-see"
GOOD = b'{"items":[],"metadata":{}}'
Reply = Callable[[int], tuple[int, bytes, dict[str, str]]]


class Server:
    """Gives the n-th request `reply(n)`, n from 1."""

    def __init__(self, reply: Reply) -> None:
        self.asked: list[tuple[str, dict[str, str], float]] = []
        self.busy = self.most_busy = 0
        lock, outer = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_GET(self) -> None:
                with lock:
                    outer.asked.append((self.path, dict(self.headers), time.monotonic()))
                    number = len(outer.asked)
                    outer.busy += 1
                    outer.most_busy = max(outer.busy, outer.most_busy)
                status, body, headers = reply(number)
                with lock:
                    outer.busy -= 1
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/api/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


@contextmanager
def serving(reply: Reply) -> Iterator[Server]:
    server = Server(reply)
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()


def ask(url: str, path: str = "/images", params: Any = (("limit", "2"),), patience: float = 0.001) -> Answer:
    async def run() -> Answer:
        async with Client(url, TOKEN, 1e6, 4, patience) as client:
            return await client.get(path, params)

    return asyncio.run(run())


def once(status: int, body: bytes, **headers: str) -> Reply:
    """This the first time, a good answer afterwards."""
    return lambda n: (status, body, {k.replace("_", "-"): v for k, v in headers.items()}) if n == 1 else (200, GOOD, {})


def always(status: int, body: bytes, **headers: str) -> Reply:
    return lambda n: (status, body, {k.replace("_", "-"): v for k, v in headers.items()})


def test_who_asks_and_with_what() -> None:
    with serving(always(200, GOOD)) as server:
        assert ask(server.url, params=[("limit", "2"), ("cursor", "4|5%")]) == Answer(
            "/images?cursor=4%7C5%25&limit=2", 200, GOOD
        )
    path, headers, _ = server.asked[0]
    assert path == "/api/v1/images?cursor=4%7C5%25&limit=2"
    assert headers["User-Agent"] == f"chatgenbench/{chatgenbench.__version__} (+https://arxiv.org/abs/2411.17176)"
    assert headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, b'{"error":"Too many requests"}'),
        (499, b"{}"),
        (500, b'{"message":"x","error":{}}'),
        (503, b'{"error":"Server busy, please retry shortly."}'),
        (524, b"<html>a timeout occurred</html>"),
        (200, b'{"items":[{"id":1},{"i'),
        (200, b""),
        (200, b"<!DOCTYPE html><html></html>"),
        (200, b'{"error":"An unexpected error occurred"}'),
        (200, b"null"),
        (403, b"\n <html>Just a moment...</html>"),
    ],
)
def test_what_is_no_answer_is_asked_again(status: int, body: bytes) -> None:
    with serving(once(status, body)) as server:
        assert ask(server.url).status == 200
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410])
def test_refusals_are_answers(status: int) -> None:
    with serving(always(status, b'{"error":"no"}')) as server:
        assert ask(server.url) == Answer("/images?limit=2", status, b'{"error":"no"}')
    assert len(server.asked) == 1


def test_a_page_too_deep_is_not_asked_again() -> None:
    with serving(always(429, b'{"error":"page * limit must not exceed 1000"}')) as server:
        assert ask(server.url, params=(("page", "11"), ("limit", "100"))).status == 429
        assert len(server.asked) == 1
        with pytest.raises(Unanswered, match="status 429"):
            ask(server.url, params=(("page", "10"), ("limit", "100")))


def test_attempts_end() -> None:
    with serving(always(500, b"{}")) as server, pytest.raises(Unanswered, match=r"^status 500$"):
        ask(server.url)
    assert len(server.asked) == ATTEMPTS


def test_nobody_listening_is_unanswered() -> None:
    with serving(always(200, GOOD)) as server:
        pass
    with pytest.raises(Unanswered, match=r"^ConnectError$"):
        ask(server.url)


def test_retry_after_in_seconds_holds_everything_back() -> None:
    with serving(once(503, b"{}", Retry_After="1")) as server:

        async def both() -> None:
            async with Client(server.url, None, 1e6, 1, 0.001) as client:
                await asyncio.gather(client.get("/a", ()), client.get("/b", ()))

        asyncio.run(both())
    times = [when for _, _, when in server.asked]
    assert len(times) == 3
    assert times[1] - times[0] >= 0.99


def test_retry_after_as_a_date() -> None:
    with serving(lambda n: once(429, b"{}", Retry_After=formatdate(time.time() + 2, usegmt=True))(n)) as server:
        ask(server.url)
    assert 0.9 <= server.asked[1][2] - server.asked[0][2] <= 3


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("", None), ("3", 3.0), ("-3", 0.0), ("nan", None), ("inf", None), ("soon", None),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)  # fmt: skip
def test_retry_after_is_read_leniently(value: str | None, seconds: float | None) -> None:
    assert module._retry_after(value) == seconds


def test_retry_after_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RETRY_AFTER", 0.1)
    with serving(once(503, b"{}", Retry_After="86400")) as server:
        ask(server.url)
    assert server.asked[1][2] - server.asked[0][2] < 5


def test_pace_and_concurrency() -> None:
    def slow(number: int) -> tuple[int, bytes, dict[str, str]]:
        time.sleep(0.15)
        return 200, GOOD, {}

    with serving(slow) as server:

        async def many(per_second: float) -> None:
            async with Client(server.url, None, per_second, 3, 0.001) as client:
                await asyncio.gather(*(client.get(f"/{i}", ()) for i in range(9)))

        asyncio.run(many(1e6))
        assert server.most_busy == 3
        server.asked.clear()
        asyncio.run(many(20))
    times = sorted(when for _, _, when in server.asked)
    assert times[-1] - times[0] >= 8 / 20 - 0.05


def test_a_redirect_on_the_same_host_is_followed() -> None:
    with serving(lambda n: (307, b"", {"Location": "/api/v1/images?limit=2"}) if n == 1 else (200, GOOD, {})) as server:
        assert ask(server.url).status == 200


def test_the_token_goes_to_no_other_host() -> None:
    with serving(always(200, GOOD)) as other, serving(always(302, b"", Location=f"{other.url}/images")) as server:
        with pytest.raises(UserError, match=r"sends on to 127\.0\.0\.1, where your token does not go"):
            ask(server.url)
        assert other.asked == []


def test_redirects_without_end() -> None:
    with serving(always(302, b"", Location="/api/v1/again")) as server, pytest.raises(Unanswered, match="without end"):
        ask(server.url)
    assert len(server.asked) == module.MAX_REDIRECTS + 1


def test_a_body_too_large_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 20)
    bomb = gzip.compress(b" " * (1 << 24))
    with (
        serving(always(200, bomb, Content_Encoding="gzip")) as server,
        pytest.raises(Unanswered, match="more than 1 MiB"),
    ):
        ask(server.url)
    assert len(server.asked) == 1


def test_the_token_is_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = json.dumps({"items": [], "you": f"Bearer {TOKEN}"}).encode()
    refusal = json.dumps({"error": f"bad token {TOKEN}"}).encode()
    with serving(always(200, echo)) as server:
        assert TOKEN.encode() not in ask(server.url).body
    with serving(always(401, refusal)) as server, pytest.raises(UserError, match="refuses the token") as caught:
        ask(server.url)
    assert len(server.asked) == 1
    assert TOKEN not in str(caught.value)
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "url",
    ["http://civitai.com/api/v1", "https://", "ftp://x/api", "https://me:pw@x/api", "nonsense", "", "https://x/?a=b"],
)
def test_addresses_that_no_token_goes_to(url: str) -> None:
    with pytest.raises(UserError, match="--api must be an https address"):
        Client(url, TOKEN, 1, 1)


def test_a_proxy_that_wants_a_password_is_not_asked_again() -> None:
    with serving(always(407, b"{}")) as server, pytest.raises(UserError, match=r"proxy .* check \$HTTPS_PROXY"):
        ask(server.url)
    assert len(server.asked) == 1


@pytest.mark.parametrize(("value", "seconds"), [(None, 1.0), ("0.25", 0.25), ("-3", 0.0), (" 2 ", 2.0)])
def test_patience(value: str | None, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHATGENBENCH_PATIENCE", raising=False)
    if value is not None:
        monkeypatch.setenv("CHATGENBENCH_PATIENCE", value)
    assert pauses.patience() == seconds


@pytest.mark.parametrize("value", ["soon", "", "nan", "-inf"])
def test_patience_that_is_no_number_of_seconds(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATGENBENCH_PATIENCE", value)
    with pytest.raises(UserError, match="CHATGENBENCH_PATIENCE"):
        pauses.patience()


def test_a_token_with_a_line_break_is_refused_without_being_shown() -> None:
    with pytest.raises(UserError, match="CIVITAI_API_TOKEN") as caught:
        Client("https://x/api", "abc\ndef-secret", 1, 1)
    assert "secret" not in str(caught.value)
