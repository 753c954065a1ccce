"""Systems behind an address: what they do wrong costs a row or stops the run, and never more."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chatgenbench import schemas
from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.errors import InfraError, SystemGoneError, UserError
from chatgenbench.schema import Costs, Failure, FreestyleInput, Outcome, Plan
from chatgenbench.systems import Options, Spent, ask, done, ready, resolve
from chatgenbench.systems.wire import http
from tests.systems.wire.servers import Sent, Server, answers, plan

Row = tuple[FreestyleInput, Plan | Failure, Spent]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATGENBENCH_PATIENCE", "0")
    monkeypatch.delenv(http.AUTH, raising=False)


def asked(server: Server, benchmark: Benchmark, batch: int = 2, timeout: float = 60) -> list[Row]:
    system = resolve(server.url, benchmark, 0, Options(timeout=timeout))
    try:
        ready(system, benchmark)
        return list(ask(system, [item.input for item in benchmark.items], benchmark.catalog, batch))
    finally:
        done(system)


def told(rows: list[Row]) -> list[str]:
    """Each row's prompt, or the reason why it failed."""
    return [found.prompt if isinstance(found, Plan) else found.reason for _, found, _ in rows]


IDS = ["i1", "i2", "i3", "i4", "i5"]


def test_a_batch_a_request_and_every_row_gets_its_own_answer(benchmark: Benchmark) -> None:
    info = (200, {"name": "theirs", "revision": "r7", "prepare": True, "else": 1})
    with Server(lambda request: (200, {"answers": answers(request)} if "inputs" in request else {}), info) as server:
        system = resolve(server.url, benchmark, 0)
        assert (system.name, system.revision) == ("theirs", "r7")
        assert told(asked(server, benchmark)) == IDS
    assert server.paths == ["/plan/prepare", "/plan", "/plan", "/plan"]
    assert [len(request["inputs"]) for request in server.requests] == [2, 2, 1]
    for request in server.requests:
        jsonschema.validate(request, json.loads(schemas.file_of("plan_request").read_text()))


def test_pictures_go_with_the_chat_under_names_that_say_nothing() -> None:
    miniature = load_benchmark("miniature")
    chat = next(item.input for item in miniature.items if item.input.images)
    with Server(lambda request: (200, {"answers": answers(request)})) as server:
        system = resolve(server.url, miniature, 0)
        list(ask(system, [chat], miniature.catalog, 1))
        done(system)
    [request] = server.requests
    [name] = [name for message in request["inputs"][0]["messages"] for name in message["images"]]
    assert Path(chat.images[0]).stem not in json.dumps(request["inputs"])
    kind, _, data = request["pictures"][name].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == (miniature.root / chat.images[0]).read_bytes()


def test_the_authorization_header_comes_from_the_environment(
    benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(http.AUTH, "Bearer secret")
    with Server(lambda request: (200, {"answers": answers(request)})) as server:
        asked(server, benchmark, 5)
        assert server.headers[0]["Authorization"] == "Bearer secret"
    with pytest.raises(UserError, match="only to https:// or this machine") as caught:
        resolve("http://example.org/plan", benchmark, 0)
    assert "secret" not in str(caught.value)


def test_what_answers_cost_is_recorded_as_told_and_never_trusted(benchmark: Benchmark) -> None:
    costs: list[Any] = [
        {"prompt_tokens": 7, "completion_tokens": 3, "device_seconds": 0.5, "usd": 0.01},
        {"prompt_tokens": -1, "completion_tokens": 3, "usd": "free"}, "cheap",
        {"seconds": 4, "usd": float("nan")}, None,
    ]  # fmt: skip

    def answer(request: dict[str, Any]) -> Sent:
        return 200, {"answers": [given | {"costs": c} for given, c in zip(answers(request), costs, strict=True)]}

    with Server(answer) as server:
        rows = asked(server, benchmark, 5)
    assert told(rows) == IDS
    whole = Costs(prompt_tokens=7, completion_tokens=3, device_seconds=0.5, usd=0.01)
    assert [spent.costs for _, _, spent in rows] == [whole, Costs(completion_tokens=3), Costs(), Costs(), Costs()]
    assert all(spent.seconds > 0 for _, _, spent in rows)


TEXT = "Prompt: a cat\nModel: inkSketch. Pen.\nArguments: Steps: 20, Sampler: Euler a, CFG: 7, Size: 64x64"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"id": "i1", "text": TEXT}, "a cat"),
        ({"id": "i1", "text": "I'm sorry, I can't."}, "refusal: 'I'm sorry, I can't.'"),
        ({"id": "i1", "failure": {"reason": "no\nGPU"}}, "no GPU"),
        ({"id": "i1", "failure": {"reason": "later", "outcome": "infra-failed"}}, "later"),
        ({"id": "i1", "failure": {"reason": "x", "outcome": "ok"}}, "bad-value: failure: outcome"),
        ({"id": "i1", "failure": "out of memory"}, "out of memory"),
        ({"id": "i1", **plan({"id": "flat"})}, "flat"),
        ({"id": "i1", "plan": plan({"id": "p"}, "nobody")}, "unknown-model: 'nobody'"),
        ({"id": "i1", "plan": plan({"id": "p"}) | {"arguments": {}}}, "missing: sampler, steps"),
        ({"id": "i1", "plan": plan({"id": "p"}), "text": TEXT}, "two-plans: plan and text"),
        ({"id": "i1", "plan": 7}, "no-plan"),
        ({"id": "i1"}, "no-plan"),
        ({"id": "other", "plan": plan({"id": "p"})}, "not-answered: none of the 5 answers has this row's id"),
        ({"id": 7, "plan": plan({"id": "p"})}, "not-answered"),
        ([1, 2], "not-answered"),
        (None, "not-answered"),
    ],
)
def test_what_is_wrong_with_one_answer_fails_one_row(answer: Any, reason: str, benchmark: Benchmark) -> None:
    with Server(lambda request: (200, {"answers": [answer, *answers(request)[1:]]})) as server:
        rows = told(asked(server, benchmark, 5))
    assert rows[0].startswith(reason)
    assert rows[1:] == IDS[1:]
    assert len(server.requests) == 1


def test_rows_out_of_order_find_their_place_and_rows_answered_twice_do_not(benchmark: Benchmark) -> None:
    def answer(request: dict[str, Any]) -> Sent:
        first, second, *rest = answers(request)
        other = first | {"plan": plan({"id": "something else"})}
        return 200, {"answers": [*reversed(rest), second, first, second, other, {"id": "stranger", "text": "x"}]}

    with Server(answer) as server:
        rows = told(asked(server, benchmark, 5))
    assert rows == ["answered-twice: 2 different answers to one row", *IDS[1:]]


def test_the_only_answer_to_the_only_input_needs_no_id(benchmark: Benchmark) -> None:
    with Server(lambda request: (200, {"answers": [{"text": TEXT}]})) as server:
        assert told(asked(server, benchmark, 1)) == ["a cat"] * 5


GIGABYTE = 1 << 30


def endless() -> Any:
    return itertools.repeat(b"x" * (1 << 20), GIGABYTE >> 20)


#: How a server may fail on the chat `i3`, and what the row then says.
POISON: list[tuple[Callable[[], Sent], str]] = [
    (lambda: (500, b"CUDA out of memory"), "not-answered: status 500: 'CUDA out of memory', 4 times"),
    (lambda: (422, {"detail": "no"}), 'not-answered: status 422: \'{"detail": "no"}\''),
    (lambda: None, "not-answered: RemoteProtocolError, 4 times"),
    (lambda: (200, b"<html>busy</html>"), "not-answered: not JSON but '<html>busy</html>'"),
    (lambda: (200, b""), "not-answered: not JSON but nothing"),
    (lambda: (200, [1]), "not-answered: a JSON list, not an object"),
    (lambda: (200, {"plans": []}), "not-answered: no list 'answers' in"),
    (lambda: (200, b"[" * 200_000), "not-answered: not JSON but"),
    (lambda: (200, endless()), "not-answered: too-long: more than 32 MB"),
]


@pytest.mark.parametrize(("sent", "reason"), POISON, ids=range(len(POISON)))
def test_the_row_at_which_a_server_breaks_is_found_and_the_others_stand(
    sent: Callable[[], Sent], reason: str, benchmark: Benchmark
) -> None:
    def answer(request: dict[str, Any]) -> Sent:
        if any(chat["id"] == "i3" for chat in request["inputs"]):
            return sent()
        return 200, {"answers": answers(request)}

    with Server(answer) as server:
        rows = asked(server, benchmark, 5)
    assert told(rows)[2].startswith(reason)
    assert [t for t in told(rows) if not t.startswith("not-answered")] == ["i1", "i2", "i4", "i5"]
    assert all(f.outcome is Outcome.SYSTEM_FAILED for _, f, _ in rows if isinstance(f, Failure))


def test_a_chat_at_which_it_hangs_costs_its_time_and_one_row(benchmark: Benchmark) -> None:
    def answer(request: dict[str, Any]) -> Sent:
        if any(chat["id"] == "i3" for chat in request["inputs"]):
            time.sleep(6)
        return 200, {"answers": answers(request)}

    with Server(answer) as server:
        rows = told(asked(server, benchmark, 5, timeout=3))
    assert rows == ["i1", "i2", "not-answered: no answer within 3 s", "i4", "i5"]


@pytest.mark.parametrize("sent", [(500, b"broken"), (200, b"<html>")])
def test_a_server_that_answers_nothing_stops_the_run_and_no_row_is_lost(sent: Sent, benchmark: Benchmark) -> None:
    alive = [True]

    def answer(request: dict[str, Any]) -> Sent:
        if request["inputs"][0]["id"] == "i3":
            alive[0] = False
        return (200, {"answers": answers(request)}) if alive[0] else sent

    rows: list[Row] = []
    with Server(answer) as server:
        system = resolve(server.url, benchmark, 0)
        found = ask(system, [item.input for item in benchmark.items], benchmark.catalog, 2)
        with pytest.raises(SystemGoneError, match=r"answered none of 3 chats in a row .* type the command again"):
            rows.extend(row for row in found)
        done(system)
    # the two rows of the batch in which it broke are told when the third is lost as well; here they were a batch
    assert told(rows)[:2] == ["i1", "i2"]
    assert len(rows) <= 4


BUSY = [(429, "0"), (503, "0"), (502, ""), (504, "x")]


@pytest.mark.parametrize(("status", "after"), BUSY)
def test_a_busy_server_is_asked_again(status: int, after: str, benchmark: Benchmark) -> None:
    tries: list[int] = []

    def answer(request: dict[str, Any]) -> Sent:
        tries.append(1)
        return (status, b"later") if len(tries) % 3 else (200, {"answers": answers(request)})

    with Server(answer) as server:
        server.more = {"Retry-After": after}
        assert told(asked(server, benchmark, 5)) == IDS
    with Server(lambda request: (status, b"later")) as server:
        server.more = {"Retry-After": after}
        with pytest.raises(InfraError, match="does not answer"):
            asked(server, benchmark, 5)
    assert len(server.requests) == http.ATTEMPTS


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (301, r"sends on to /plan \(status 301\): give the address itself"),
        (307, "sends on to"),
        (401, r"put its Authorization header in \$CHATGENBENCH_SYSTEM_AUTH"),
        (403, "refuses"),
        (404, "takes no POST"),
        (405, "takes no POST"),
    ],
)
def test_what_no_other_chat_would_change_stops_at_once(status: int, message: str, benchmark: Benchmark) -> None:
    with Server(lambda request: (status, b"")) as server:
        server.more = {"Location": "/plan"}  # a redirect to itself
        with pytest.raises(UserError, match=message):
            asked(server, benchmark)
    assert len(server.requests) == 1


def test_a_slash_at_the_end_of_an_address_is_the_servers_to_want(benchmark: Benchmark) -> None:
    with Server(lambda request: (200, {"answers": answers(request)} if "inputs" in request else {})) as server:
        system = resolve(server.url + "/", benchmark, 0)
        system.prepare(benchmark.catalog, ())
        list(system.plan([benchmark.items[0].input]))
        done(system)
    assert server.paths == ["/plan/"]


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ((200, b"<html>"), "is it the address of a system"),
        ((302, b""), "give the address itself"),
        ((200, {"revision": 7}), "GET says revision"),
        ((500, b"x"), "is it the address of a system"),
    ],
)
def test_an_address_that_is_no_system_is_told_before_anything_starts(
    info: Sent, message: str, benchmark: Benchmark
) -> None:
    with Server(lambda request: (200, {}), info) as server, pytest.raises(UserError, match=message):
        resolve(server.url, benchmark, 0)


def test_a_server_that_is_not_there_is_told(benchmark: Benchmark) -> None:
    with Server(lambda request: (200, {})) as server:
        url = server.url
    with pytest.raises(SystemGoneError, match=r"does not answer \(ConnectError\): start it, then type the command"):
        resolve(url, benchmark, 0)


@pytest.mark.parametrize(
    "address",
    [
        "http://",
        "https://user:secret@host/plan",
        "http://host/plan?key=secret",
        "http://host/#secret",
        "http:host",
        "http://host:99999/",
    ],
)
def test_addresses_that_hold_secrets_or_none_are_refused(address: str, benchmark: Benchmark) -> None:
    with pytest.raises(UserError, match="without name, password or query") as caught:
        resolve(address, benchmark, 0)
    assert "secret" not in str(caught.value)


def test_the_openapi_document_and_the_schemas_match_the_models() -> None:
    document = json.loads(schemas.OPENAPI.read_text("utf-8"))
    assert schemas.OPENAPI.read_text("utf-8") == schemas.openapi_text()
    assert document["openapi"].startswith("3.1")
    known = document["components"]["schemas"]
    for path in document["paths"].values():
        for operation in path.values():
            for part in (operation.get("requestBody", {}), operation["responses"]["200"]):
                for content in part.get("content", {}).values():
                    assert content["schema"]["$ref"].rpartition("/")[2] in known
    whole = {"$ref": "#/components/schemas/PlanResponse", "components": document["components"]}
    good = {"answers": answers({"inputs": [{"id": "a"}]})}
    jsonschema.Draft202012Validator.check_schema(whole)
    jsonschema.validate(good, whole)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"answers": [{"plan": {}}]}, whole)
