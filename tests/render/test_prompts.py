"""A1111's prompt syntax, chunks, and what a request and its row say of them."""

from __future__ import annotations

import re
import string
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.render import lease_requests, request_for
from chatgenbench.render.clip_tokens import count_chunks, tokenize
from chatgenbench.render.prompts import BACKTRACK, CHUNK, MOST, ROUND, chunks, edits, is_plain, parse, stresses
from chatgenbench.render.singlefile import clip_tokenizer
from tests.render.conftest import PlanOf

COMMA = 267
WORDS = st.text(alphabet=string.ascii_letters + " ,:.()[]\\äß3", max_size=60).filter(lambda text: "BREAK" not in text)


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("", []),
        ("a red fox", [("a red fox", 1.0)]),
        ("a (red) fox", [("a ", 1.0), ("red", 1.1), (" fox", 1.0)]),
        ("((red))", [("red", 1.21)]),
        ("(red:1.3) fox", [("red", 1.3), (" fox", 1.0)]),
        ("(red : 0.5 )", [("red ", 0.5)]),
        ("[red]", [("red", 1 / 1.1)]),
        ("(a (b:1.5))", [("a ", 1.1), ("b", 1.65)]),
        (r"fox \(animal\)", [("fox (animal)", 1.0)]),
        (r"blue\_archive \\ a\[0\]", [("blue_archive \\ a[0]", 1.0)]),
        ("(never closed", [("never closed", 1.1)]),
        ("never opened) fox]", [("never opened) fox]", 1.0)]),
        ("time 12:30) fox", [("time 12:30) fox", 1.0)]),
        ("(12:30 fox)", [("12:30 fox", 1.1)]),
        ("()", []),
    ],
)
def test_weights(prompt: str, pieces: list[tuple[str, float]]) -> None:
    (found,) = parse(prompt)
    assert [text for text, _ in found] == [text for text, _ in pieces]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in pieces])


def test_break_starts_a_part_wherever_it_stands() -> None:
    assert parse("a fox BREAK (snow BREAK night:2)") == [[("a fox", 1.0)], [("snow", 2.0)], [("night", 2.0)]]
    assert parse("BREAKFAST") == [[("BREAKFAST", 1.0)]]


@given(WORDS)
@settings(max_examples=60, deadline=None)
def test_escaped_text_is_read_back_as_it_was(text: str) -> None:
    escaped = re.sub(r"([()\[\]\\])", r"\\\1", text)
    assert parse(escaped) == ([[(text, 1.0)]] if text else [[]])


@given(WORDS)
@settings(max_examples=60, deadline=None)
def test_brackets_take_and_add_nothing_but_themselves(text: str) -> None:
    read = "".join(piece for piece, _ in parse(text)[0])
    letters = str.maketrans("", "", "()[]\\:. 0123456789")
    assert read.translate(letters) == text.translate(letters)
    assert all(weight > 0 for _, weight in parse(text.replace(":", ""))[0])
    assert is_plain(read) or set(read) & set("()[]\\")


@given(st.lists(st.sampled_from([COMMA, 5, 6]), max_size=300), st.booleans())
@settings(max_examples=60, deadline=None)
def test_chunks_hold_every_token_in_order_and_end_at_commas_that_are_near(tokens: list[int], weighed: bool) -> None:
    prompt = "(x:1.5)" if weighed else "x"
    found = chunks(prompt, lambda text: tokens, COMMA)
    assert [token for chunk in found for token in chunk.tokens] == tokens
    assert all(len(chunk.tokens) == len(chunk.weights) <= CHUNK for chunk in found)
    assert {weight for chunk in found for weight in chunk.weights} <= {1.5 if weighed else 1.0}
    for chunk in found[:-1]:
        assert chunk.tokens[-1] == COMMA or COMMA not in chunk.tokens[-BACKTRACK:]
        assert len(chunk.tokens) > CHUNK - BACKTRACK


@given(st.text(max_size=80))
@settings(max_examples=80, deadline=None)
def test_tokens_are_counted_as_clip_reads_them(text: str) -> None:
    assert tokenize(text) == TOKENIZER(text, add_special_tokens=False).input_ids


TOKENIZER = clip_tokenizer()


@pytest.mark.parametrize(
    ("prompt", "count"),
    [("", 1), ("fox " * 75, 1), ("fox " * 76, 2), ("a BREAK b BREAK c", 3), ("fox " * 10_000, MOST + 1)],
)
def test_chunks_are_counted(prompt: str, count: int) -> None:
    assert count_chunks(prompt) == count


def test_only_requests_that_are_drawn_otherwise_get_another_name(benchmark: Benchmark, plan: PlanOf) -> None:
    def engine(prompt: str, negative: str = "") -> str:
        return request_for(plan(prompt=prompt, negative_prompt=negative), benchmark, 0, "e")[0].engine

    assert engine("a fox, 8k", "bad") == engine("fox " * 75) == engine("a ) fox") == "e"
    assert engine("a (fox)") == engine("a fox", "[bad]") == engine(r"fox \(animal\)") == "e prompts/1x1"
    assert engine("fox " * 76) == engine("fox", "bad " * 80) == "e prompts/1x2"
    mixed = [request_for(plan(prompt=p), benchmark, 0, "e")[0] for p in ("fox", "(fox)", "owl", "fox " * 80)]
    assert sorted(len(lease.requests) for lease in lease_requests(mixed)) == [1, 1, 2]


@pytest.mark.parametrize(
    ("base_model", "prompt", "note"),
    [
        ("SD 1.5", "a (fox:1.2)", None),
        ("Pony", "[cat:dog:0.5]", "prompt editing read as weights"),
        ("SDXL 1.0", "fox " * 700, "prompt cut to 600 tokens"),
        ("SD 3.5 Medium", "a (fox:1.2)", "prompt weights read as text"),
        ("Flux.1 D", "a fox (the animal)", None),
    ],
)
def test_rows_say_what_was_not_honoured(
    base_model: str, prompt: str, note: str | None, benchmark: Benchmark, plan: PlanOf
) -> None:
    records = [record.model_copy(update={"base_model": base_model}) for record in benchmark.catalog]
    there = replace(benchmark, catalog=type(benchmark.catalog)(records))
    told = request_for(plan("fox", prompt, sampler="Euler", width=64, height=64), there, 0, "e")[1]
    assert told == note


def test_a_model_of_no_family_says_what_it_did_not_read() -> None:
    miniature = load_benchmark("miniature")
    given = miniature.gold(miniature.items[0]).plan
    long = given.model_copy(update={"prompt": "a fox " * 40})
    assert request_for(long, miniature, 0, "e")[1] == "prompt cut to 48 tokens"
    assert request_for(long, miniature, 0, "e")[0].engine == "e"
    assert request_for(given, miniature, 0, "e")[1] is None


def test_no_prompt_takes_long_to_read() -> None:
    most = 20_000
    hostile = ["(a" * most, "[:" + ":" * most, "(a:" + "1" * most, " " * most, "(a:1" + " " * most, "[a|" * most]
    started = time.monotonic()
    for prompt in hostile:
        cut = prompt[:most]
        assert parse(cut)
        assert edits(cut) == (cut.count("]") > 0)
        assert stresses(cut) is False
    assert time.monotonic() - started < 15  # half a minute each where an expression tries every way to read them


def test_numbers_that_are_none_are_text_and_endless_ones_are_endless() -> None:
    assert parse("(x:1e99)") == [[("x:1e99", ROUND)]]
    assert parse(f"(x:{'9' * 400}) y") == [[("x", float("inf")), (" y", 1.0)]]
