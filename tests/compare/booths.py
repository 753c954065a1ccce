"""A vote server as a test sees it: started in this process or as the real program, spoken to in plain HTTP."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatgenbench.compare import Match, VoteServer, VotesFile
from chatgenbench.compare.ballots import votable
from chatgenbench.compare.booth import Booth
from tests import cli


@contextmanager
def serving(match: Match, votes: Path, items: int | None = None, voter: str | None = None) -> Iterator[str]:
    """The address of a server of this process."""
    file = VotesFile(votes, match)
    with file.writing() as book, VoteServer(Booth(match, votable(match, items), file, book), 0, voter) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.address
        finally:
            server.shutdown()
            thread.join()


def started(home: Path, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    """The real program and the address it prints."""
    process = subprocess.Popen(
        [cli.PROGRAM, "vote", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=cli.environment(home) | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            return process, found[0]
    raise AssertionError(process.communicate())


class Client:
    """A browser without a window."""

    def __init__(self, address: str, voter: str = "ada") -> None:
        self.address, self.voter = address, voter
        self.page = self.get("")[1].decode()
        found = re.search(r'<script type="application/json" id="session">(.*?)</script>', self.page)
        assert found is not None
        self.token = str(json.loads(found[1])["token"])
        self.origin = address.rstrip("/")

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        return self._send(urllib.request.Request(self.address + path.removeprefix("/"), headers=headers))

    def post(self, path: str, data: bytes, **headers: str | None) -> tuple[int, bytes]:
        """POST with the page's own headers, replaced by `headers` (None leaves one out)."""
        usual = {"Origin": self.origin, "X-Session": self.token, "Content-Type": "application/json"}
        sent = {
            k: v for k, v in (usual | {k.replace("_", "-"): v for k, v in headers.items()}).items() if v is not None
        }
        return self._send(urllib.request.Request(self.address + path, data=data, headers=sent, method="POST"))

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        status, data = self.post(path, json.dumps({"voter": self.voter, **body}).encode())
        assert status == 200, data
        return dict(json.loads(data))

    def vote(self, choice: str) -> dict[str, Any]:
        ballot = self.ask("state")["ballot"]
        return self.ask("vote", ballot=ballot["id"], choice=choice, seconds=1.0)

    def _send(self, request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
