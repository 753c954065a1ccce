"""Selection, arguments and the unified score."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import t2imetrics
from hypothesis import given
from hypothesis import strategies as st
from t2imetrics.arguments import KEYS, near_argument, per_key, same_argument, tolerant
from t2imetrics.errors import InputError, OptionError
from t2imetrics.selection import base_model, family, reciprocal_rank, top1, topk
from t2imetrics.unified import unified

GOLD = {"sampler": "DPM++ 2M Karras", "steps": 30, "cfg_scale": 7.0, "width": 512, "height": 768}

#: arXiv 2411.17176: FID, CLIP, HPSv2, ImageReward x 100, unified.
PUBLISHED = [
    (32.7, 64.6, 20.2, -34.6, 37.3), (21.3, 69.9, 23.5, 2.4, 59.0), (20.7, 70.0, 23.4, 1.5, 58.7),
    (20.8, 70.7, 23.9, 4.0, 60.7), (19.1, 72.9, 25.1, 8.9, 65.9), (54.4, 63.4, 20.0, -40.2, 29.7),
    (42.8, 69.1, 23.3, -4.8, 51.1), (41.2, 69.4, 23.4, -4.3, 51.9), (41.4, 70.6, 23.4, -3.1, 52.5),
    (40.7, 72.5, 25.0, 5.1, 59.2),
]  # fmt: skip


def test_unified_gives_the_published_rows() -> None:
    errors = sorted(abs(unified(f, c, h, r / 100) - u) for f, c, h, r, u in PUBLISHED)
    assert errors[8] <= 0.025 + 1e-9
    assert errors[9] <= 0.075 + 1e-9


def test_unified_scorer_reads_mappings_and_names_what_is_missing() -> None:
    scorer = t2imetrics.load("unified")
    row = {"fid": 19.1, "clipscore": 72.9, "hpsv2": 25.1, "imagereward": 0.089}
    assert scorer.score([row, row]) == pytest.approx([65.925, 65.925])
    with pytest.raises(InputError, match="row 0: the unified score needs hpsv2, imagereward"):
        scorer.score([{"fid": 1.0, "clipscore": 2.0}])


def test_top1_and_topk() -> None:
    assert top1(["a", "b", None], ["a", "a", "a"]).tolist() == [1, 0, 0]
    assert topk([["b", "a"], ["b", "c", "a"], None], ["a", "a", "a"], 2).tolist() == [1, 0, 0]
    assert t2imetrics.load("selection", k=3).score([["b", "c", "a"]], ["a"]).tolist() == [1]
    assert t2imetrics.load("selection", k=3).card.note == "top-3"
    with pytest.raises(OptionError, match="k must be at least 1"):
        t2imetrics.load("selection", k=0)


def test_base_model_counts_a_sibling_as_right_and_a_stranger_as_wrong() -> None:
    bases = {"a": "SD 1.5", "b": "SD 1.5", "c": "SDXL"}
    assert base_model(["b", "c", "unknown", None], ["a"] * 4, bases).tolist() == [1, 0, 0, 0]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=9))
def test_topk_grows_with_k_and_ends_at_one(gold: list[str]) -> None:
    rankings = [["c", "a", "b"]] * len(gold)
    shares = [topk(rankings, gold, k).mean() for k in (1, 2, 3)]
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.parametrize(
    ("key", "answer", "gold", "same"),
    [
        ("sampler", " dpm++  2m KARRAS", "DPM++ 2M Karras", True),
        ("sampler", "DPM++ 2M", "DPM++ 2M Karras", False),
        ("sampler", "", "", False),
        ("sampler", None, "Euler", False),
        ("steps", "30", 30, True),
        ("steps", 30.0, "30", True),
        ("steps", 30.5, 30, False),
        ("steps", True, 1, False),
        ("cfg_scale", 7, "7.0", True),
        ("cfg_scale", 7.0000005, 7, True),
        ("cfg_scale", 7.01, 7, False),
        ("cfg_scale", "nan", 7, False),
        ("width", "512", 512, True),
        ("width", "512px", 512, False),
        ("height", [768], 768, False),
        ("height", 10**400, 768, False),
    ],
)
def test_one_argument(key: str, answer: object, gold: object, same: bool) -> None:
    assert same_argument(key, answer, gold) is same


def test_per_key_mean_and_joint() -> None:
    answers = [GOLD, {**GOLD, "steps": 20}, {"sampler": "Euler"}, None]
    table = per_key(answers, [GOLD] * 4)
    assert table["steps"].tolist() == [1, 0, 0, 0]
    assert table["joint"].tolist() == [1, 0, 0, 0]
    assert t2imetrics.load("arguments").score(answers, [GOLD] * 4) == pytest.approx([1, 0.8, 0, 0])


@given(st.sets(st.sampled_from(KEYS)))
def test_each_lost_key_costs_a_fifth(lost: set[str]) -> None:
    answer = {k: v for k, v in GOLD.items() if k not in lost}
    assert t2imetrics.load("arguments").score([answer], [GOLD]) == pytest.approx([1 - len(lost) / 5])


def test_an_incomplete_gold_record_and_uneven_lists_are_errors() -> None:
    with pytest.raises(InputError, match="row 1: the gold arguments have no 'width'"):
        per_key([GOLD, GOLD], [GOLD, {**GOLD, "width": None}])
    with pytest.raises(InputError, match="2 and 1 rows"):
        top1(["a", "b"], ["a"])


def test_no_rows_give_no_values() -> None:
    assert t2imetrics.load("selection").score([], []).shape == (0,)
    values = t2imetrics.load("arguments").score([], [])
    assert values.shape == (0,)
    assert values.dtype == np.float64


def test_reciprocal_rank_counts_different_ids() -> None:
    rankings = [["a", "b"], ["b", "b", "a"], ["c"], None, []]
    assert reciprocal_rank(rankings, ["a"] * 5) == pytest.approx([1, 1 / 2, 0, 0, 0])
    assert topk([["b", "b", "a"]], ["a"], 2).tolist() == [1], "an id named twice takes one place"
    scorer = t2imetrics.load("selection", measure="mrr")
    assert scorer.score(rankings, ["a"] * 5) == pytest.approx([1, 1 / 2, 0, 0, 0])
    assert scorer.card.unit == "reciprocal rank"
    with pytest.raises(OptionError, match="reads whole rankings: leave out k"):
        t2imetrics.load("selection", measure="mrr", k=3)
    with pytest.raises(InputError, match="row 1: a ranking is a list of ids, got the text 'abc'"):
        reciprocal_rank([["a"], "abc"], ["a", "a"])
    with pytest.raises(OptionError, match="measure 'map' is not known: choose from top, mrr"):
        t2imetrics.load("selection", measure="map")


def test_a_near_twin_is_right_in_both_directions_but_not_further() -> None:
    families = {"a": ("a2",), "a2": ("a3",)}
    chosen = ["a", "a2", "a", "a", None, "b"]
    gold = ["a", "a", "a2", "a3", "a", "a"]
    assert family(chosen, gold, families).tolist() == [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("key", "answer", "gold", "near"),
    [
        ("sampler", "DPM++ 2M", "DPM++ 2M Karras", True),
        ("sampler", "DPM++ 2M SGM Uniform", "dpm++ 2m exponential", True),
        ("sampler", "DPM++ 2M", "DPM++ SDE", False),
        ("sampler", "DPM++ 2M Polyexponential", "DPM++ 2M Align Your Steps", True),
        ("sampler", "Euler", "Euler a", False),
        ("sampler", "Karras", "Karras", True),
        ("sampler", "Karras", "Exponential", False),
        ("sampler", None, "Karras", False),
        ("steps", 24, 30, True),
        ("steps", 20, 30, False),
        ("steps", "40", 30, True),
        ("cfg_scale", 6, 7, True),
        ("cfg_scale", 3, 7, False),
        ("width", 640, 768, True),
        ("height", 512, 768, False),
        ("height", "tall", 768, False),
    ],
)
def test_one_argument_within_tolerance(key: str, answer: object, gold: object, near: bool) -> None:
    assert near_argument(key, answer, gold) is near


sides = st.one_of(
    st.none(), st.integers(-10, 4000), st.floats(), st.sampled_from(["30", "x", "DPM++ 2M Karras", "Euler"])
)


@given(st.sampled_from(KEYS), sides, sides)
def test_what_is_the_same_is_near_and_nearness_is_mutual(key: str, a: object, b: object) -> None:
    assert near_argument(key, a, b) == near_argument(key, b, a)
    assert near_argument(key, a, b) or not same_argument(key, a, b)


def test_the_tolerant_rule_is_an_option_and_a_table() -> None:
    answer = {**GOLD, "sampler": "DPM++ 2M", "steps": 25, "cfg_scale": 20}
    table = tolerant([answer, None], [GOLD, GOLD])
    assert {key: values.tolist() for key, values in table.items()} == {
        "sampler": [1, 0], "steps": [1, 0], "cfg_scale": [0, 0], "width": [1, 0], "height": [1, 0], "joint": [0, 0],
    }  # fmt: skip
    assert t2imetrics.load("arguments", rule="tolerant").score([answer], [GOLD]) == pytest.approx([0.8])
    assert t2imetrics.load("arguments").score([answer], [GOLD]) == pytest.approx([0.4])
    with pytest.raises(OptionError, match="rule 'lax' is not known"):
        t2imetrics.load("arguments", rule="lax")


@pytest.mark.parametrize("kind", [np.int64, np.float32, Decimal, Fraction])
def test_numbers_of_every_type_are_numbers(kind: type) -> None:
    assert same_argument("steps", kind(30), 30)
    assert near_argument("steps", 25, kind(30))


@pytest.mark.parametrize("answer", ["3_0", np.bool_(True), Decimal("nan"), Decimal("Infinity"), 30j])
def test_what_is_no_number_agrees_with_nothing(answer: object) -> None:
    assert not same_argument("steps", answer, 30)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("cfg_scale", float("nan"), "the gold 'cfg_scale' is no number: nan"),
        ("width", "512px", "the gold 'width' is no number: '512px'"),
        ("sampler", " ", "the gold 'sampler' is no name: ' '"),
    ],
)
def test_a_gold_value_that_nobody_could_meet_is_an_error(key: str, value: object, told: str) -> None:
    for table in (per_key, tolerant):
        with pytest.raises(InputError, match=f"row 1: {told}"):
            table([GOLD, GOLD], [GOLD, {**GOLD, key: value}])


def test_arguments_that_are_no_mapping_are_told() -> None:
    with pytest.raises(InputError, match="row 0: the gold arguments are a mapping of the five keys, got NoneType"):
        per_key([GOLD], [None])
    with pytest.raises(InputError, match="row 0: the answered arguments are a mapping of the five keys, got str"):
        per_key(["steps: 30"], [GOLD])


def test_the_name_of_a_base_is_no_model_of_it() -> None:
    assert base_model(["SD1.5", "y", "z", "z"], ["y", "SD1.5", "z", "y"], {"y": "SD1.5"}).tolist() == [0, 0, 1, 0]


def test_letters_are_no_rows_and_half_a_place_is_no_place() -> None:
    with pytest.raises(InputError, match="got one string"):
        top1("abc", "abd")
    with pytest.raises(InputError, match="got one dict"):
        t2imetrics.load("arguments").score(GOLD, GOLD)
    with pytest.raises(OptionError, match=r"k must be a whole number, got 2\.5"):
        topk([["a"]], ["a"], 2.5)
    with pytest.raises(OptionError, match="k must be a whole number"):
        t2imetrics.load("selection", k=2.5)
