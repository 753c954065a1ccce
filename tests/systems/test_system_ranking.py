"""Search evidence, its fusion, and its tuning on the training split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgenbench.systems.ranking.corpus import Corpus
from chatgenbench.systems.ranking.evidence import Evidence, fuse
from chatgenbench.systems.ranking.text import Lexical
from chatgenbench.systems.ranking.tune import Question, _simplex, reciprocal_rank, tune

CORPUS = Corpus(
    models=("ink", "oil", "toy"),
    cards=("black pen lines", "thick paint on canvas", "shiny plastic"),
    demonstrations=("d1", "d2", "d3", "d4"),
    prompts=("a cat in ink", "a cat of plastic", "a dog of plastic", "a dog in oil"),
    owners=(0, 2, 2, 1),
)


def test_bm25_counts_rare_words_and_knows_no_others() -> None:
    scores = Lexical(["red fox fox", "red hen", "blue hen"]).scores(["fox", "red", "the of", "zebra", ""])
    assert scores.shape == (5, 3)
    assert scores[0, 0] > 0 == scores[0, 1] == scores[0, 2]
    assert scores[1, 0] > 0 < scores[1, 1]
    assert not scores[2:].any()


def test_documents_without_words_can_be_searched() -> None:
    assert not Lexical(["", "the", "…"]).scores(["anything"]).any()


def test_bm25_is_lucenes_formula() -> None:
    documents = ["red fox jumps", "red hen sleeps long", "green fox"]
    found = Lexical(documents).scores(["fox"])[0]
    lengths = np.array([3, 4, 2])
    idf = np.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    expected = [idf / (1 + 1.5 * (1 - 0.75 + 0.75 * n / lengths.mean())) if n != 4 else 0.0 for n in lengths]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_hidden_demonstration_does_not_speak() -> None:
    evidence = Evidence(CORPUS, ("bm25-demos",))
    heard = evidence.of_models(evidence.raw(["a cat in ink"]))["bm25-demos"]
    assert heard[0].argmax() == 0
    hidden = evidence.of_models(evidence.raw(["a cat in ink"], [0]))["bm25-demos"]
    assert hidden[0].argmax() == 2
    assert hidden[0, 0] == hidden[0].min()


def test_neighbours_vote_by_their_nearness() -> None:
    evidence = Evidence(CORPUS, ("knn",))
    near = np.array([[0.9, 0.5, 0.5, 0.1], [0.2, -0.5, -0.9, 0.1]], np.float32)
    three = evidence.of_models({"dense-demos": near}, 3)["knn"]
    np.testing.assert_allclose(three, [[0.9, 0, 1.0], [0.2, 0.1, 0]], rtol=1e-6)
    np.testing.assert_allclose(evidence.of_models({"dense-demos": near}, 1)["knn"], [[0.9, 0, 0], [0.2, 0, 0]])
    assert evidence.of_models({"dense-demos": near}, 99)["knn"].shape == (2, 3)


def test_fusion_is_scale_free_and_a_constant_score_says_nothing() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 4)).astype(np.float32), rng.normal(size=(5, 4)).astype(np.float32)
    mixed = fuse({"a": a, "b": b}, {"a": 0.5, "b": 0.5})
    np.testing.assert_allclose(fuse({"a": 7 * a + 3, "b": b}, {"a": 0.5, "b": 0.5}), mixed, atol=1e-5)
    flat = fuse({"a": a, "b": np.ones_like(b)}, {"a": 0.5, "b": 0.5})
    assert (flat.argsort() == a.argsort()).all()


@given(st.integers(1, 5))
def test_weights_are_all_shares_of_one(parts: int) -> None:
    found = list(_simplex(parts))
    assert len(found) == len(set(found))
    assert all(len(weights) == parts and sum(weights) == pytest.approx(1) for weights in found)
    assert tuple(1.0 if at == 0 else 0.0 for at in range(parts)) in found


def test_ties_count_as_the_worst_place() -> None:
    scores = np.array([[1, 1, 0], [3, 2, 1]], np.float32)
    assert reciprocal_rank(scores, np.array([0, 0])) == pytest.approx((1 / 2 + 1) / 2)


def test_tuning_prefers_the_evidence_that_is_right() -> None:
    evidence = Evidence(CORPUS, ("bm25-cards", "bm25-demos"))
    questions = [Question("pen lines", 0, None), Question("paint canvas", 1, None), Question("shiny", 2, None)]
    found = tune(evidence, questions)
    assert found.weights["bm25-cards"] > 0
    assert found.reciprocal_rank == 1.0
    assert tune(evidence, []).weights == {"bm25-cards": 0.5, "bm25-demos": 0.5}
