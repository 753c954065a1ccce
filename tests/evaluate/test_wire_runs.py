"""Whole runs with systems in other processes: they die in the middle, come back, and no row is lost or asked twice."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chatgenbench import cli
from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.errors import SystemGoneError
from chatgenbench.evaluate.pipeline import plan_stage
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.schema import Outcome
from chatgenbench.systems import Options, Prices, resolve
from tests.cli import run_here
from tests.systems.wire.servers import command

ROWS = 160
EXAMPLE = Path(__file__).parents[2] / "examples" / "http_system.py"

#: A server that notes every row it is asked for, and ends itself at the 137th as long as the file `mortal` is there.
SERVER = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
ARGUMENTS = {"sampler": "Euler a", "steps": 20, "cfg_scale": 3, "width": 64, "height": 64}
seen = open("seen", "a+")
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        chats = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"]
        for chat in chats:
            seen.seek(0)
            if os.path.exists("mortal") and len(seen.read().split()) >= 136:
                os._exit(1)
            seen.write(chat["id"] + "\\n")
            seen.flush()
        answers = [{"id": c["id"], "plan": {"prompt": c["id"], "model": "stickerPop_v12", "arguments": ARGUMENTS},
                    "costs": {"prompt_tokens": 10, "completion_tokens": 2}} for c in chats]
        body = json.dumps({"answers": answers}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Quiet:
    def tick(self, name: str, done: int, total: int) -> None:
        pass


@pytest.fixture(scope="module")
def miniature() -> Benchmark:
    return load_benchmark("miniature")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATGENBENCH_PATIENCE", "0")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(script: Path, port: int, folder: Path) -> subprocess.Popen[bytes]:
    """A server in a process of its own, once it takes connections."""
    process = subprocess.Popen([sys.executable, str(script), str(port)], cwd=folder, stderr=subprocess.DEVNULL)
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError("the server does not start")


def planned(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.plans.read_text().splitlines()]


def test_a_server_that_dies_at_row_137_stops_the_run_which_goes_on_when_it_is_back(
    miniature: Benchmark, tmp_path: Path
) -> None:
    script, port = tmp_path / "server.py", free_port()
    script.write_text(SERVER)
    (tmp_path / "mortal").touch()
    folder, items = RunFolder(tmp_path / "run"), miniature.subset(ROWS)
    folder.path.mkdir()
    prices = Prices(1.0, 5.0)
    process = started(script, port, tmp_path)
    try:
        system = resolve(f"http://127.0.0.1:{port}", miniature, 0)
        with pytest.raises(SystemGoneError, match=r"does not answer \(ConnectError\): start it, then type the command"):
            plan_stage(folder, miniature, system, items, Quiet(), prices)
    finally:
        process.kill()
        process.wait()
    assert len(planned(folder)) == 136  # seventeen batches of eight; nothing is said of the rows after them
    (tmp_path / "mortal").unlink()
    process = started(script, port, tmp_path)
    try:
        plan_stage(folder, miniature, system, items, Quiet(), prices)
    finally:
        process.kill()
        process.wait()
    rows = planned(folder)
    assert [row["item"] for row in rows] == [item.id for item in items]
    assert all(row["plan"]["prompt"] == row["item"] for row in rows)
    assert Counter((tmp_path / "seen").read_text().split()) == Counter(item.id for item in items)
    assert all(row["outcome"] == "ok" and row["tokens"] == 12 and row["usd"] == pytest.approx(2e-5) for row in rows)
    assert all(row["device_seconds"] is None and row["latency"] > 0 for row in rows)


def test_a_command_that_dies_at_row_137_fails_that_row_and_the_run_goes_on(
    miniature: Benchmark, tmp_path: Path
) -> None:
    items = miniature.subset(ROWS)
    fatal = items[136].id
    body = f"for chat in chats():\n if chat['id'] == {fatal!r}: os._exit(9)\n say(chat)\n"
    spec = command(tmp_path, body)
    script = tmp_path / "their_system.py"
    script.write_text(script.read_text().replace("inkSketch_v1", "stickerPop_v12"))
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    plan_stage(folder, miniature, resolve(spec, miniature, 0, Options(timeout=120)), items, Quiet())
    rows = planned(folder)
    assert [row["item"] for row in rows] == [item.id for item in items]
    assert [row["item"] for row in rows if row["outcome"] != Outcome.OK] == [fatal]
    assert rows[136]["reason"] == "not-answered: it ended with code 9"


def test_a_newcomer_evaluates_the_example_server(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/plan"
    here = f"cmd:{sys.executable} {EXAMPLE.with_name('command_system.py')}"
    words = ("eval", "--system", url, "--system", here, "--limit", "6", "--no-render", "--price-device", "3.6",
             "--out", str(tmp_path / "run"))  # fmt: skip
    process = started(EXAMPLE, port, tmp_path)
    try:
        done = run_here(*words, home=tmp_path / "home")
    finally:
        process.kill()
        process.wait()
    assert done.returncode == 0, done.stdout + done.stderr
    [there, beside] = sorted((tmp_path / "run").glob("*/summary.json"), reverse=True)
    summary = json.loads(there.read_text())
    assert summary["outcomes"] == {"ok": 6}
    assert summary["costs"] == {}
    costs = json.loads(beside.read_text())["costs"]
    assert costs["device_seconds"]["rows"] == 6
    assert costs["usd"]["total"] == pytest.approx(costs["device_seconds"]["total"] / 1000)
    page = beside.with_name("report.html").read_text()
    assert "Device seconds" in page
    assert "US$" in page
    # the server is gone: a run that has all its answers needs it no more, and others wait for it and for nothing else
    (tmp_path / "run" / "comparison.html").unlink()
    there.unlink()
    again = run_here(*words, home=tmp_path / "home")
    assert again.returncode == 0, again.stderr
    assert f"{url} is not there, and has answered every row already: the run goes on without it" in again.stderr
    assert json.loads(there.read_text())["outcomes"] == {"ok": 6}
    assert (tmp_path / "run" / "comparison.html").exists()
    more = ("eval", "--system", url, "--system", "echo", "--limit", "7", "--no-render", "--out", str(tmp_path / "run"))
    waiting = run_here(*more, home=tmp_path / "home")
    assert waiting.returncode == cli.EXIT_INCOMPLETE
    assert f"incomplete: {url} does not answer (ConnectError): start it, then type the command" in waiting.stderr
    assert json.loads((tmp_path / "run" / "echo" / "summary.json").read_text())["outcomes"] == {"ok": 7}
    alone = run_here("eval", "--system", url, "--out", str(tmp_path / "x"), home=tmp_path / "home")
    assert alone.returncode == cli.EXIT_INCOMPLETE
    assert not (tmp_path / "x").exists()


def test_the_example_is_short_and_needs_nothing_but_python() -> None:
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) <= 30
    names = [line.split()[1].partition(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert set(names) <= set(sys.stdlib_module_names)
