"""The stage at fault: one case for each clause of the rule."""

from __future__ import annotations

from typing import Any

import pytest

from chatgenbench.compare.fault import MARGIN, at_fault, blame, of_metric, sentence

GOOD = {"selection_top1": 1.0, "bertscore": 0.9, "arguments_mean": 0.8}


@pytest.mark.parametrize(
    ("changed", "stages"),
    [
        ({}, ("rendering",)),
        ({"selection_top1": 0.0}, ("model",)),
        ({"bertscore": 0.9 - MARGIN - 0.001}, ("prompt",)),
        ({"bertscore": 0.9 - MARGIN / 2}, ("rendering",)),
        ({"arguments_mean": 0.6}, ("arguments",)),
        ({"selection_top1": 0.0, "bertscore": 0.1, "arguments_mean": 0.0}, ("model", "prompt", "arguments")),
    ],
)
def test_each_clause(changed: dict[str, float], stages: tuple[str, ...]) -> None:
    assert at_fault({**GOOD, **changed}, GOOD) == stages


def test_a_stage_both_have_wrong_is_not_at_fault() -> None:
    both = {"selection_top1": 0.0, "bertscore": 0.2, "arguments_mean": 0.0}
    assert at_fault(both, both) == ("rendering",)
    assert at_fault(GOOD, both, same_model=False) == ("rendering",)
    assert at_fault(both, both, same_model=False) == ("both wrong",)


def test_a_missing_answer_comes_before_the_other_stages() -> None:
    empty = {"selection_top1": 0.0, "bertscore": -1.0, "arguments_mean": 0.0}
    assert at_fault(empty, GOOD, loser_ok=False) == ("answer",)
    assert at_fault(empty, GOOD, loser_ok=False, winner_ok=False) == ("model", "prompt", "arguments")


def test_a_metric_of_the_plan_names_its_own_stage() -> None:
    assert of_metric("arguments_steps", ("rendering",)) == ("arguments",)
    assert of_metric("selection_top5", ("prompt",)) == ("model",)
    assert of_metric("sbert", ("answer",)) == ("answer",)
    assert of_metric("imagereward", ("model", "prompt")) == ("model", "prompt")


def test_the_summary_counts_stages_together_and_alone() -> None:
    found = blame([("model", "prompt"), ("prompt",), ("rendering",)])
    assert (found.rows, found.among["prompt"], found.alone["prompt"], found.alone["model"]) == (3, 2, 1, 0)
    stages = "prompt in 2 (1 alone), model in 1, rendering in 1 (1 alone)"
    assert sentence("A", found) == f"Of the 3 rows where A loses, the stage at fault is: {stages}"
    assert sentence("A", blame([])) == "A loses no row"


def test_real_rows_get_their_stages(duel: Any) -> None:
    from chatgenbench.compare.fault import faults

    match = duel.match()
    found = {pair.item.id: faults(match, pair) for pair in match.pairs}
    assert found["i0-single"]["b"] == ("answer",)
    assert found["i1-single"]["b"] == ("answer",)
    assert {"model", "arguments"} <= set(found["i2-single"]["b"])
    assert "model" not in found["i2-single"]["a"]
