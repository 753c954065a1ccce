"""A language model of few words on loopback: an OpenAI-compatible server that plays people by rule, with faults.

It reads the wanted picture out of the request and says it again in other words, so that its chats pass the gates; asked
what a chat wants, it repeats the chat.  Faults come for some requests (by a hash of the request) before the answer.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

FAULTS = ("429", "500", "garbage", "no-choices")


class Actor:
    """`with Actor(faults) as actor: actor.base_url`; `answered` counts answers by sha256 of the request's body."""

    def __init__(self, faults: Iterable[str] = (), key: str | None = None, say: Any = None) -> None:
        self.faults, self.key, self.say = tuple(faults), key, say or retell
        self.answered: Counter[str] = Counter()
        self.tried: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        actor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                status, body, headers = actor.reply(data, self.headers.get("Authorization"))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Actor:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, data: bytes, key: str | None) -> tuple[int, bytes, dict[str, str]]:
        digest = hashlib.sha256(data).hexdigest()
        with self._lock:
            self.tried[digest] += 1
            tries = self.tried[digest]
        if self.key is not None and key != f"Bearer {self.key}":
            return 401, b'{"error": {"message": "bad key"}}', {}
        if self.faults and tries == 1 and int(digest[:2], 16) % 3 == 0:
            fault = self.faults[int(digest[2:4], 16) % len(self.faults)]
            if fault == "garbage":
                return 200, b"<html>busy</html>", {}
            if fault == "no-choices":
                return 200, b'{"choices": []}', {}
            return int(fault), b"{}", {"Retry-After": "0"} if fault == "429" else {}
        body = json.loads(data)
        with self._lock:
            self.answered[digest] += 1
            self.bodies.append(body)
        text = self.say(body)
        answer = {
            "id": f"chatcmpl-{digest[:12]}", "model": body["model"],
            "choices": [{"message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 200, "completion_tokens": 40},
        }  # fmt: skip
        return 200, json.dumps(answer).encode(), {}


def retell(body: dict[str, Any]) -> str:
    """The wanted picture's words in another order, with small talk between them."""
    asked = body["messages"][-1]["content"]
    found = re.search(r"^The picture you want: (.*)$", asked, re.MULTILINE)
    if not found:
        return asked.split("\n\nIn one sentence")[0]
    words = [word for word in re.findall(r"[a-z]+", found[1]) if len(word) > 3][:10]
    wish = "hi! i would love something with " + " and then ".join(
        " ".join(reversed(words[i : i + 2])) for i in range(0, len(words), 2)
    )
    turns = [wish]
    if "messages that you send" in asked:
        turns = ["i need a picture for my kitchen wall", wish, "thanks, take your time with it"]
    return json.dumps({"messages": turns})
