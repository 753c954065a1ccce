from __future__ import annotations

import hashlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chatgenbench.errors import InfraError
from chatgenbench.render import Pool

NAME = "ab" + "0" * 62


def noise(seed: int = 0, size: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def test_a_picture_comes_back_with_its_pixels_text_and_digest(pool: Pool) -> None:
    digest = pool.put(NAME, noise(), "a fox")
    assert pool.path(NAME) == pool.root / "ab" / f"{NAME}.png"
    assert digest == hashlib.sha256(pool.path(NAME).read_bytes()).hexdigest() == pool.sha256(NAME)
    assert np.array_equal(np.asarray(pool.read(NAME)), np.asarray(noise()))
    assert pool.read(NAME).info["parameters"] == "a fox"
    assert pool.verify(NAME)
    assert [p.name for p in pool.path(NAME).parent.iterdir()] == [f"{NAME}.png"]


def test_the_same_pixels_give_the_same_bytes(pool: Pool) -> None:
    assert pool.put(NAME, noise(), "über") == pool.put(NAME, noise(), "über")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "no picture"])
def test_a_broken_picture_is_noticed_and_removed(pool: Pool, damage: str) -> None:
    pool.put(NAME, noise(), "a fox")
    data = bytearray(pool.path(NAME).read_bytes())
    data[len(data) // 2] ^= 1
    broken = {"truncated": data[: len(data) * 2 // 3], "flipped": data, "emptied": b"", "no picture": b"<html>"}
    pool.path(NAME).write_bytes(broken[damage])
    assert not pool.verify(NAME)
    assert not pool.has(NAME)


def test_what_is_not_there_is_not_whole_and_cannot_be_read(pool: Pool) -> None:
    assert not pool.verify(NAME)
    with pytest.raises(InfraError, match=r"cannot read .*\.png: No such file"):
        pool.read(NAME)


def test_a_full_disk_is_told_and_leaves_nothing_behind(full_disk: Path) -> None:
    pool = Pool(full_disk / "pool")
    with pytest.raises(InfraError, match=r"cannot write to the picture pool .*(No space left|File too large)"):
        pool.put(NAME, noise(size=128), "a fox")
    assert not pool.has(NAME)
    assert [path for path in full_disk.rglob("*") if path.is_file()] == []


def test_a_pool_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "pool").write_text("not a folder")
    with pytest.raises(InfraError, match="cannot write to the picture pool"):
        Pool(tmp_path / "pool").put(NAME, noise(), "a fox")


def write_often(root: Path) -> set[str]:
    return {Pool(root).put(NAME, noise(), "a fox") for _ in range(40)}


def test_many_writers_of_one_picture_never_show_half_of_it(tmp_path: Path) -> None:
    pool = Pool(tmp_path)
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as workers:
        writing = [workers.submit(write_often, tmp_path) for _ in range(3)]
        while not all(future.done() for future in writing):
            assert not pool.has(NAME) or pool.verify(NAME)
    assert len(set.union(*(future.result() for future in writing))) == 1
    assert pool.verify(NAME)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{NAME}.png"]
