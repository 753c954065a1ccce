"""Splits: nothing that belongs together is torn apart, thresholds hold, row order does not matter."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgenbench.build.records import Drop
from chatgenbench.build.split import (
    CROSSES,
    FEW_SHOT,
    NOT_IN_TRAIN,
    SUPERVISED,
    TRAIN,
    Assigned,
    Columns,
    SplitSettings,
    assign,
    read,
)
from chatgenbench.build.workspace import write_lines
from chatgenbench.errors import UserError
from tests.build.test_dedupe import record


def columns(
    model: list[int], creator: list[int], cluster: list[int], base: list[int] | None = None, seed: int = 0
) -> Columns:
    n = len(model)
    key = np.random.default_rng(seed).permutation(n).astype(np.uint64)
    given = (model, creator, cluster, base or [0] * n)
    return Columns(key, *(np.array(values, np.int32) for values in given))


def check(given: Columns, settings: SplitSettings, found: Assigned) -> None:
    """Everything the docstring promises of any outcome."""
    code = found.code
    kept = code <= FEW_SHOT
    for values, known in ((given.cluster, given.cluster >= 0), (given.creator, given.creator >= 0)):
        for value in np.unique(values[known]):
            assert len(set(code[kept & (values == value)].tolist())) <= 1
    train = Counter(given.model[code == TRAIN].tolist())
    for model in given.model[code == SUPERVISED].tolist():
        assert train[model] > settings.few_shot_threshold
    for model in given.model[code == FEW_SHOT].tolist():
        assert settings.min_train <= train[model] <= settings.few_shot_threshold
    for model in given.model[code == NOT_IN_TRAIN].tolist():
        assert train[model] < settings.min_train
    for component in np.unique(found.component[code == CROSSES]):
        assert {SUPERVISED, FEW_SHOT} & set(code[found.component == component].tolist())


rows_of = st.lists(
    st.tuples(st.integers(0, 4), st.integers(-1, 15), st.integers(0, 40), st.integers(0, 2)), max_size=80
)
settings_of = st.builds(
    SplitSettings, seed=st.integers(0, 3), test_share=st.sampled_from([0.0, 0.1, 0.3, 0.5]),
    few_shot_threshold=st.integers(2, 12), min_train=st.integers(1, 2), largest_component=st.sampled_from([0.01, 1]),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(rows_of, settings_of, st.randoms(use_true_random=False))
def test_any_records(rows: list[tuple[int, int, int, int]], chosen: SplitSettings, rng: object) -> None:
    given_columns = columns(*([row[i] for row in rows] for i in range(4)))
    found = assign(given_columns, chosen)
    check(given_columns, chosen, found)
    assert assign(given_columns, chosen).code.tolist() == found.code.tolist()
    order = np.arange(len(rows))
    rng.shuffle(order)  # type: ignore[attr-defined]
    renamed = np.array([3, 1, 4, 0, 2])  # numbers of models are arbitrary as well
    shuffled = Columns(
        given_columns.key[order], renamed[given_columns.model[order]].astype(np.int32), given_columns.creator[order],
        given_columns.cluster[order], (2 - given_columns.base_model[order]).astype(np.int32),
    )  # fmt: skip
    assert assign(shuffled, chosen).code.tolist() == found.code[order].tolist()


def world(n: int, seed: int = 0) -> Columns:
    """Models as unequal as a hub's, a creator for every four records."""
    rng = np.random.default_rng(seed)
    model = np.minimum(rng.zipf(1.5, n), n // 10) - 1
    return columns(
        model.tolist(), rng.integers(-1, n // 4, n).tolist(), list(range(n)), (model % 3).tolist(), seed=seed
    )


@pytest.mark.parametrize(("n", "threshold"), [(60, 5), (300, 10), (3000, 20)])
def test_both_test_splits_have_records(n: int, threshold: int) -> None:
    for seed in range(4):
        given_columns, chosen = world(n, seed), SplitSettings(few_shot_threshold=threshold)
        found = assign(given_columns, chosen)
        check(given_columns, chosen, found)
        counts = Counter(found.code.tolist())
        assert counts[SUPERVISED] >= 1
        assert counts[FEW_SHOT] >= 1
        assert found.notes == []
        assert counts[TRAIN] > n / 2


def test_strata_get_their_share() -> None:
    given_columns, chosen = world(20_000), SplitSettings()
    found = assign(given_columns, chosen)
    check(given_columns, chosen, found)
    for base in range(3):
        share = (found.code[given_columns.base_model == base] != TRAIN).mean()
        assert 0.08 < share < 0.11
    lost = (found.code >= NOT_IN_TRAIN).mean()
    assert lost < 0.01


def test_seeds_differ(tmp_path: Path) -> None:
    path = tmp_path / "dedupe.jsonl"
    write_lines(path, [record(i, f"text {i}", f"m{i % 3}", creator=f"c{i // 2}") for i in range(300)])
    outcomes = [
        assign(
            read(path, np.arange(300, dtype=np.int32), seed), SplitSettings(seed, few_shot_threshold=50)
        ).code.tolist()
        for seed in (0, 0, 1)
    ]
    assert outcomes[0] == outcomes[1] != outcomes[2]
    assert Counter(outcomes[0])[SUPERVISED] == 30


def test_columns_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "dedupe.jsonl"
    write_lines(path, [record(0, "x", "a", creator="c"), record(1, "y", "b"), record(2, "z", "a", creator="c")])
    found = read(path, np.array([0, 1, 2], np.int32))
    assert found.model.tolist() == [0, 1, 0]
    assert found.creator.tolist() == [0, -1, 0]
    assert len(set(found.key.tolist())) == 3
    with pytest.raises(ValueError, match="2 clusters for 3 records"):
        read(path, np.array([0, 1], np.int32))


def test_one_component_is_all_train() -> None:
    found = assign(columns([0] * 50, [7] * 50, list(range(50))), SplitSettings())
    assert set(found.code.tolist()) == {TRAIN}
    assert len(found.notes) == 2
    assert "no supervised test records" in found.notes[0]


def test_no_records() -> None:
    assert assign(columns([], [], []), SplitSettings()).code.tolist() == []


def test_a_large_component_is_not_tested() -> None:
    n = 2000
    creator = [0] * 150 + list(range(1, n - 149))
    found = assign(columns([0] * n, creator, list(range(n))), SplitSettings())
    assert set(found.code[:150].tolist()) == {TRAIN}
    assert Counter(found.code.tolist())[SUPERVISED] == 200


def test_the_minority_of_a_component_is_dropped() -> None:
    """One creator with two records of a common model and one of a rare one; everybody else is one large component."""
    model = [0] * 30 + [1] * 4 + [0, 0, 1]
    creator = [1] * 34 + [2] * 3
    given_columns, chosen = columns(model, creator, list(range(37))), SplitSettings(few_shot_threshold=20)
    found = assign(given_columns, chosen)
    check(given_columns, chosen, found)
    assert found.code[34:].tolist() == [SUPERVISED, SUPERVISED, CROSSES]
    assert found.of(34, "r") == "supervised"
    assert found.of(36, "r") == Drop("r", "crosses-test-splits")


@pytest.mark.parametrize("wrong", [{"test_share": 0.9}, {"min_train": 0}, {"min_train": 30}, {"largest_component": 0}])
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        SplitSettings(**wrong)  # type: ignore[arg-type]
