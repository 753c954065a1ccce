"""Systems that misbehave: real servers on loopback, and commands that are real processes."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

ARGUMENTS = {"sampler": "Euler a", "steps": 20, "cfg_scale": 7.0, "width": 64, "height": 64}


def plan(chat: dict[str, Any], model: str = "inkSketch_v1") -> dict[str, Any]:
    """A good plan whose prompt is the chat's id, so that a test sees which row an answer went to."""
    return {"prompt": chat["id"], "model": model, "arguments": ARGUMENTS}


def answers(request: dict[str, Any]) -> list[dict[str, Any]]:
    """A good answer to every input of a request."""
    return [{"id": chat["id"], "plan": plan(chat)} for chat in request["inputs"]]


#: A status and a body: JSON, bytes, or pieces of bytes; or None to break the connection.
Sent = tuple[int, Any] | None


class Server:
    """`with Server(answer) as server: server.url`; `answer` gets the body of each POST."""

    def __init__(self, answer: Callable[[dict[str, Any]], Sent], info: Sent = (404, {})) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.more: dict[str, str] = {}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner._send(self, info)

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.paths.append(self.path)
                owner.headers.append(dict(self.headers))
                if not self.path.endswith("/prepare"):
                    owner.requests.append(request)
                owner._send(self, answer(request))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def _send(self, handler: BaseHTTPRequestHandler, sent: Sent) -> None:
        if sent is None:
            handler.close_connection = True
            return
        status, body = sent
        handler.send_response(status)
        for name, value in self.more.items():
            handler.send_header(name, value)
        handler.end_headers()
        pieces = (
            body if isinstance(body, Iterator) else [body if isinstance(body, bytes) else json.dumps(body).encode()]
        )
        try:
            for piece in pieces:
                handler.wfile.write(piece)
        except ConnectionError:
            pass

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/plan"

    def __enter__(self) -> Server:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


#: The beginning of every command: `say(chat)` prints its answer.
HEAD = """
import json, os, sys, time
from pathlib import Path
ARGUMENTS = {arguments!r}
def say(chat, **more):
    answer = {{"id": chat["id"], "plan": {{"prompt": chat["id"], "model": "inkSketch_v1", "arguments": ARGUMENTS}}}}
    print(json.dumps(answer | more), flush=True)
def chats():
    for line in sys.stdin:
        chat = json.loads(line).get("input")
        if chat is not None:
            yield chat
"""


def command(folder: Path, body: str) -> str:
    """`--system` for a script with this body, which is written into `folder`."""
    script = folder / "their_system.py"
    script.write_text(HEAD.format(arguments=ARGUMENTS) + body)
    return f"cmd:{sys.executable} -S {script}"
