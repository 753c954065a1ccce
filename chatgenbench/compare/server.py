"""The voting page on this machine's own address, with nothing but the standard library.

Only a browser on this machine reaches it, and only from its own page: another site's script can neither read it through
a name of its own (Host is checked) nor vote (Origin and a token of this process are).
"""

from __future__ import annotations

import hmac
import json
import secrets
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from chatgenbench.compare.ballots import voter_name
from chatgenbench.compare.booth import Booth, StaleBallotError
from chatgenbench.compare.page import vote_page
from chatgenbench.errors import InfraError, UserError

LOOPBACK = ("127.0.0.1", "localhost")
MAX_BODY = 10_000
#: Seconds a silent connection is kept.
PATIENCE = 30


class RefusedError(Exception):
    """A request that is answered with a status and one line."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class VoteServer(ThreadingHTTPServer):
    """Serves one booth on 127.0.0.1; port 0 takes any free one.

    Raises:
        UserError: the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, booth: Booth, port: int = 0, voter: str | None = None) -> None:
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"port {port} cannot be used ({reason}): choose another --port, or 0") from None
        self.booth = booth
        self.token = secrets.token_urlsafe(32)
        self.html, self.policy = vote_page(self.token, voter, booth)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def hosts(self) -> tuple[str, ...]:
        return tuple(f"{name}:{self.server_port}" for name in LOOPBACK)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no event; anything else gets one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            sys.stderr.write(f"a request failed: {type(error).__name__}: {error}\n")


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: VoteServer
    server_version, sys_version = "chatgenbench", ""
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_POST(self) -> None:
        self._answered(self._post)

    def _answered(self, answer: Any) -> None:
        """Run `answer`; whatever goes wrong becomes a status and one line of JSON."""
        try:
            if self.headers.get("Host", "").lower() not in self.server.hosts():
                raise RefusedError(HTTPStatus.FORBIDDEN, "this page is served to this machine only")
            answer()
        except RefusedError as refused:
            self._refuse(refused.status, refused.reason)
        except StaleBallotError as error:
            self._refuse(HTTPStatus.CONFLICT, str(error))
        except UserError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except InfraError as error:
            sys.stderr.write(f"a vote was not written: {error}\n")
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, f"not written: {error}")

    def _get(self) -> None:
        if self.path == "/":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.html)
            return
        name = self.path.removeprefix("/picture/")
        data = self.server.booth.picture(name) if name != self.path else None
        if data is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is nothing here")
        self._send(HTTPStatus.OK, "image/png", data)

    def _post(self) -> None:
        body = self._body()
        booth, voter = self.server.booth, voter_name(body.get("voter"))
        if self.path == "/state":
            self._json(HTTPStatus.OK, booth.state(voter))
        elif self.path == "/undo":
            self._json(HTTPStatus.OK, booth.undo(voter))
        elif self.path == "/vote":
            ballot, choice = body.get("ballot"), body.get("choice")
            if not isinstance(ballot, str) or not ballot.isascii() or not isinstance(choice, str):
                raise RefusedError(HTTPStatus.BAD_REQUEST, "a vote names its ballot and a choice")
            self._json(HTTPStatus.OK, booth.vote(voter, ballot, choice, _seconds(body.get("seconds"))))
        else:
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _body(self) -> dict[str, Any]:
        """The JSON object of a POST from this server's own page."""
        origins = [f"http://{host}" for host in self.server.hosts()]
        if self.headers.get("Origin") not in origins:
            raise RefusedError(HTTPStatus.FORBIDDEN, "votes come from this server's own page only")
        if not hmac.compare_digest(self.headers.get("X-Session", "").encode(), self.server.token.encode()):
            raise RefusedError(HTTPStatus.FORBIDDEN, "the server was started anew: reload the page")
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "say how long the request is")
        if len(length) > 9 or int(length) > MAX_BODY:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request is too long")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "send one JSON object")
        return body

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True  # a body that was not read must not be taken for the next request
        self._json(status, {"error": reason})

    def _json(self, status: HTTPStatus, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: HTTPStatus, kind: str, data: bytes) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind, "Content-Length": str(len(data)), "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer", "Content-Security-Policy": self.server.policy,
        }  # fmt: skip
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal says who may look, not who looked."""


def _seconds(value: object) -> float | None:
    """How long the voter looked, where the page says something sensible."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 86_400:
        return None
    return round(float(value), 2)
