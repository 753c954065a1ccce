"""Prompts compared: what is ignored, how well signatures estimate, that near pairs are found, groups and codes."""

from __future__ import annotations

import csv
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgenbench.build.dedupe import near_pictures, near_prompts
from chatgenbench.build.minhash import PERMUTATIONS, PIECE, Hasher, Prompts, jaccard, mix, normalise, pieces
from chatgenbench.build.near import Groups, cross_pairs, near_codes

WORDS = Path("chatgenbench/build/bundled_data/subjects.txt")


def words() -> list[str]:
    root = Path(__file__).resolve().parents[2]
    return sorted(set((root / WORDS).read_text("utf-8").replace(",", " ").split()))


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("A cat, Masterpiece, best quality", "a cat"),
        ("(a cat:1.3), ((sitting)), [grass]", "a cat, sitting, grass"),
        ("a cat <lora:add_detail:0.8>, <lyco:x:1:0.5> sitting", "a cat, sitting"),
        (r"miku \(vocaloid\), long_hair", "miku vocaloid, long hair"),
        ("a cat\nBREAK\nsitting", "a cat, sitting"),
        ("score_9, score_8_up, a   cat.", "a cat"),
        ("ratio 16:9, at 10:30", "ratio 16:9, at 10:30"),
        ("ＭＡＳＴＥＲＰＩＥＣＥ， ｃａｔ", "cat"),
        ("masterpiece", "masterpiece"),
        (" , ;", ""),
        ("", ""),
    ],
)
def test_what_a_prompt_says(prompt: str, text: str) -> None:
    assert normalise(prompt) == text


@given(st.text(max_size=200))
def test_any_text_is_compared(prompt: str) -> None:
    text = normalise(prompt)
    assert normalise(text) == text or len(text) <= len(prompt) * 20
    found = pieces(text)
    assert bool(len(found)) == bool(text)
    assert jaccard(found, found) == (1 if text else 0)


@given(st.text(min_size=1, max_size=120), st.text(min_size=1, max_size=120))
def test_pieces_are_the_different_substrings(one: str, other: str) -> None:
    def expected(text: str) -> set[str]:
        length = min(PIECE, len(text))
        return {text[i : i + length] for i in range(len(text) - length + 1)}

    assert len(pieces(one)) == len(expected(one))
    shared = len(expected(one) & expected(other))
    assert jaccard(pieces(one), pieces(other)) == pytest.approx(shared / len(expected(one) | expected(other)))


def sets_of(similarity: float, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of random hashes with this Jaccard similarity."""
    shared = round(size * similarity)
    drawn = mix(rng.integers(2**64, size=2 * size - shared, dtype=np.uint64))
    return np.unique(drawn[:size]), np.unique(np.concatenate([drawn[:shared], drawn[size:]]))


@pytest.mark.parametrize("similarity", [0.1, 0.5, 0.8, 0.95])
def test_estimates_are_as_good_as_datasketch(similarity: float) -> None:
    from datasketch import MinHash

    rng = np.random.default_rng(7)
    hasher, ours, theirs = Hasher(3), [], []
    for _ in range(150):
        one, other = sets_of(similarity, 60, rng)
        exact = jaccard(one, other)
        ours.append(float((hasher.signature(one) == hasher.signature(other)).mean()) - exact)
        sketches = []
        for found in (one, other):
            sketch = MinHash(num_perm=PERMUTATIONS, seed=3)
            sketch.update_batch([int(x).to_bytes(8, "little") for x in found])
            sketches.append(sketch)
        theirs.append(sketches[0].jaccard(sketches[1]) - exact)
    deviation = np.sqrt(similarity * (1 - similarity) / PERMUTATIONS)
    assert abs(np.mean(ours)) < 0.02
    assert np.std(ours) < 1.35 * deviation
    assert np.std(ours) < 1.35 * np.std(theirs) + 0.01


def variants(n: int, seed: int) -> list[str]:
    """Prompts of random words, some of them with one or two words changed or boilerplate added."""
    rng, vocabulary = np.random.default_rng(seed), words()
    made: list[str] = []
    while len(made) < n:
        base = rng.choice(vocabulary, int(rng.integers(3, 30))).tolist()
        for _ in range(int(rng.integers(1, 4))):
            other = list(base)
            for _ in range(int(rng.integers(0, 3))):
                other[int(rng.integers(len(other)))] = str(rng.choice(vocabulary))
            made.append(" ".join(other) + str(rng.choice(["", ", masterpiece", ", 8k"])))
    return made[:n]


@pytest.mark.parametrize("threshold", [0.75, 0.8, 0.9])
def test_near_prompts_are_those_of_brute_force(threshold: float, tmp_path: Path) -> None:
    prompts, brute = Prompts(folder=tmp_path), Groups(400)
    found = [pieces(prompts.add(prompt)) for prompt in variants(400, 5)]
    for i, j in combinations(range(400), 2):
        if jaccard(found[i], found[j]) >= threshold:
            brute.join(i, j)
    assert near_prompts(prompts, threshold).roots().tolist() == brute.roots().tolist()
    assert len(set(brute.roots().tolist())) < 390


def test_prompts_keep_their_texts(tmp_path: Path) -> None:
    prompts = Prompts(folder=tmp_path)
    for prompt in ("A cat", "", "\ud83d broken, ünïcode"):
        prompts.add(prompt)
    assert [prompts.text(i) for i in range(3)] == ["a cat", "", "\ud83d broken, ünïcode"]
    assert prompts.filled.tolist() == [0, 2]
    assert prompts.signatures.shape == (3, PERMUTATIONS)
    assert list(tmp_path.iterdir()) == []  # nameless: nothing is left behind, even by a kill


def test_real_prompts_of_one_kind_are_not_near(tmp_path: Path) -> None:
    path = Path(__file__).parents[1] / "data/civitai/MAPS-research__GEMRec/promptsets/promptset_v3.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [line["prompt"] for line in csv.DictReader(file)]
    prompts = Prompts(folder=tmp_path)
    for prompt in rows:
        prompts.add(prompt)
    assert len(set(near_prompts(prompts, 0.8).roots().tolist())) > 0.8 * len(rows)


@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40), st.randoms())
def test_groups_do_not_depend_on_the_order_of_joins(pairs: list[tuple[int, int]], rng: object) -> None:
    one, other, at_once = Groups(30), Groups(30), Groups(30)
    for pair in pairs:
        one.join(*pair)
    for first, second in sorted(pairs, reverse=True):
        other.join(second, first)
    if pairs:
        at_once.join_pairs(*np.array(pairs).T)
    assert one.roots().tolist() == other.roots().tolist() == at_once.roots().tolist()
    assert all(root <= i for i, root in enumerate(one.roots().tolist()))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=40))
def test_cross_pairs_are_all_of_them_once(rows: list[tuple[int, int]]) -> None:
    keys, labels = (np.array([row[i] for row in rows], kind) for i, kind in enumerate((np.uint64, np.int32)))
    found = [frozenset(pair) for ones, others in cross_pairs(keys, labels) for pair in zip(ones, others, strict=True)]
    expected = {
        frozenset((i, j)) for i, j in combinations(range(len(rows)), 2) if keys[i] == keys[j] and labels[i] != labels[j]
    }
    assert len(found) == len(set(found))
    assert set(found) == expected


def codes(n: int, seed: int) -> np.ndarray:
    """Random codes, half of them with up to 13 bits of another one changed."""
    rng = np.random.default_rng(seed)
    found = rng.integers(2**64, size=n, dtype=np.uint64)
    for i in range(n // 2, n):
        value = int(found[rng.integers(n // 2)])
        for bit in rng.permutation(64)[: rng.integers(0, 14)].tolist():
            value ^= 1 << bit
        found[i] = value
    return found


@pytest.mark.parametrize("radius", [0, 3, 6, 8])
def test_near_pictures_are_those_of_brute_force(radius: int) -> None:
    found = codes(300, radius)
    pairs = {(i, j) for i, j in combinations(range(300), 2) if (int(found[i]) ^ int(found[j])).bit_count() <= radius}
    labels = np.arange(300, dtype=np.int32)
    ours = {
        tuple(sorted(p)) for a, b in near_codes(found, labels, radius) for p in zip(a.tolist(), b.tolist(), strict=True)
    }
    assert ours == pairs
    groups = Groups(300)
    for pair in pairs:
        groups.join(*pair)
    assert near_pictures(found, np.ones(300, bool), radius).roots().tolist() == groups.roots().tolist()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=20), st.integers(0, 11))
def test_any_codes_are_grouped_like_brute_force(values: list[int], radius: int) -> None:
    groups = Groups(len(values))
    for i, j in combinations(range(len(values)), 2):
        if (values[i] ^ values[j]).bit_count() <= radius:
            groups.join(i, j)
    found = near_pictures(np.array(values, np.uint64), np.ones(len(values), bool), radius)
    assert found.roots().tolist() == groups.roots().tolist()
