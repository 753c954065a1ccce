"""Every answer is read rightly or fails as the kind of trouble it is; nothing else, however strange it is."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgenbench.benchmark import Benchmark
from chatgenbench.schema import Arguments, Plan
from chatgenbench.systems.answers import KINDS, AnswerError, Reader
from tests.systems.answers.cases import GOOD, LAYOUT, RIGHT, WANTED, WRONG


@pytest.fixture(scope="module")
def reader(benchmark: Benchmark) -> Reader:
    return Reader(benchmark.catalog)


@pytest.mark.parametrize("answer", RIGHT, ids=range(len(RIGHT)))
def test_a_plan_is_read_however_it_is_written(answer: Any, reader: Reader) -> None:
    assert reader.read(answer) == WANTED


@pytest.mark.parametrize(("answer", "kind"), WRONG, ids=[f"{n}-{kind}" for n, (_, kind) in enumerate(WRONG)])
def test_an_answer_without_a_usable_plan_says_what_is_wrong(answer: Any, kind: str, reader: Reader) -> None:
    begun = time.monotonic()
    with pytest.raises(AnswerError) as caught:
        reader.read(answer)
    assert caught.value.kind == kind, str(caught.value)
    assert str(caught.value).startswith(f"{kind}: ")
    assert "\n" not in str(caught.value)
    str(caught.value).encode()
    assert time.monotonic() - begun < 20


def test_there_are_enough_cases_and_every_kind_is_among_them() -> None:
    assert len(RIGHT) + len(WRONG) >= 200
    assert set(Counter(kind for _, kind in WRONG)) == set(KINDS)


def test_an_unknown_model_gets_a_suggestion(reader: Reader) -> None:
    with pytest.raises(AnswerError, match=r"^unknown-model: 'inkSketch_v2': did you mean 'inkSketch_v1'"):
        reader.read(GOOD.replace("inkSketch_v1", "inkSketch_v2"))


def test_the_whole_of_a_plan_is_read(reader: Reader) -> None:
    text = (
        "a red fox, (snow:1.2)\nNegative prompt: blurry, text\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, "
        "CFG scale: 7.5, Seed: 42, Size: 512x768, Clip skip: 2, Model: inkSketch_v1"
    )
    plan = reader.read(text)
    assert (plan.prompt, plan.negative_prompt) == ("a red fox, (snow:1.2)", "blurry, text")
    assert plan.arguments == Arguments(
        sampler="DPM++ 2M Karras", steps=20, cfg_scale=7.5, width=512, height=768, seed=42, clip_skip=2
    )
    ranked = reader.read(json.loads(GOOD) | {"ranking": ["inkSketch", "nobody", "oilPaint_v2"]})
    assert ranked.ranking == ("inkSketch_v1", "nobody", "oilPaint_v2")


TEXTS = st.text(st.characters(codec=None), max_size=40)
PIECES = st.sampled_from([
    "{", "}", "[", "]", '"', "'", ":", ",", "：", "，", "“", "”", "\\", "\n", "```json", "Prompt:", "Model:",
    "prompt", "model", "inkSketch_v1", "Euler a", "20", "7,5", "steps", "//", "/*", "*/", "<think>", "</think>", "|",
    "Arguments:", "**", "I'm sorry", "null", "\x00", "\ud800", "#", "=", GOOD, LAYOUT,
])  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | PIECES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | st.sampled_from(["prompt", "model", "arguments", "steps", "size", "sampler"]), inner,
                          max_size=5)
    ),
    max_leaves=12,
)  # fmt: skip


def read(reader: Reader, answer: Any) -> Plan | AnswerError:
    try:
        found: Plan | AnswerError = reader.read(answer)
    except AnswerError as error:
        found = error
    assert isinstance(found, Plan) or found.kind in KINDS
    (found.model_dump_json() if isinstance(found, Plan) else str(found)).encode()
    return found


@settings(max_examples=250)
@given(answer=st.lists(PIECES | TEXTS, max_size=12).map("".join) | JSON)
def test_anything_is_a_plan_or_a_kind_of_trouble(answer: Any, reader: Reader) -> None:
    read(reader, answer)


@settings(max_examples=120)
@given(
    start=st.integers(0, len(GOOD)), length=st.integers(0, 30), put=TEXTS | PIECES,
    text=st.sampled_from([GOOD, LAYOUT, GOOD.replace('"', "'")]),
)  # fmt: skip
def test_a_damaged_plan_is_read_or_refused(start: int, length: int, put: str, text: str, reader: Reader) -> None:
    read(reader, text[:start] + put + text[start + length :])


PROMPTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs"]), min_size=1, max_size=60).filter(
    lambda text: text.strip() == text and "\ufffd" not in text  # which stands for what cannot be read
)
PLANS = st.builds(
    Plan,
    prompt=PROMPTS,
    negative_prompt=PROMPTS | st.just(""),
    model=st.sampled_from(["inkSketch_v1", "glossyToy_v3"]),
    arguments=st.builds(
        Arguments,
        sampler=st.sampled_from(["Euler", "Euler a", "DPM++ 2M SDE Karras", "DPM2 a", "UniPC"]),
        steps=st.integers(1, 500), cfg_scale=st.integers(0, 400).map(lambda n: n / 4), width=st.integers(8, 4096),
        height=st.integers(8, 4096), seed=st.none() | st.integers(0, 2**63 - 1),
    ),
)  # fmt: skip


@settings(max_examples=120)
@given(plan=PLANS, indent=st.none() | st.integers(0, 3), before=st.sampled_from(["", "Sure!\n", "```json\n"]))
def test_what_is_written_as_json_is_read_back(plan: Plan, indent: int | None, before: str, reader: Reader) -> None:
    assert reader.read(before + json.dumps(plan.model_dump(), indent=indent)) == plan
    assert reader.read(plan.model_dump()) == plan
    if "think>" not in plan.prompt + plan.negative_prompt:  # only JSON is surely a plan that speaks of thoughts
        assert reader.read(before + repr(plan.model_dump())) == plan


def test_thoughts_may_hold_objects(reader: Reader) -> None:
    other = json.dumps(json.loads(GOOD) | {"prompt": "a dog"})
    events = f'{{"event": "<think>"}}\n{other}\n{{"event": "</think>"}}\n{GOOD}'
    assert reader.read(events) == reader.read(GOOD)


@pytest.mark.parametrize("prompt", ["<think>", "a sign that says </think>", "<think>a</think>b"])
@pytest.mark.parametrize("before", ["", "<think>{hm, {'prompt': 1}</think>", "so, a { perhaps</think>\n```json\n"])
def test_a_prompt_may_speak_of_thoughts(prompt: str, before: str, reader: Reader) -> None:
    said = json.loads(GOOD) | {"prompt": prompt}
    assert reader.read(before + json.dumps(said)).prompt == prompt
