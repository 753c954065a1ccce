"""Real servers on loopback that give weights as Civitai and its storage do, and what they do when they don't."""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]


def safetensors(seed: int = 0, values: int = 4000) -> bytes:
    """A whole safetensors file with one tensor of bytes that depend on `seed`."""
    data = b"".join(hashlib.sha256(f"{seed}.{at}".encode()).digest() for at in range(values // 32 + 1))[:values]
    return head({"a": {"dtype": "U8", "shape": [values], "data_offsets": [0, values]}}) + data


def head(entries: dict[str, Any]) -> bytes:
    """The beginning of a safetensors file."""
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers with what `Host.answers` has for a path; each request is noted in `Host.log`."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        host = self.server.host
        host.log.append((self.path, dict(self.headers.items())))
        answers = host.answers.get(self.path, [])
        answer = (answers.pop(0) if len(answers) > 1 else answers[0]) if answers else status(404)
        answer(self)

    def do_HEAD(self) -> None:
        self.do_GET()

    def say(self, code: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    host: Host
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hangs up is part of the tests


@dataclass
class Host:
    """One server: path -> answers (in turn, the last for ever)."""

    address: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    log: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def offer(self, version: int, *answers: Answer) -> None:
        """What a download of a model version is answered with."""
        self.answers[f"/api/download/models/{version}"] = list(answers)


@contextmanager
def serve() -> Iterator[Host]:
    server = _Server(("127.0.0.1", 0), Handler)
    server.host = Host(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.host
    server.shutdown()
    server.server_close()


def status(code: int, body: bytes = b"{}", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.say(code, {"Content-Type": "application/json", **named}, body)


def redirect(address: str) -> Answer:
    return lambda handler: handler.say(307, {"Location": address}, b"")


def page() -> Answer:
    return lambda handler: handler.say(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>log in</html>")


def file(data: bytes, ranges: bool = True) -> Answer:
    """The file, or what of it was asked for."""

    def answer(handler: Handler) -> None:
        asked = handler.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and ranges else 0
        if not start:
            handler.say(200, {"Content-Type": "application/octet-stream"}, data)
        elif start >= len(data):
            handler.say(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
        else:
            where = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
            handler.say(206, {"Content-Type": "application/octet-stream", **where}, data[start:])

    return answer


def torn(data: bytes, after: int) -> Answer:
    """The beginning of a file; then the connection breaks."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/octet-stream")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:after])
        handler.close_connection = True

    return answer


def chunked(data: bytes) -> Answer:
    """A file whose length nobody tells."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/octet-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(data), 1000):
            part = data[start : start + 1000]
            handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    return answer


def hub_file(data: bytes, sha256: str, commit: str) -> Answer:
    """A file of the Hugging Face hub, with the headers that its library looks for."""

    def answer(handler: Handler) -> None:
        headers = {"ETag": f'"{sha256}"', "X-Repo-Commit": commit, "Content-Type": "application/octet-stream"}
        handler.say(200, headers, data)

    return answer
