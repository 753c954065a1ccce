"""The gallery's cards: plans compared, pictures embedded, nothing left out silently."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chatgenbench.report.cards import compare_words, gallery, packed, sources
from chatgenbench.report.data import benchmark_picture, read_run
from chatgenbench.report.pictures import REDUCED, Album
from chatgenbench.report.thumbnails import Shelf


@pytest.fixture(scope="module")
def weak_cards(made: Any) -> dict[str, Any]:
    return gallery(read_run(made.runs["weak"], made.benchmark, made.pool.path), made.benchmark)


def card(cards: dict[str, Any], item: str) -> dict[str, Any]:
    return next(c for c in cards["items"] if c["id"] == item)


def rows(one: dict[str, Any]) -> dict[str, Any]:
    return {row["name"]: row for row in one["plan"]}


@given(st.text(max_size=200), st.text(max_size=200))
def test_marking_loses_no_character(own: str, gold: str) -> None:
    ours, theirs = compare_words(own, gold)
    assert "".join(text for text, _ in ours) == own
    assert "".join(text for text, _ in theirs) == gold


def test_only_what_differs_is_marked() -> None:
    ours, theirs = compare_words("A red Cat, icon", "a blue cat, icon, cute")
    assert [text.strip() for text, differs in ours if differs] == ["red"]
    assert [text.strip() for text, differs in theirs if differs] == ["blue", "cute"]


def test_huge_prompts_are_compared_at_once() -> None:
    ours, _ = compare_words("a b " * 5000, "b a " * 5000)
    assert ours == [("a b " * 5000, True)]


def test_plan_stands_beside_gold_with_differences_marked(weak_cards: dict[str, Any]) -> None:
    plan = rows(card(weak_cards, "i2-multimodal"))
    assert plan["steps"]["own"] == [("99", True)]
    assert plan["steps"]["gold"] == [("22", True)]
    assert plan["width"]["own"] == [("64", False)]
    assert plan["model"]["own"] == plan["model"]["gold"]


def test_failed_item_has_gold_picture_and_reason(weak_cards: dict[str, Any]) -> None:
    one = card(weak_cards, "i0-single")
    assert one["outcome"] == "system-failed"
    assert one["drawn"] is None
    assert "answer is not JSON" in one["absent"]
    assert one["gold"] is not None
    assert rows(one)["prompt"]["own"] is None


def test_reference_pictures_of_the_chat_are_shown(weak_cards: dict[str, Any]) -> None:
    message = card(weak_cards, "i2-multimodal")["messages"][0]
    assert len(message["pictures"]) == 1
    assert message["unseen"] == 0


def test_embedded_pictures_are_the_real_ones(made: Any, weak_cards: dict[str, Any]) -> None:
    one = card(weak_cards, "i2-multimodal")
    entry = weak_cards["pictures"][one["gold"]]
    image = Image.open(io.BytesIO(base64.b64decode(entry["src"].partition(",")[2])))
    gold = Image.open(made.benchmark.root / "pictures/d2.png")
    assert image.tobytes() == gold.convert("RGB").tobytes()
    assert (entry["w"], entry["h"], entry["crisp"]) == (160, 200, True)


def test_a_shelf_holds_reduced_copies_named_by_content(made: Any, tmp_path: Path) -> None:
    run = read_run(made.runs["weak"], made.benchmark, made.pool.path)
    shelf = Shelf(tmp_path / "page_files")
    shelf.fill(sources(run, made.benchmark))
    cards = gallery(run, made.benchmark, shelf)
    inside = gallery(run, made.benchmark)
    assert [c["drawn"] is None for c in cards["items"]] == [c["drawn"] is None for c in inside["items"]]
    one = cards["pictures"][card(cards, "i2-multimodal")["gold"]]
    gold = made.benchmark.root / "pictures/d2.png"
    assert one["src"] == f"page_files/{hashlib.sha256(gold.read_bytes()).hexdigest()}.webp"
    assert Image.open(tmp_path / one["src"]).convert("RGB").tobytes() == Image.open(gold).convert("RGB").tobytes()
    assert (one["w"], one["h"], one["crisp"]) == (160, 200, True)


def test_a_shelf_makes_a_copy_once_and_clears_what_nobody_shows(tmp_path: Path) -> None:
    Image.new("RGB", (1000, 500), "red").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "broken.png").write_bytes(b"nothing")
    folder = tmp_path / "files"
    shelf = Shelf(folder)
    shelf.fill([(tmp_path / name, "../../up") for name in ("a.png", "b.png", "broken.png", "absent.png")])
    assert shelf.add(tmp_path / "a.png") == shelf.add(tmp_path / "b.png") == 0
    assert shelf.add(tmp_path / "broken.png") is shelf.add(tmp_path / "absent.png") is None
    (copy,) = folder.iterdir()
    assert Image.open(copy).size == (REDUCED, REDUCED // 2)
    assert shelf.entries[0] | {"src": ""} == {"src": "", "w": 200, "h": 100, "crisp": False}
    made = copy.stat().st_mtime_ns
    (folder / f"{'0' * 64}.webp").write_bytes(b"of an earlier page")
    (folder / "mine.txt").write_text("kept")
    Shelf(folder).fill([(tmp_path / "a.png", None)])
    assert sorted(path.name for path in folder.iterdir()) == sorted([copy.name, "mine.txt"])
    assert copy.stat().st_mtime_ns == made


@given(st.lists(st.tuples(st.text(min_size=1), st.booleans()), max_size=6))
def test_pieces_packed_by_turns_keep_texts_and_marks(pieces: list[tuple[str, bool]]) -> None:
    (own, _), *_ = packed({"plan": [{"own": pieces, "gold": None}]})["plan"]
    back = "".join(text if i % 2 else "\0" * len(text) for i, text in enumerate(own))
    assert back == "".join(text if marked else "\0" * len(text) for text, marked in pieces)


def test_a_picture_gone_from_the_pool_is_said(made: Any, tmp_path: Path) -> None:
    run = read_run(made.runs["oracle"], made.benchmark, lambda name: tmp_path / name)
    cards = gallery(run, made.benchmark)
    assert all(c["absent"] == "the picture is no longer in the pool" for c in cards["items"])


def test_large_pictures_are_reduced_and_equal_ones_kept_once(tmp_path: Path) -> None:
    Image.new("RGB", (1024, 512), "red").save(tmp_path / "a.png")
    Image.new("RGB", (1024, 512), "red").save(tmp_path / "b.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nonsense")
    album = Album()
    assert album.add(tmp_path / "a.png") == album.add(tmp_path / "b.png") == 0
    assert album.add(tmp_path / "broken.png") is None
    image = Image.open(io.BytesIO(base64.b64decode(album.entries[0]["src"].partition(",")[2])))
    assert image.size == (REDUCED, REDUCED // 2)


def test_a_benchmark_cannot_name_pictures_outside_its_folder(made: Any) -> None:
    assert benchmark_picture(made.benchmark, "../secret.png") is None
    assert benchmark_picture(made.benchmark, "/etc/secret.png") is None
    assert benchmark_picture(made.benchmark, "pictures/d0.png") == made.benchmark.root / "pictures/d0.png"
