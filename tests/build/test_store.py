"""The store of answers: whole or not at all after a kill at any byte, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgenbench.build.store import Answer, RawStore, key_of
from chatgenbench.errors import InfraError, UserError


def answer(number: int) -> Answer:
    return Answer(f"/images?cursor={number}", 200, json.dumps({"items": [number] * 50}).encode())


def filled(folder: Path, number: int = 3) -> RawStore:
    store = RawStore(folder)
    for i in range(number):
        store.put(answer(i).url, answer(i))
    return store


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        store.put("/models/7", Answer("/models/7", 404, b'{"error":"No model with id 7"}'))
        digest = store.digest()
    with RawStore(tmp_path) as again:
        assert [again.get(answer(i).url) for i in range(3)] == [answer(i) for i in range(3)]
        assert again.get("/models/7") == Answer("/models/7", 404, b'{"error":"No model with id 7"}')
        assert again.get("/models/8") is None
        assert (len(again), next(iter(again)), "/models/7" in again) == (4, answer(0).url, True)
        assert again.digest() == digest


def test_the_first_answer_to_a_request_counts(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        size = (tmp_path / "answers.bin").stat().st_size
        store.put(answer(0).url, answer(9))
        assert store.get(answer(0).url) == answer(0)
    assert (tmp_path / "answers.bin").stat().st_size == size


def test_a_refusal_gives_way_to_whatever_comes_later(tmp_path: Path) -> None:
    refusal = Answer(answer(1).url, 403, b'{"error":"Forbidden"}')
    with filled(tmp_path, 1) as store:
        store.put(refusal.url, refusal)
        digest = store.digest()
        store.put(refusal.url, Answer(refusal.url, 403, b'{"error":"still"}'))
        assert (store.status(refusal.url), store.get(refusal.url), store.digest()) == (403, refusal, digest)
        store.put(refusal.url, answer(1))
        store.put(refusal.url, refusal)
        assert (store.status(refusal.url), store.get(refusal.url), len(store)) == (200, answer(1), 2)
        store.put(answer(2).url, answer(2))
    with RawStore(tmp_path) as again, filled(tmp_path / "other") as other:
        assert [again.get(answer(i).url) for i in range(3)] == [answer(i) for i in range(3)]
        assert again.digest() == other.digest()
        assert again.status("/none") is None


def test_the_digest_does_not_depend_on_the_order_of_arrival(tmp_path: Path) -> None:
    with RawStore(tmp_path / "a") as one, RawStore(tmp_path / "b") as other:
        for i in range(4):
            one.put(answer(i).url, answer(i))
            other.put(answer(3 - i).url, answer(3 - i))
        assert one.digest() == other.digest()
        other.put("/x", answer(5))
        assert one.digest() != other.digest()


def test_a_kill_at_any_byte_leaves_every_answer_whole_or_away(tmp_path: Path) -> None:
    filled(tmp_path / "whole").close()
    frames = (tmp_path / "whole/answers.bin").read_bytes()
    index = (tmp_path / "whole/index.jsonl").read_bytes()
    first = index.index(b"\n") + 1
    for cut in range(first, len(index) + 1, 7):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "answers.bin").write_bytes(frames)
        (folder / "index.jsonl").write_bytes(index[:cut])
        with RawStore(folder) as store:
            left = len(store)
            assert left == index[:cut].count(b"\n")
            for i in range(3):
                store.put(answer(i).url, answer(i))
        with RawStore(folder) as store:
            assert [store.get(answer(i).url) for i in range(3)] == [answer(i) for i in range(3)]
        assert (folder / "answers.bin").read_bytes() == frames
        assert (folder / "index.jsonl").read_bytes() == index


def test_a_frame_that_no_line_names_is_cut_off(tmp_path: Path) -> None:
    filled(tmp_path).close()
    size = (tmp_path / "answers.bin").stat().st_size
    with (tmp_path / "answers.bin").open("ab") as file:
        file.write(b"half a frame")
    RawStore(tmp_path).close()
    assert (tmp_path / "answers.bin").stat().st_size == size


def test_lines_whose_frame_is_missing_are_forgotten(tmp_path: Path) -> None:
    filled(tmp_path).close()
    path = tmp_path / "answers.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with RawStore(tmp_path) as store:
        assert len(store) == 2
        store.put("/other", answer(7))
    with RawStore(tmp_path) as store:
        assert (len(store), store.get(answer(2).url), store.get("/other")) == (
            3,
            None,
            Answer("/other", 200, answer(7).body),
        )


def test_a_damaged_frame_is_one_line_that_names_it(tmp_path: Path) -> None:
    filled(tmp_path).close()
    path = tmp_path / "answers.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with RawStore(tmp_path) as store:
        assert store.get(answer(0).url) == answer(0)
        with pytest.raises(
            UserError, match=r"answers\.bin is damaged at byte \d+: delete the line .*cursor=1"
        ) as caught:
            store.get(answer(1).url)
    assert "\n" not in str(caught.value)


def test_a_damaged_index_is_named_with_its_line(tmp_path: Path) -> None:
    filled(tmp_path).close()
    path = tmp_path / "index.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{nonsense\n" + lines[2])
    with pytest.raises(UserError, match=r"index\.jsonl, line 2 is damaged"):
        RawStore(tmp_path)


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InfraError, match="cannot open"):
        RawStore(tmp_path / "file")


def test_keys_are_canonical() -> None:
    assert key_of("/images", [("b", "2|x y"), ("a", "1")]) == "/images?a=1&b=2%7Cx%20y"
    assert key_of("/models", [("types", "LORA"), ("types", "Checkpoint")]) == "/models?types=Checkpoint&types=LORA"
    assert key_of("/models/7", []) == "/models/7"


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=12)), max_size=5))
@settings(max_examples=60, deadline=None)
def test_keys_do_not_depend_on_the_order_of_parameters(params: list[tuple[str, str]]) -> None:
    assert key_of("/images", params) == key_of("/images", params[::-1])
    assert key_of("/images", params).isascii()
