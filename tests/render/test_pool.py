from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chatgenbench.errors import InfraError, UserError
from chatgenbench.render import Pool, upkeep
from tests.render.pool_writer import noise

NAME, OTHER = "ab" + "0" * 62, "cd" + "1" * 62


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


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Pool]:
    """A pool of one whole and one broken picture that nobody can write to: by its rights, or for root by its mount."""
    pool = Pool(tmp_path / "pool")
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(pool.root)]
    pool.root.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    for name in (NAME, OTHER):
        pool.put(name, noise(), "a fox")
    pool.path(OTHER).write_bytes(b"half")
    places = [pool.root, pool.path(NAME).parent, pool.path(OTHER).parent]
    if mounted:
        subprocess.run(["mount", "-o", "remount,ro", str(pool.root)], check=True)
    elif os.geteuid() == 0:
        pytest.skip("root writes everywhere, and cannot mount here")
    else:
        for place in places:
            place.chmod(0o555)
    yield pool
    if mounted:
        subprocess.run(["umount", str(pool.root)], check=True)
    for place in places if not mounted else ():
        place.chmod(0o755)


def test_a_read_only_pool_is_read_and_said_to_be_read_only(frozen: Pool) -> None:
    assert frozen.verify(NAME)
    assert dict(upkeep.broken(frozen, {})) == {OTHER: "it is not a whole picture"}
    with pytest.raises(UserError, match=r"cannot be written \((Read-only|Permission).*: choose another --pool"):
        frozen.check()
    with pytest.raises(InfraError, match=r"cannot write to the picture pool .*(Read-only|Permission)"):
        frozen.put("cd" * 32, noise(), "a fox")
    with pytest.raises(InfraError, match=rf"cannot remove .*{OTHER}\.png: (Read-only|Permission)"):
        frozen.verify(OTHER)
    frozen.recover()


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


KILLED_WHILE_UNPACKING = """
import os, signal, sys
from PIL import Image
from chatgenbench.render import Pool
from tests.render.pool_writer import noise
pool = Pool(sys.argv[1])
moves = 0
def link(file, target, _link=os.link):
    global moves
    if moves == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    moves += 1
    return _link(file, target)
os.link = link
pool.put_batch([(c * 64, Image.new("RGB", (8, 8), (i, 0, 0)), "x") for i, c in enumerate("abc")])
"""


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_batch_whose_writer_was_killed_is_whole_after_recovery(tmp_path: Path, moved: int) -> None:
    command = [sys.executable, "-c", KILLED_WHILE_UNPACKING, str(tmp_path), str(moved)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    pool = Pool(tmp_path)
    assert sum(pool.has(c * 64) for c in "abc") == moved
    pool.recover()
    assert [pool.read(c * 64).getpixel((0, 0)) for c in "abc"] == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]
    assert not list((tmp_path / ".staging").iterdir())


def test_a_batch_that_was_never_whole_leaves_nothing(tmp_path: Path) -> None:
    half = tmp_path / ".staging" / f"{socket.gethostname()}-{2**22 + 1}-abcd"
    foreign = tmp_path / ".staging" / "another-host-12-abcd"
    for folder in (half, foreign):
        folder.mkdir(parents=True)
        (folder / ("a" * 64 + ".png")).write_bytes(b"half")
    Pool(tmp_path).recover()
    assert not half.exists()
    assert foreign.exists()
    assert not Pool(tmp_path).has("a" * 64)


def test_what_others_put_beside_a_batch_on_its_way_in_stops_nothing(tmp_path: Path) -> None:
    pool, staging = Pool(tmp_path), tmp_path / ".staging"
    pool.put("b" * 64, Image.new("RGB", (8, 8)), "x")
    ready = staging / f"{socket.gethostname()}-{2**22 + 1}-abcd.ready"
    ready.mkdir(parents=True)
    (ready / ".nfs0001").write_bytes(b"")
    pool.path("b" * 64).rename(ready / ("b" * 64 + ".png"))
    (staging / "a-file.ready").write_bytes(b"")
    pool.recover()
    assert pool.verify("b" * 64)
