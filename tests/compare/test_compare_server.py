"""The vote server over real HTTP: blind, guarded, and nothing lost."""

from __future__ import annotations

import io
import json
import signal
import socket
from pathlib import Path

import pytest
from PIL import Image

from chatgenbench.compare import VotesFile
from chatgenbench.compare.ballots import left_side
from chatgenbench.errors import UserError
from tests import cli
from tests.compare.booths import Client, serving, started
from tests.compare.conftest import Duel


def test_a_voter_goes_through_all_pairs_and_back(duel: Duel, tmp_path: Path) -> None:
    match, votes = duel.match(), tmp_path / "votes.jsonl"
    with serving(match, votes) as address:
        client = Client(address)
        state = client.ask("state")
        assert (state["done"], state["total"]) == (0, 10)
        seen = set()
        for choice in ("left", "right", "tie", "skip", "left", "left", "left", "left", "left", "left"):
            seen.add(client.ask("state")["ballot"]["id"])
            state = client.vote(choice)
        assert (state["done"], state["ballot"], len(seen)) == (10, None, 10)
        again = client.ask("undo")
        assert again["done"] == 9
        assert again["ballot"]["id"] in seen
        assert Client(address, "bob").ask("state")["done"] == 0
    assert [v.choice for v in VotesFile(votes, match).read()][:4] == ["left", "right", "tie", "skip"]
    with serving(match, votes) as address:
        assert Client(address).ask("state")["done"] == 9
        assert Client(address).ask("undo")["done"] == 8


def test_nothing_a_voter_gets_tells_who_drew(duel: Duel, tmp_path: Path) -> None:
    match = duel.match()
    with serving(match, tmp_path / "votes.jsonl") as address:
        client = Client(address)
        state = client.ask("state")
        told = client.page + json.dumps(state)
        digests = [str(x) for p in match.pairs for x in (p.a.image_sha256, p.b.image_sha256, p.a.drawn.picture)]  # type: ignore[union-attr]
        secrets = ["oracle", "weak", "secretModel_v9", "clean style", *(p.item.id for p in match.pairs), *digests]
        assert not [secret for secret in secrets if secret in told]
        for side in ("left", "right"):
            status, data = client.get(state["ballot"][side])
            image = Image.open(io.BytesIO(data))
            assert status == 200
            assert image.info == {}
            assert b"clean style" not in data
            assert b"tEXt" not in data
            assert b"iTXt" not in data


def test_the_pictures_are_those_of_the_sides(duel: Duel, tmp_path: Path) -> None:
    """What is written down as the left picture is what stood left."""
    match, votes = duel.match(), tmp_path / "votes.jsonl"
    with serving(match, votes) as address:
        client = Client(address)
        shown = client.ask("state")["ballot"]
        left, right = (Image.open(io.BytesIO(client.get(shown[s])[1])).tobytes() for s in ("left", "right"))
        client.vote("left")
    vote = VotesFile(votes, match).read()[0]
    pair = next(p for p in match.pairs if p.item.id == vote.item)
    files = {"a": match.a.drawn(pair.a), "b": match.b.drawn(pair.b)}
    drawn = {side: Image.open(str(path)).convert("RGB").tobytes() for side, path in files.items()}
    assert vote.left == left_side("ada", vote.item) == vote.winner
    assert left == drawn[vote.left]
    assert right == drawn["b" if vote.left == "a" else "a"]


def test_an_old_ballot_is_refused_and_not_counted_twice(duel: Duel, tmp_path: Path) -> None:
    match, votes = duel.match(), tmp_path / "votes.jsonl"
    with serving(match, votes) as address:
        client = Client(address)
        ballot = client.ask("state")["ballot"]["id"]
        client.vote("left")
        body = json.dumps({"voter": "ada", "ballot": ballot, "choice": "right"}).encode()
        assert client.post("vote", body)[0] == 409
        assert client.ask("state")["done"] == 1
    assert len(VotesFile(votes, match).read()) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": None}, 403),
        ({"X_Session": "guess"}, 403),
        ({"X_Session": "gu\u00e9ss"}, 403),
        ({"X_Session": None}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:80"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_posts_from_elsewhere_are_refused(duel: Duel, tmp_path: Path, headers: dict[str, str], status: int) -> None:
    votes = tmp_path / "votes.jsonl"
    with serving(duel.match(), votes) as address:
        client = Client(address)
        ballot = client.ask("state")["ballot"]["id"]
        body = json.dumps({"voter": "ada", "ballot": ballot, "choice": "left"}).encode()
        got, answer = client.post("vote", body, **headers)
        assert got == status
        assert isinstance(json.loads(answer)["error"], str)
        assert client.ask("state")["done"] == 0
    assert votes.read_text().count("\n") == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b"\xff", b'{"voter": 1}', b'{"voter": ""}', b'{"voter": "a\\nb"}',
     b'{"voter": "ada", "ballot": 1, "choice": "left"}', b'{"voter": "ada", "ballot": "\\u00e9", "choice": "left"}',
     b'{"voter": "ada", "ballot": "x", "choice": "both"}', b"[" * 5000, b'{"voter": "\\ud800"}'],
)  # fmt: skip
def test_bad_requests_get_a_status_and_no_traceback(
    duel: Duel, tmp_path: Path, body: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(duel.match(), tmp_path / "votes.jsonl") as address:
        client = Client(address)
        status, answer = client.post("vote", body)
        assert 400 <= status < 500
        assert json.loads(answer)["error"]
        assert client.ask("state")["done"] == 0
    assert capfd.readouterr().err == ""


def test_other_paths_methods_and_lengths_are_refused(
    duel: Duel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(duel.match(), tmp_path / "votes.jsonl") as address:
        client = Client(address)
        for path in ("nothing", "picture/", "picture/../votes.jsonl", "picture/" + "0" * 32, "?x", "%2e%2e/run.json"):
            assert client.get(path)[0] == 404, path
        assert client.get("", Host="evil.example")[0] == 403
        assert client.get("", Host="localhost:" + address.split(":")[2].strip("/"))[0] == 200
        assert client.post("state", b'{"voter": "ada"}' + b" " * 20_000)[0] == 413
        assert client.post("nothing", b'{"voter": "ada"}')[0] == 404
        port = int(address.split(":")[2].strip("/"))
        for raw in (
            b"\x00\x01\x02\r\n\r\n",
            b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /\r\n\r\n",
            b"POST /vote HTTP/1.1\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
                line.sendall(raw)
        assert client.ask("state")["done"] == 0
    assert "Traceback" not in capfd.readouterr().err


def test_a_full_disk_loses_no_vote_silently(duel: Duel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chatgenbench import journal

    match, votes = duel.match(), tmp_path / "votes.jsonl"
    with serving(match, votes) as address:
        client = Client(address)
        ballot = client.ask("state")["ballot"]["id"]
        body = json.dumps({"voter": "ada", "ballot": ballot, "choice": "left"}).encode()

        def full(number: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(journal.os, "fsync", full)
            status, answer = client.post("vote", body)
        assert status == 507
        assert "No space left" in json.loads(answer)["error"]
        assert client.ask("state")["done"] == 0
        assert client.post("vote", body)[0] == 200
    assert len(VotesFile(votes, match).read()) == 1


def test_a_port_in_use_is_the_users_mistake(duel: Duel, tmp_path: Path) -> None:
    with serving(duel.match(), tmp_path / "votes.jsonl") as address:
        port = address.split(":")[2].strip("/")
        done = cli.run(
            "vote", str(duel.a), str(duel.b), "--out", str(tmp_path / "two.jsonl"), "--port", port, home=tmp_path
        )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: port {port} cannot be used")
    assert done.stderr.count("\n") == 1


def test_kill_9_loses_no_vote(duel: Duel, tmp_path: Path) -> None:
    votes = tmp_path / "votes.jsonl"
    command = (str(duel.a), str(duel.b), "--out", str(votes))
    process, address = started(tmp_path, *command)
    client = Client(address)
    for choice in ("left", "tie", "right", "skip"):
        client.vote(choice)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with votes.open("ab") as file:
        file.write(b'{"voter": "ada", "item": "i2-s')
    process, address = started(tmp_path, *command)
    client = Client(address)
    assert client.ask("state")["done"] == 4
    assert client.vote("left")["done"] == 5
    process.send_signal(signal.SIGINT)
    said, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, "")
    assert "4 votes on 4 items, 1 skipped" in said
    assert json.loads((tmp_path / "votes_results.json").read_text())["votes"] == 4
    choices = [v.choice for v in VotesFile(votes, duel.match()).read()]
    assert choices == ["left", "tie", "right", "skip", "left"]
    done = cli.run("vote", *command, "--results", home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 votes on 4 items" in done.stdout


def test_results_before_any_vote_are_refused(duel: Duel, tmp_path: Path) -> None:
    done = cli.run("vote", str(duel.a), str(duel.b), "--results", home=tmp_path, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: votes.jsonl is not there: vote first, or name the votes with --out\n"


def test_a_bad_name_is_refused_before_anything_is_served(duel: Duel, tmp_path: Path) -> None:
    from chatgenbench.compare_commands import run_vote

    with pytest.raises(UserError, match="name"):
        run_vote(duel.a, duel.b, None, tmp_path / "votes.jsonl", 0, "  ", None, False, None)  # type: ignore[arg-type]
    assert not (tmp_path / "votes.jsonl").exists()
