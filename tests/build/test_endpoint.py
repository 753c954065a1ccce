"""Endpoints that refuse, count badly or send anything at all: a failed attempt or one line, never a traceback."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatgenbench.build import language
from chatgenbench.build.play import gates, script
from chatgenbench.build.play.cast import Assignment, personas, styles
from chatgenbench.build.play.gates import Gates
from chatgenbench.build.play.run import Accepted, Play, play
from chatgenbench.build.records import Drop
from chatgenbench.errors import InfraError, UserError
from chatgenbench.remote import completion, local
from chatgenbench.remote.endpoint import Endpoint, Model, Reply, tokens_of
from chatgenbench.schema import digest_of
from tests.build.actor import Actor
from tests.build.test_play import MODEL, PROMPT, record

ASKED = [{"role": "user", "content": "hello " * 20}]
KEYS = ("CHATGENBENCH_LLM_KEY", "OPENAI_API_KEY")
#: The bodies by which OpenAI, its picture models and Azure say that a filter refused the prompt.
FILTERED = (
    {"error": {"message": "flagged", "type": "invalid_request_error", "code": "content_policy_violation"}},
    {"error": {"message": "flagged", "type": "content_filter", "code": None}},
    {"error": {"message": "flagged", "code": "content_filter", "status": 400,
               "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
)  # fmt: skip
Sent = tuple[int, Any]


class Server(Actor):
    """Sends what `answer` makes of a request's body: a status and a body (JSON, bytes), or None to play along."""

    def __init__(self, answer: Callable[[dict[str, Any]], Sent | None]) -> None:
        super().__init__()
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    def reply(self, data: bytes, key: str | None) -> tuple[int, bytes, dict[str, str]]:
        body = json.loads(data)
        self.requests.append(body)
        self.keys.append(key)
        sent = self.answer(body)
        if sent is None:
            return super().reply(data, key)
        return sent[0], sent[1] if isinstance(sent[1], bytes) else json.dumps(sent[1]).encode(), {}


def says(content: Any, **other: Any) -> dict[str, Any]:
    """A chat completion."""
    usage = {"prompt_tokens": 20, "completion_tokens": 4}
    message = {"role": "assistant", "content": content, "refusal": other.pop("refusal", None)}
    choice = {"message": message, "finish_reason": other.pop("finish_reason", "stop")}
    return {"id": "1", "model": "m", "choices": [choice], "usage": usage, **other}


def ask(server: Server, journal: Path, schema: Any = None, count: int = 1, **options: Any) -> list[Reply]:
    async def whole() -> list[Reply]:
        options.setdefault("attempts", 2)
        async with Model(Endpoint(server.base_url, "actor", patience=0.0, **options), journal) as model:
            return [await model.ask(ASKED, seed, schema) for seed in range(count)]

    return asyncio.run(whole())


def chats(server: Server, journal: Path, kind: str = "single", gate: Gates | None = None) -> list[Accepted | Drop]:
    task = Assignment("r1-1", record(1), personas()[0], styles()[0], kind)  # type: ignore[arg-type]

    async def whole() -> list[Accepted | Drop]:
        async with Model(Endpoint(server.base_url, "actor", patience=0.0, attempts=2), journal) as model:
            settings = Play(gates=gate or Gates())
            return [found async for found in play([task], {"m": MODEL}, model, settings, lambda *_: None)]

    return asyncio.run(whole())


@pytest.mark.parametrize(
    ("own", "openai", "sent"), [("a", "b", "Bearer a"), ("a\n", None, "Bearer a"), (None, "b", None), ("", "b", None)]
)
def test_the_key_of_openai_goes_nowhere_else(
    own: str | None, openai: str | None, sent: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(KEYS, (own, openai), strict=True):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with Server(lambda body: (200, says("hi"))) as server:
        ask(server, tmp_path / "journal.jsonl")
    assert server.keys == [sent]


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("https://api.openai.com/v1", True),
        ("https://API.OpenAI.com/v1/", True),
        ("http://api.openai.com/v1", False),
        ("https://api.openai.com.example.org/v1", False),
        ("https://api.openai.com@example.org/v1", False),
        ("https://example.org/api.openai.com", False),
        ("https://openrouter.ai/api/v1", False),
    ],
)
def test_the_key_of_openai_is_for_https_and_its_host(
    address: str, sent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHATGENBENCH_LLM_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "secret")

    async def headers() -> dict[str, str]:
        async with Model(Endpoint(address, "m"), tmp_path / "journal.jsonl") as model:
            return dict(model._http.headers)

    assert ("authorization" in asyncio.run(headers())) is sent


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_told_with_the_rule(status: int, tmp_path: Path) -> None:
    with Server(lambda body: (status, {})) as server, pytest.raises(UserError, match="only to https://api"):
        ask(server, tmp_path / "journal.jsonl")


def test_where_an_endpoint_sends_on_to_and_why_it_is_busy_are_told(tmp_path: Path) -> None:
    with (
        Server(lambda body: (308, {})) as server,
        pytest.raises(UserError, match=r"sends on to nowhere \(status 308\)"),
    ):
        ask(server, tmp_path / "a")
    quota = {"error": {"message": "You exceeded your current quota"}}
    with Server(lambda body: (429, quota)) as server, pytest.raises(InfraError, match="status 429: You exceeded your"):
        ask(server, tmp_path / "b")


@pytest.mark.parametrize("address", ["", "file:///tmp", "http://a:x/v1", "example.org/v1"])
def test_an_address_that_is_none_is_told(address: str, tmp_path: Path) -> None:
    async def whole() -> None:
        async with Model(Endpoint(address, "m"), tmp_path / "journal.jsonl") as model:
            await model.ask(ASKED, 0, None)

    with pytest.raises(UserError, match="check --llm-base-url"):
        asyncio.run(whole())


USAGES: list[Any] = [
    None, {}, [1], "many", {"prompt_tokens": True, "completion_tokens": False}, {"prompt_tokens": -5000},
    {"prompt_tokens": -1, "completion_tokens": -(10**6)}, {"prompt_tokens": 0, "completion_tokens": 0},
    {"prompt_tokens": "20", "completion_tokens": 4.5}, {"prompt_tokens": 10**400},
]  # fmt: skip


@pytest.mark.parametrize("usage", USAGES)
def test_a_budget_holds_whatever_the_endpoint_counts(usage: Any, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    each = tokens_of(ASKED) + 100  # the answer has 400 characters
    prices = {"price_in": 1e6, "price_out": 1e6, "max_tokens": 100}
    with Server(lambda body: (200, says("x" * 400, usage=usage))) as server:
        for _ in range(2):  # what is in the journal counts as well
            with pytest.raises(UserError, match="the budget is spent"):
                ask(server, journal, count=9, budget=3.5 * each, **prices)
        assert len(server.requests) == 3


def test_what_is_counted_is_kept_and_the_rest_is_estimated(tmp_path: Path) -> None:
    async def spent(server: Server) -> float:
        endpoint = Endpoint(server.base_url, "actor", price_in=1e6, price_out=1e6)
        async with Model(endpoint, tmp_path / "journal.jsonl") as model:
            await model.ask(ASKED, 0, None)
            return model.spent

    with Server(lambda body: (200, says("x" * 400, usage={"prompt_tokens": 7}))) as server:
        assert asyncio.run(spent(server)) == asyncio.run(spent(server)) == 107
        assert len(server.requests) == 1


def test_a_chat_with_a_word_of_the_blocklist_is_rejected(tmp_path: Path) -> None:
    gate = Gates(facts="words", blocklist=("neon sign", "zeppelin"))
    said = "there's this fox, it's pouring, and a N-E-O-N_sign lights up the wet road"
    assert gates.content(said, PROMPT, MODEL, Gates()) is None
    assert gates.content(said.replace("N-E-O-N", "neon"), PROMPT, MODEL, gate) == "blocklist"
    assert json.loads(json.dumps(asdict(Play(gates=gate))))["gates"]["blocklist"] == ["neon sign", "zeppelin"]
    with Server(lambda body: (200, says(json.dumps({"messages": [said.replace("N-E-O-N", "neon")]})))) as server:
        assert chats(server, tmp_path / "journal.jsonl", gate=gate) == [Drop("r1-1", "blocklist")]
    assert "it holds a word of the blocklist" in json.dumps(server.requests[-1])


REFUSALS: list[Sent] = [
    (200, says(None, refusal="I'm sorry, no")),
    (200, says(None, finish_reason="content_filter")),
    (200, says('{"messages": ["a fox in', finish_reason="content_filter")),
    *((400, body) for body in FILTERED),
]


@pytest.mark.parametrize("sent", REFUSALS)
def test_a_refused_prompt_costs_one_chat_and_is_never_asked_again(sent: Sent, tmp_path: Path) -> None:
    with Server(lambda body: sent) as server:
        for _ in range(2):
            assert chats(server, tmp_path / "journal.jsonl") == [Drop("r1-1", "refusal")]
    assert len(server.requests) == 3
    assert len({body["seed"] for body in server.requests}) == 3
    assert all("response_format" in body for body in server.requests)


def test_the_next_attempt_may_succeed_and_other_chats_go_on(tmp_path: Path) -> None:
    tries: list[int] = []

    def answer(body: dict[str, Any]) -> Sent | None:
        tries.append(1)
        return (400, FILTERED[0]) if len(tries) == 1 else None

    with Server(answer) as server:
        (chat,) = chats(server, tmp_path / "journal.jsonl")
    assert isinstance(chat, Accepted)
    assert chat.attempts == 2


def test_a_model_that_will_not_read_a_chat_refuses_it(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Sent | None:
        return (400, FILTERED[2]) if "In one sentence" in json.dumps(body) else None

    with Server(answer) as server:
        assert chats(server, tmp_path / "journal.jsonl") == [Drop("r1-1", "refusal")]


def test_schemas_are_given_up_only_when_the_same_request_succeeds_without(tmp_path: Path) -> None:
    schema = script.schema("single")
    why = {"error": {"message": "unknown field"}}
    with Server(lambda body: (400, why) if "response_format" in body else (200, says("hi"))) as server:
        assert [reply.text for reply in ask(server, tmp_path / "a", schema, count=3)] == ["hi"] * 3
    assert ["response_format" in body for body in server.requests] == [True, False, False, False]

    def too_long(body: dict[str, Any]) -> Sent:
        if body["seed"] == 0:
            return 400, FILTERED[0]
        return (400, {"error": "context is too long"}) if body["seed"] == 2 else (200, says("hi"))

    with Server(too_long) as server:
        replies = ask(server, tmp_path / "b", schema, count=4)
        assert [(reply.refused, reply.unfit) for reply in replies] == [(True, False), (False, False), (False, True),
                                                                       (False, False)]  # fmt: skip
    assert ["response_format" in body for body in server.requests] == [True, True, True, False, True]
    kept = [json.loads(line) for line in (tmp_path / "b").read_text("utf-8").splitlines()]
    assert kept[2]["unfit"] == "context is too long"


def test_a_request_that_is_too_long_costs_that_chat_only(tmp_path: Path) -> None:
    """But where nothing is accepted, not even a plain request, that ends the run."""
    with Server(lambda body: (400, {"error": "too long"}) if len(str(body)) > 500 else None) as server:
        assert chats(server, tmp_path / "a") == [Drop("r1-1", "unfit")]
        assert len(server.requests) == 3, "with a schema, without one, and a plain one"
        assert chats(server, tmp_path / "a") == [Drop("r1-1", "unfit")]
        assert len(server.requests) == 3
    with (
        Server(lambda body: (422, {"error": "no such field: seed"})) as server,
        pytest.raises(UserError, match=r"status 422\): no such field: seed"),
    ):
        chats(server, tmp_path / "b")


def several(server: Server, journal: Path, skip: bool, count: int = 6) -> list[Accepted | Drop]:
    tasks = [Assignment(f"r{n}-1", record(n), personas()[0], styles()[0], "single") for n in range(count)]
    endpoint = Endpoint(server.base_url, "actor", patience=0.0, attempts=2, concurrency=1)

    async def whole() -> list[Accepted | Drop]:
        async with Model(endpoint, journal) as model:
            settings = Play(gates=Gates(facts="off"))
            return [found async for found in play(tasks, {"m": MODEL}, model, settings, lambda *_: None, skip)]

    return asyncio.run(whole())


def test_chats_that_are_never_answered_can_be_given_up(tmp_path: Path) -> None:
    bad = {digest_of([0, f"r{n}-1", 1])[:8] for n in (1, 4)}
    seeds = {int(part, 16) % 2**31 for part in bad}
    with Server(lambda body: (500, {}) if body["seed"] in seeds else None) as server:
        with pytest.raises(InfraError, match="or add --skip-unanswered to go on without that chat"):
            several(server, tmp_path / "a", skip=False)
        found = several(server, tmp_path / "a", skip=True)
    assert [chat.id for chat in found if isinstance(chat, Drop)] == ["r1-1", "r4-1"]
    assert {chat.reason for chat in found if isinstance(chat, Drop)} == {"unanswered"}


@pytest.mark.parametrize("count", [1, 6])
def test_a_model_that_is_down_is_not_skipped(count: int, tmp_path: Path) -> None:
    with Server(lambda body: (500, {})) as server, pytest.raises(InfraError, match=r"again to go on$"):
        several(server, tmp_path / "b", skip=True, count=count)


def test_a_filter_may_refuse_what_is_asked_again_without_a_schema(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Sent:
        return (400, {}) if "response_format" in body else (400, FILTERED[0])

    with Server(answer) as server:
        assert [reply.refused for reply in ask(server, tmp_path / "a", script.schema("single"))] == [True]


SURROGATE = json.dumps({"messages": ["a fox \ud800 in the rain"]})
DEEP = b"[" * 100_000
ODD: list[tuple[Sent, str]] = [
    ((200, says("a \ud800 fox")), "not-json"),
    ((200, says("[" * 10_000)), "not-json"),
    ((200, says("[" * 100_000)), "length"),
    ((200, says("")), "not-json"),
    ((200, says(None, finish_reason="length")), "not-json"),
    ((200, says(json.dumps({"messages": ["fox " + "a" * 25_000]}))), "length"),
    ((200, says(json.dumps({"messages": ["fox :" + "1" * 19_000]}))), "length"),
    ((200, says(json.dumps({"messages": ["fox"] * 3_000}))), "length"),
    ((200, says(json.dumps({"messages": ["a fox", {"b": 1}]}))), "not-json"),
]


@pytest.mark.parametrize(("sent", "reason"), ODD)
def test_odd_answers_are_rejected(sent: Sent, reason: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    with Server(lambda body: sent) as server:
        for _ in range(2):
            assert chats(server, tmp_path / "journal.jsonl") == [Drop("r1-1", reason)]
    assert len(server.requests) == 3
    assert time.monotonic() - begun < 10


GOOD = "there's this fox, it's pouring, and a neon sign lights up the wet street"
USABLE: list[dict[str, Any]] = [
    says(json.dumps({"messages": [GOOD + " \ud800"]})),
    says(json.dumps({"messages": [GOOD + " \ud800"]}, ensure_ascii=False)),
    says([{"type": "text", "text": '{"messages": '}, 7, {"type": "text", "text": json.dumps([GOOD]) + "}"}]),
    says(json.dumps({"messages": [GOOD]}), id={"a": 1}, model=["m"]),
    says(json.dumps({"messages": [GOOD]}), id="\ud800", model="a/\udfff"),
    says(json.dumps({"messages": [GOOD]}), id=7, model="x" * 10**6, usage=[1]),
]


@pytest.mark.parametrize("body", USABLE)
def test_odd_answers_that_hold_a_chat_are_read(body: dict[str, Any], tmp_path: Path) -> None:
    with Server(lambda asked: (200, body)) as server:
        (chat,) = chats(server, tmp_path / "journal.jsonl", gate=Gates(facts="words"))
        again = chats(server, tmp_path / "journal.jsonl", gate=Gates(facts="words"))
    assert isinstance(chat, Accepted)
    assert chat.input.text.removesuffix(" \ufffd") == GOOD
    chat.model_dump_json().encode()
    assert again == [chat]


NONE: list[Any] = [
    {"choices": []}, {"choices": {"0": 1}}, {"choices": [[]]}, {"choices": [{"message": "hi"}]}, [], 7, None, b"",
    b"\xff\xfe\xfd", DEEP, b'{"a":' * 100_000, b"9" * 10_000, says({"text": "hi"}, finish_reason=None),
    b'{"choices": [{"message": {"content": "' + b"x" * 50_000_000 + b'"}}]}',
]  # fmt: skip


@pytest.mark.parametrize("body", NONE, ids=range(len(NONE)))
def test_bodies_that_are_no_completion_are_asked_for_again(body: Any, tmp_path: Path) -> None:
    with Server(lambda asked: (200, body)) as server, pytest.raises(InfraError, match="no chat completion"):
        ask(server, tmp_path / "journal.jsonl")
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", [DEEP, b"\xff", b"", {"error": {"message": ["\ud800"]}}, {"message": "\ud800"}, [1]])
def test_odd_refusals_are_one_line(body: Any, tmp_path: Path) -> None:
    with Server(lambda asked: (400, body)) as server, pytest.raises(UserError, match="status 400") as told:
        ask(server, tmp_path / "journal.jsonl", script.schema("single"))
    assert "\n" not in str(told.value)
    str(told.value).encode()


def test_an_answer_that_never_ends_is_given_up(tmp_path: Path) -> None:
    class Slow(Server):
        def reply(self, data: bytes, key: str | None) -> tuple[int, bytes, dict[str, str]]:
            self.requests.append({})
            return 200, b"{", {"Content-Length": "100"}

    with Slow(lambda body: None) as server, pytest.raises(InfraError, match="did not answer"):
        ask(server, tmp_path / "journal.jsonl", timeout=0.2)
    assert len(server.requests) == 2


TEXTS = st.text(st.characters(codec=None), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8,
)  # fmt: skip


def nearly(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects that have the right fields, some of them, with any values among the right ones; or something else."""
    return JSON | st.fixed_dictionaries({}, optional={name: JSON | value for name, value in fields.items()})


PART = nearly(text=TEXTS)
MESSAGE = nearly(content=TEXTS | st.lists(PART, max_size=3), refusal=TEXTS)
CHOICE = nearly(message=MESSAGE, finish_reason=st.sampled_from(["stop", "length", "content_filter"]))
COUNTS = nearly(prompt_tokens=st.integers(), completion_tokens=st.integers())
CODES = nearly(code=st.sampled_from(["content_filter"]), type=TEXTS, message=TEXTS)
BODY = nearly(choices=st.lists(CHOICE, max_size=2), usage=COUNTS, id=TEXTS, model=TEXTS, error=CODES)


def test_whatever_is_sent_there_is_a_reply_or_one_line(tmp_path: Path) -> None:
    sent: list[Any] = [0, None]
    seeds = iter(range(10**6))
    with asyncio.Runner() as runner, Server(lambda body: (sent[0], sent[1])) as server:
        endpoint = Endpoint(server.base_url, "actor", patience=0.0, attempts=1, price_in=1.0, price_out=1.0)
        model = runner.run(_entered(endpoint, tmp_path / "journal.jsonl"))

        @settings(max_examples=80, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from([200, 200, 200, 400, 500]), BODY)
        def whatever(status: int, body: Any) -> None:
            sent[:] = status, body
            try:
                reply = runner.run(model.ask(ASKED, next(seeds), None))
            except (UserError, InfraError) as error:
                str(error).encode()
                return
            assert isinstance(reply, Reply)
            turns = script.read(reply.text, "single", True)
            gates.form(turns, (1, 1), Gates())
            "".join((reply.text, reply.response_id, reply.model, *(turns or []))).encode()

        try:
            whatever()
        finally:
            runner.run(model.__aexit__(None, None, None))


async def _entered(endpoint: Endpoint, journal: Path) -> Model:
    return await Model(endpoint, journal).__aenter__()


def test_the_keys_of_kept_answers_do_not_change(tmp_path: Path) -> None:
    with Server(lambda body: (200, says("hi"))) as server:
        (reply,) = ask(server, tmp_path / "journal.jsonl", script.schema("single"))
    assert reply.key == digest_of({
        "model": "actor", "messages": ASKED, "seed": 0, "temperature": 0.9, "max_tokens": 400,
        "schema": script.schema("single"),
    })  # fmt: skip
    line = json.loads((tmp_path / "journal.jsonl").read_text("utf-8"))
    assert set(line) == {"id", "request", "text", "response_id", "model", "usage"}


@pytest.mark.parametrize("text", ["a" * 200_000, "a@" * 100_000, ":" + "1" * 200_000, ":1" + " " * 200_000 + "a"])
def test_the_language_of_long_words_is_told_in_time(text: str) -> None:
    language.of("a text that loads what has to be loaded")
    begun = time.monotonic()
    language.of(text)
    assert time.monotonic() - begun < 5


def test_addresses_weights_and_codes_are_no_language() -> None:
    assert language._bare("see https://a.b/c?d (fox:1.2) (cat:.5) me@home.org [x:-1] v2 end") == "see fox cat x end"


def test_a_body_is_read_up_to_a_bound() -> None:
    body = json.dumps(says("x" * 100)).encode()
    assert completion.read(body + b" " * (completion.MAX_BODY - len(body))) is not None
    assert completion.read(body + b" " * completion.MAX_BODY) is None


def test_the_local_model_answers_the_same_whatever_it_was_asked_before(tmp_path: Path) -> None:
    tasks = [Assignment(f"r{i}", record(i), personas()[i], styles()[0], "single") for i in range(2)]

    async def asked(address: str, order: list[Assignment], journal: Path) -> dict[str, str]:
        endpoint = Endpoint(address, local.MODEL, concurrency=2, max_tokens=20, temperature=0.5, structured=False)
        async with Model(endpoint, journal) as model:
            replies = await asyncio.gather(*(model.ask(script.request(task, None, False), 7, None) for task in order))
        return {task.id: reply.text for task, reply in zip(order, replies, strict=True)}

    with local.server() as address:
        first = asyncio.run(asked(address, tasks, tmp_path / "a"))
        again = asyncio.run(asked(address, tasks[::-1], tmp_path / "b"))
    assert again == first
    assert all(first.values())
