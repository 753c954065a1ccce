"""What the data card promises of the bundled miniature, checked on the files themselves."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import pytest

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.render import resolve, weights_digest

REPO = Path(__file__).parents[2]
VENDORS = re.compile(r"twemoji|\bnoto\b|fluent|emojione|google|microsoft|whatsapp|iphone|android", re.IGNORECASE)


@pytest.fixture(scope="module")
def miniature() -> Benchmark:
    return load_benchmark("miniature")


def test_there_are_as_many_items_of_every_sort_as_stated(miniature: Benchmark) -> None:
    assert Counter(i.split for i in miniature.items) == {"supervised": 240, "few-shot": 120}
    kinds = Counter((i.split, i.input.kind) for i in miniature.items)
    assert kinds["supervised", "single"] == 144
    assert kinds["few-shot", "single"] == 72
    for split, n in (("supervised", 48), ("few-shot", 24)):
        assert kinds[split, "multimodal"] == kinds[split, "history"] == n


def test_no_chat_names_a_style_a_vendor_or_a_trigger_word(miniature: Benchmark) -> None:
    names = [n for r in miniature.catalog if r.type == "lora" for n in (r.file_stem, *r.trigger_words)]
    for item in miniature.items:
        assert not VENDORS.search(item.input.text), item.id
        assert not any(name.lower() in item.input.text.lower() for name in names), item.id
        assert miniature.gold(item).plan.prompt.lower() not in item.input.text.lower()


def test_every_chat_is_its_own(miniature: Benchmark) -> None:
    texts = [item.input.text for item in miniature.items]
    assert len(set(texts)) == len(texts)
    openings = Counter(" ".join(text.lower().split()[:4]) for text in texts)
    assert openings.most_common(1)[0][1] <= 3
    lengths = sorted(len(text.split()) for text in texts)
    assert lengths[10] < 10
    assert lengths[-10] > 60


def test_kinds_are_what_they_say(miniature: Benchmark) -> None:
    for item in miniature.items:
        roles = [m.role for m in item.input.messages]
        pictures = item.input.images
        if item.input.kind == "history":
            assert roles.count("user") >= 2
            assert roles[-1] == "user"
        else:
            assert roles == ["user"]
        assert bool(pictures) == (item.input.kind == "multimodal")
        assert miniature.gold(item).picture not in pictures
        assert all((miniature.root / p).is_file() for p in pictures)


def test_every_training_demonstration_has_a_chat_that_gives_nothing_away(miniature: Benchmark) -> None:
    chats = miniature.train_inputs
    assert [c.demonstration for c in chats] == [d.id for d in miniature.train]
    assert Counter(c.input.kind for c in chats) == {"single": 214, "multimodal": 56, "history": 50}
    trained = {d.picture for d in miniature.train}
    names = [n for r in miniature.catalog if r.type == "lora" for n in (r.name, r.file_stem, *r.trigger_words)]
    for chat in chats:
        assert chat.id == chat.input.id
        assert not VENDORS.search(chat.input.text), chat.id
        assert not any(name.lower() in chat.input.text.lower() for name in names), chat.id
        assert (len(chat.input.messages) > 2) == (chat.input.kind == "history")
        assert bool(chat.input.images) == (chat.input.kind == "multimodal")
        assert trained - {miniature.demonstrations[chat.demonstration].picture} >= set(chat.input.images)


def _runs(text: str, length: int) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9']+", text.lower())
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def test_no_training_chat_is_a_test_chat_again(miniature: Benchmark) -> None:
    tested = set().union(*(_runs(item.input.text, 6) for item in miniature.items))
    assert not [chat.id for chat in miniature.train_inputs if _runs(chat.input.text, 6) & tested]
    texts = [chat.input.text for chat in miniature.train_inputs]
    assert len(set(texts)) == len(texts)


def test_no_demonstration_crosses_a_split_and_few_shot_models_are_rare_in_training(miniature: Benchmark) -> None:
    assert not {i.demonstration for i in miniature.items} & {d.id for d in miniature.train}
    assert len({i.demonstration for i in miniature.items}) == len(miniature.items)
    seen = Counter(d.plan.model for d in miniature.train)
    for item in miniature.items:
        often = seen[miniature.gold(item).plan.model]
        assert (often <= miniature.manifest.few_shot_threshold) == (item.split == "few-shot")


def test_every_picture_is_the_one_recorded_with_an_open_licence(miniature: Benchmark) -> None:
    card = (REPO / "data" / "README.md").read_text("utf-8")
    for demonstration in miniature.demonstrations.values():
        data = (miniature.root / demonstration.picture).read_bytes()
        assert hashlib.sha256(data).hexdigest() == demonstration.picture_sha256
        assert demonstration.licence in ("CC-BY-4.0", "Apache-2.0", "MIT")
        assert demonstration.attribution in card


def test_every_model_has_the_recorded_weights_and_a_description_that_names_no_vendor(miniature: Benchmark) -> None:
    for record in miniature.catalog:
        assert weights_digest(miniature.root / next(iter(record.files.values()))) == record.sha256
        assert len(record.description) > 40
        assert not VENDORS.search(record.description)


def test_every_gold_sampler_can_be_drawn_and_one_is_only_approximated(miniature: Benchmark) -> None:
    exact = {resolve(d.plan.arguments.sampler).exact for d in miniature.demonstrations.values()}
    assert exact == {True, False}


def test_a_subset_is_stratified_and_grows_without_losing_items(miniature: Benchmark) -> None:
    small, large = ({i.id for i in miniature.subset(n)} for n in (60, 120))
    assert len(small) == 60
    assert small < large
    few = sum(i.split == "few-shot" for i in miniature.subset(60))
    assert 12 <= few <= 28
    assert miniature.subset(None) == miniature.subset(10_000) == miniature.items


def test_the_whole_data_folder_is_under_60_megabytes() -> None:
    files = [f for f in (REPO / "data").rglob("*") if f.is_file() and "cache" not in f.parts]
    assert sum(f.stat().st_size for f in files) < 60e6
