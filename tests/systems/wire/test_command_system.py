"""Commands as systems: real processes that hang, die, chatter and forget, and what becomes of their rows."""

from __future__ import annotations

import gc
import json
import os
import signal
import time
from pathlib import Path

import jsonschema
import pytest

from chatgenbench import schemas
from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import SystemGoneError, UserError
from chatgenbench.schema import Failure, FreestyleInput, Outcome, Plan
from chatgenbench.systems import Options, Spent, ask, done, ready, resolve
from chatgenbench.systems.wire import command as module
from tests.systems.wire.servers import command

Row = tuple[FreestyleInput, Plan | Failure, Spent]
IDS = ["i1", "i2", "i3", "i4", "i5"]
GOOD = "for chat in chats(): say(chat)\n"


def asked(spec: str, benchmark: Benchmark, batch: int = 5, timeout: float = 60) -> list[Row]:
    system = resolve(spec, benchmark, 0, Options(timeout=timeout))
    try:
        ready(system, benchmark)
        return list(ask(system, [item.input for item in benchmark.items], benchmark.catalog, batch))
    finally:
        done(system)


def told(rows: list[Row]) -> list[str]:
    """Each row's prompt, or the reason why it failed."""
    return [found.prompt if isinstance(found, Plan) else found.reason for _, found, _ in rows]


def test_one_process_answers_all_and_its_time_is_this_machines(benchmark: Benchmark, tmp_path: Path) -> None:
    body = "open('starts', 'a').write('x')\nfor chat in chats(): say(chat, costs={'completion_tokens': 5})\n"
    spec = command(tmp_path, f"os.chdir({str(tmp_path)!r})\n" + body)
    rows = asked(spec, benchmark, 2)
    assert told(rows) == IDS
    assert (tmp_path / "starts").read_text() == "x"
    assert {spent.costs.completion_tokens for _, _, spent in rows} == {5}
    assert all(spent.costs.device_seconds == spent.seconds for _, _, spent in rows)


def test_the_revision_follows_the_script(benchmark: Benchmark, tmp_path: Path) -> None:
    first = resolve(command(tmp_path, GOOD), benchmark, 0)
    assert first.name == "their_system.py"
    assert resolve(command(tmp_path, GOOD), benchmark, 0).revision == first.revision
    assert resolve(command(tmp_path, GOOD + "#"), benchmark, 0).revision != first.revision


def test_it_is_told_the_models_and_the_training_split_first(benchmark: Benchmark, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    body = f"for line in sys.stdin:\n open({str(seen)!r}, 'a').write(line)\n chat = json.loads(line).get('input')\n"
    assert told(asked(command(tmp_path, body + " if chat: say(chat)\n"), benchmark)) == IDS
    lines = [json.loads(line) for line in seen.read_text().splitlines()]
    assert list(lines[0]) == ["prepare"]
    assert {record["id"] for record in lines[0]["prepare"]["catalog"]} == set(benchmark.catalog.records)
    assert {d["split"] for d in lines[0]["prepare"]["train"]} == {"train"}
    for line in lines:
        jsonschema.validate(line, json.loads(schemas.file_of("command_line").read_text()))


#: Commands that behave strangely and yet answer every row.
STRANGE = {
    "out of order": "batch = []\nfor chat in chats():\n batch.append(chat)\n"
    " if len(batch) == 5: [say(c) for c in batch[::-1]]\n",
    "twice": "for chat in chats():\n say(chat)\n say(chat, plan={'prompt': 'another'})\n",
    "noise": "print('loading\\n{}\\n[1]\\n{\"a\": 1}\\nnull')\n"
    "for chat in chats():\n print('\\xff...\\n')\n say(chat)\n",
    "loud errors": "sys.stderr.write('x' * (1 << 22))\n"
    "for chat in chats():\n sys.stderr.write('y' * 100000)\n say(chat)\n",
    "says goodbye": "for chat in chats():\n say(chat)\n if chat['id'] == 'i5': sys.exit(0)\n",
    "slow start": "time.sleep(1.5)\n" + GOOD,
    "one crash": "mark = Path(__file__ + '.mark')\nfor chat in chats():\n"
    " if chat['id'] == 'i3' and not mark.exists():\n"
    "  mark.touch()\n  os._exit(3)\n say(chat)\n",
}  # fmt: skip


@pytest.mark.parametrize("body", STRANGE.values(), ids=STRANGE)
def test_strange_habits_cost_no_row(body: str, benchmark: Benchmark, tmp_path: Path) -> None:
    assert told(asked(command(tmp_path, body), benchmark)) == IDS


#: What a command does at the chat `i3`, and what is said of that row.
POISON = {
    "dies": ("sys.stderr.write('out of memory\\n'); sys.exit(3)", "it ended with code 3, saying 'out of memory'"),
    "is killed": ("os.kill(os.getpid(), 9)", "it ended with code -9"),
    "raises": ("raise RuntimeError('boom')", "it ended with code 1, saying 'RuntimeError: boom'"),
    "1 GB": (
        "[sys.stdout.write('x' * (1 << 20)) for _ in range(1 << 10)]",
        "too-long: a line of more than 4 MB: it was killed",
    ),
    "closes": ("os.close(1); time.sleep(60)", "it was killed"),
    "no plan": ("print(json.dumps({'id': 'i3', 'text': 'no idea'}), flush=True)", "no-plan: 'no idea'"),
}  # fmt: skip


@pytest.mark.parametrize(("doing", "reason"), POISON.values(), ids=POISON)
def test_the_row_at_which_it_breaks_is_found_and_the_others_stand(
    doing: str, reason: str, benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.1)
    body = f"for chat in chats():\n if chat['id'] == 'i3':\n  {doing}\n else: say(chat)\n"
    rows = asked(command(tmp_path, body), benchmark)
    assert reason in told(rows)[2]
    assert [found.prompt for _, found, _ in rows if isinstance(found, Plan)] == ["i1", "i2", "i4", "i5"]
    assert {found.outcome for _, found, _ in rows if isinstance(found, Failure)} == {Outcome.SYSTEM_FAILED}


def test_a_chat_at_which_it_hangs_costs_its_time_and_one_row(
    benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST", 1)
    body = "for chat in chats():\n if chat['id'] == 'i3': time.sleep(600)\n say(chat)\n"
    rows = told(asked(command(tmp_path, body), benchmark, timeout=4))
    assert rows == ["i1", "i2", "not-answered: no answer within 4 s: it was killed", "i4", "i5"]


def test_answers_without_an_id_are_asked_for_one_by_one(benchmark: Benchmark, tmp_path: Path) -> None:
    body = "for chat in chats(): print(json.dumps({'plan': {'prompt': chat['id'], 'model': 'inkSketch', "
    body += "'arguments': ARGUMENTS}}), flush=True)\n"
    assert told(asked(command(tmp_path, body), benchmark)) == IDS


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("sys.exit('no such weights')", "it ended with code 1, saying 'no such weights'"),
        ("import nowhere", "it ended with code 1, saying 'ModuleNotFoundError: No module named 'nowhere''"),
    ],
)
def test_a_command_that_answers_nothing_stops_the_run(
    body: str, why: str, benchmark: Benchmark, tmp_path: Path
) -> None:
    with pytest.raises(SystemGoneError, match="answered none of 3 chats in a row") as caught:
        asked(command(tmp_path, body), benchmark)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cmd:", "needs a command"),
        ("cmd:  ", "needs a command"),
        ("cmd:python 'my.py", "No closing quotation: mend the quotes"),
        ("cmd:/no/such/program x", "cannot be started: No such file or directory"),
        ("cmd:/tmp", "cannot be started: Permission denied"),
    ],
)
def test_a_command_that_cannot_be_started_is_one_line(spec: str, message: str, benchmark: Benchmark) -> None:
    with pytest.raises(UserError, match=message):
        asked(spec, benchmark)


def test_a_child_that_holds_the_pipes_leaves_no_trace(
    benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unraisable: list[str] = []
    monkeypatch.setattr("sys.unraisablehook", lambda found: unraisable.append(str(found.exc_value)))
    body = "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n" + GOOD
    assert told(asked(command(tmp_path, body), benchmark)) == IDS
    gc.collect()
    assert unraisable == []


def test_nothing_it_started_outlives_the_run(benchmark: Benchmark, tmp_path: Path) -> None:
    note = tmp_path / "child"
    body = (
        f"import subprocess\nopen({str(note)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid))\n"
        "for chat in chats(): say(chat)\ntime.sleep(600)\n"
    )
    assert told(asked(command(tmp_path, body), benchmark)) == IDS
    for _ in range(200):
        try:
            os.kill(int(note.read_text()), 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{note.read_text()}/stat").read_text().split()[2] == "Z":  # ended, and nobody asked how
            return
        time.sleep(0.05)
    os.kill(int(note.read_text()), signal.SIGKILL)
    raise AssertionError("a child process is still there")
