"""The leak report finds what crosses, of every kind, and nothing else."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from chatgenbench.build import leaks
from chatgenbench.build.dedupe import dedupe
from chatgenbench.build.leaks import Row
from chatgenbench.build.minhash import jaccard, normalise, pieces
from chatgenbench.build.records import Record
from chatgenbench.build.split import SplitSettings, assign, read
from chatgenbench.build.workspace import read_lines, write_lines
from tests.build.test_dedupe import LONG, NEAR, record
from tests.build.test_minhash import variants

CLEAN = [
    Row("a", "train", "a red fox in snow", "ann", "1" * 64, "0" * 16),
    Row("b", "supervised", "a blue whale under ice", "bob", "2" * 64, "00000000ffffffff"),
    Row("c", "few-shot", "three green frogs on a leaf", "cy", "3" * 64, "f" * 16),
    Row("d", "train", "no picture, nobody's"),
    Row("e", "few-shot", "no picture either, nor a name"),
]


def test_nothing_crosses() -> None:
    found = leaks.report(CLEAN)
    assert found["leaks"] == 0
    assert leaks.problems(found) == []
    assert found["rows"] == {"train": 2, "supervised": 1, "few-shot": 2}
    assert list(found["pairs"]) == ["train / supervised", "train / few-shot", "supervised / few-shot"]
    one = found["pairs"]["train / few-shot"]
    assert one["pictures_compared"] == {"pairs": 1, "compared": 1, "smallest_distance": 64}
    exact = max(
        jaccard(pieces(normalise(x.prompt)), pieces(normalise(y.prompt)))
        for x, y in product((CLEAN[0], CLEAN[3]), (CLEAN[2], CLEAN[4]))
    )
    assert one["prompts_compared"] == {"pairs": 4, "compared": 4, "largest_similarity": round(exact, 4)}


@pytest.mark.parametrize(
    ("planted", "kinds"),
    [
        (Row("a", "supervised", "something else"), {"demonstrations": 1}),
        (Row("x", "supervised", "Masterpiece, a (red fox) in snow"), {"prompts": 1, "near-prompts": 1}),
        (Row("x", "supervised", "something else", "ann"), {"creators": 1}),
        (Row("x", "supervised", "something else", "", "1" * 64), {"pictures": 1}),
        (Row("x", "supervised", "something else", "", "", "000000000000003f"), {"near-pictures": 1}),
        (Row("x", "supervised", "something else", "", "", "000000000000007f"), {}),
        (Row("x", "train", "a red fox in snow", "ann", "1" * 64, "0" * 16), {}),
    ],
)
def test_each_kind_is_found(planted: Row, kinds: dict[str, int]) -> None:
    found = leaks.report([*CLEAN, planted])
    one = found["pairs"]["train / supervised"]
    assert {kind: one[kind] for kind in leaks.KINDS if one[kind]} == kinds
    assert found["leaks"] == sum(kinds.values())
    assert len(leaks.problems(found)) == len(kinds)


def test_near_prompts_are_named() -> None:
    found = leaks.report([Row("x", "few-shot", LONG), Row("y", "train", NEAR)])
    one = found["pairs"]["train / few-shot"]
    assert one["near-prompts"] == 1
    assert one["examples"] == [["y", "x"]]
    assert 0.8 < one["prompts_compared"]["largest_similarity"] < 1
    assert leaks.problems(found) == ["1 near-prompts cross train / few-shot"]


@pytest.mark.parametrize("brute", [leaks.BRUTE_PAIRS, 100])
def test_all_near_prompts_are_found_with_and_without_brute_force(monkeypatch: pytest.MonkeyPatch, brute: int) -> None:
    monkeypatch.setattr(leaks, "BRUTE_PAIRS", brute)
    prompts = variants(300, 11)
    rows = [Row(str(i), leaks.SPLITS[i % 3], prompt) for i, prompt in enumerate(prompts)]
    texts = sorted({(normalise(row.prompt), row.split) for row in rows})
    near = {
        (one, other) for one, other in product(texts, texts)
        if one[1] < other[1] and jaccard(pieces(one[0]), pieces(other[0])) >= 0.8
    }  # fmt: skip
    found = leaks.report(rows)
    pairs = sum(one["near-prompts"] for one in found["pairs"].values())
    assert pairs >= len(near) > 20  # equal prompts within a split may count more than once
    compared = [one["prompts_compared"] for one in found["pairs"].values()]
    assert all(one["compared"] <= brute for one in compared)
    assert found == leaks.report(rows)


def test_dedupe_and_split_leave_no_leak(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    records = [
        record(
            i, prompt, f"m{min(9, int(rng.zipf(1.6)))}", creator=f"c{rng.integers(400)}" if rng.random() < 0.9 else "",
            phash=f"{int(rng.integers(2**63)) if rng.random() < 0.7 else int(rng.integers(40)):016x}",
            picture_sha256=f"{int(rng.integers(900)):064x}"[::-1], reactions=int(rng.integers(9)),
        )
        for i, prompt in enumerate(variants(1200, 3))
    ]  # fmt: skip
    path, kept = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_lines(path, records)
    found = dedupe(path)
    write_lines(kept, [r for r in found.apply(read_lines(path, Record)) if isinstance(r, Record)])
    placed = assign(read(kept, found.cluster[found.keep]), SplitSettings(few_shot_threshold=15))
    rows = [
        leaks.row(one, split)
        for i, one in enumerate(read_lines(kept, Record))
        if isinstance(split := placed.of(i, one.id), str)
    ]
    report = leaks.report(rows)
    assert report["leaks"] == 0
    assert min(report["rows"].values()) > 0


def test_nothing_to_compare() -> None:
    found = leaks.report([])
    assert found["leaks"] == 0
    assert found["pairs"]["train / supervised"]["prompts_compared"]["largest_similarity"] == 0
