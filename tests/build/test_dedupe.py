"""Which duplicates go and which stay, and what shares a cluster."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatgenbench.build.dedupe import DedupeLimits, dedupe, load_clusters
from chatgenbench.build.records import Drop, Record
from chatgenbench.build.workspace import read_lines, write_lines
from chatgenbench.errors import UserError
from chatgenbench.schema import Arguments, Plan

LONG = "an old lighthouse on a cliff above a stormy sea, oil on canvas, thick brush strokes, cold evening light, gulls"
NEAR = LONG.replace("gulls", "crows")


def record(number: int, prompt: str, model: str = "m", seed: int = 1, **more: Any) -> Record:
    arguments = Arguments(sampler="Euler a", steps=20, cfg_scale=7, width=512, height=512, seed=seed)
    plan = Plan(prompt=prompt, model=model, arguments=arguments)
    return Record(id=f"r{number}", source="test", plan=plan, base_model="SD 1.5", licence="CC0-1.0", **more)


def outcome(folder: Path, records: list[Record], **limits: Any) -> tuple[list[str], list[int]]:
    path = folder / "pictures.jsonl"
    write_lines(path, records)
    found = dedupe(path, DedupeLimits(**limits))
    assert found.keep.tolist() == [not found.reason(i) for i in range(len(records))]
    return [found.reason(i) for i in range(len(records))], found.cluster.tolist()


def test_exact_duplicates_leave_the_first(tmp_path: Path) -> None:
    rows = [
        record(0, "a red fox in snow"),
        record(1, "Masterpiece, (a red fox in snow:1.2)", reactions=9),
        record(2, "a blue whale", picture_sha256="ab" * 32),
        record(3, "another text about nothing", picture_sha256="ab" * 32),
        record(4, "a green frog on a leaf"),
    ]
    reasons, clusters = outcome(tmp_path, rows)
    assert reasons == ["", "duplicate-exact", "", "duplicate-exact", ""]
    assert clusters == [0, 0, 2, 2, 4]


def test_of_near_prompts_the_most_liked_stays(tmp_path: Path) -> None:
    rows = [record(0, LONG, reactions=2), record(1, NEAR, reactions=5), record(2, LONG, seed=2, reactions=5)]
    reasons, clusters = outcome(tmp_path, rows)
    assert reasons == ["duplicate-near-prompt", "", "duplicate-near-prompt"]
    assert clusters == [0, 0, 0]


def test_near_prompts_for_different_models_stay_together(tmp_path: Path) -> None:
    reasons, clusters = outcome(tmp_path, [record(0, LONG), record(1, NEAR, "other"), record(2, "a toad")])
    assert reasons == ["", "", ""]
    assert clusters == [0, 0, 2]


def test_near_pictures_go_whatever_the_model(tmp_path: Path) -> None:
    rows = [
        record(0, "one thing", phash="ffff0000ffff0000"),
        record(1, "quite another", "other", phash="ffff0000ffff003f", reactions=1),
        record(2, "and a third", phash="ffff0000ffff3fc0"),
        record(3, "no picture"),
        record(4, "none either"),
    ]
    reasons, clusters = outcome(tmp_path, rows)
    assert reasons == ["duplicate-near-picture", "", "", "", ""]
    assert clusters == [0, 0, 2, 3, 4]
    assert outcome(tmp_path, rows, picture_distance=5)[0] == [""] * 5


def test_nearness_is_passed_on(tmp_path: Path) -> None:
    rows = [record(0, LONG, "a"), record(1, NEAR, "b", phash="0" * 16), record(2, "a toad", "c", phash="0" * 15 + "1")]
    reasons, clusters = outcome(tmp_path, rows)
    assert clusters == [0, 0, 0]
    assert reasons == ["", "", "duplicate-near-picture"]


def test_records_without_words_are_the_same(tmp_path: Path) -> None:
    assert outcome(tmp_path, [record(0, ", ,"), record(1, "", "other")])[1] == [0, 0]


def test_an_empty_file_and_what_is_kept(tmp_path: Path) -> None:
    assert outcome(tmp_path, []) == ([], [])
    path = tmp_path / "pictures.jsonl"
    write_lines(path, [record(0, LONG), record(1, LONG), record(2, "a toad"), record(3, NEAR, "other")])
    found = dedupe(path)
    results = list(found.apply(read_lines(path, Record)))
    assert results[1] == Drop("r1", "duplicate-exact")
    assert [r.id for r in results if isinstance(r, Record)] == ["r0", "r2", "r3"]
    found.save_clusters(tmp_path / "clusters.npy")
    assert load_clusters(tmp_path / "clusters.npy").tolist() == [0, 2, 0]


def test_any_number_of_reactions_counts(tmp_path: Path) -> None:
    path = tmp_path / "pictures.jsonl"
    liked = [0, -(2**70), 2**63, -5, 2**70, 2**63]
    rows = [record(i, LONG, seed=i).model_copy(update={"reactions": n}) for i, n in enumerate(liked)]
    path.write_text("".join(json.dumps(row.model_dump(mode="json")) + "\n" for row in rows))
    assert dedupe(path).keep.tolist() == [False, False, True, False, False, False]


def _whole(tmp_path: Path) -> tuple[Path, Path]:
    """A file of clusters, and of the lines that they are of."""
    kept, path = tmp_path / "dedupe.jsonl", tmp_path / "clusters.npy"
    write_lines(kept, [record(0, LONG), record(1, "a toad")])
    dedupe(kept).save_clusters(path)
    assert load_clusters(path, kept).tolist() == [0, 1]
    return path, kept


def _array(value: Any) -> bytes:
    whole = io.BytesIO()
    np.save(whole, value, allow_pickle=True)
    return whole.getvalue()


@pytest.mark.parametrize(
    "data",
    [None, b"", b"nonsense", b"\x93NUMPY\x01\x00", b"PK\x03\x04 a zip", _array(np.arange(2, dtype=np.int64)),
     _array(np.zeros((2, 2), np.int32)), _array(np.array([{}, {}], object)), _array(np.int32(3)),
     _array(np.arange(2, dtype=np.int32))[:-1],
     _array(np.arange(2, dtype=np.int32)).replace(b"(2,)", b"(9" + b"9" * 15 + b",)")],
)  # fmt: skip
def test_clusters_that_cannot_be_used_are_named_with_what_to_delete(tmp_path: Path, data: bytes | None) -> None:
    path, kept = _whole(tmp_path)
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UserError, match=r"clusters\.npy is missing or damaged: delete .*dedupe\.json and type"):
        load_clusters(path, kept)


def test_clusters_of_other_lines_are_told(tmp_path: Path) -> None:
    path, kept = _whole(tmp_path)
    write_lines(kept, [record(0, LONG)])
    with pytest.raises(UserError, match=r"clusters\.npy has 2 clusters for the 1 lines of dedupe\.jsonl: delete "):
        load_clusters(path, kept)
    assert len(load_clusters(path)) == 2


@given(st.binary(max_size=12), st.integers(0, 140))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_clusters_are_read_or_refused(tmp_path: Path, data: bytes, place: int) -> None:
    path, kept = _whole(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + data + whole[place + len(data) :])
    with suppress(UserError):
        assert len(load_clusters(path, kept)) == 2


@pytest.mark.parametrize("limits", [{"prompt_similarity": 0.3}, {"picture_distance": 12}])
def test_limits_out_of_range(limits: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="between"):
        DedupeLimits(**limits)


rows_of = st.lists(
    st.tuples(st.sampled_from([LONG, NEAR, "a toad", "a newt", ""]), st.sampled_from("ab"), st.integers(0, 3),
              st.sampled_from(["", "0" * 16, "0" * 15 + "7", "f" * 16]), st.integers(0, 2)),
    max_size=12,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows_of, st.randoms(use_true_random=False))
def test_clusters_do_not_depend_on_row_order(tmp_path: Path, rows: list[tuple[Any, ...]], rng: Any) -> None:
    records = [
        record(i, prompt, model, seed, phash=phash, reactions=reactions)
        for i, (prompt, model, seed, phash, reactions) in enumerate(rows)
    ]
    order = list(range(len(rows)))
    rng.shuffle(order)
    reasons, clusters = outcome(tmp_path, records)
    shuffled_reasons, shuffled = outcome(tmp_path, [records[i] for i in order])
    same = np.equal.outer(np.array(clusters), np.array(clusters))[np.ix_(order, order)] if rows else np.zeros((0, 0))
    assert (same == np.equal.outer(np.array(shuffled), np.array(shuffled))).all()
    assert {clusters[i] for i, reason in enumerate(reasons) if not reason} == set(clusters)  # each keeps one
    assert {shuffled[i] for i, reason in enumerate(shuffled_reasons) if not reason} == set(shuffled)
