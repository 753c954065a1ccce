from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chatgenbench.errors import InfraError, WeightsError
from chatgenbench.render import cache as cache_module
from chatgenbench.render.cache import Reserve, WeightsCache


def name(letter: str) -> str:
    return letter * 64 + ".safetensors"


def fetched(cache: WeightsCache, letter: str, size: int = 1000) -> Path:
    def fetch(partial: Path, reserve: Reserve) -> None:
        reserve(size)
        partial.write_bytes(letter.encode() * size)

    with cache.using(name(letter), fetch) as path:
        return path


def never(partial: Path, reserve: Reserve) -> None:
    raise AssertionError("it is there already")


def aged(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_an_entry_is_fetched_once(tmp_path: Path) -> None:
    cache = WeightsCache(tmp_path)
    path = fetched(cache, "a")
    with cache.using(name("a"), never) as again:
        assert again == path
    assert path.read_bytes() == b"a" * 1000
    assert not list((tmp_path / "partial").iterdir())


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    cache = WeightsCache(tmp_path, 3500)
    paths = {letter: fetched(cache, letter) for letter in "abc"}
    for letter, age in (("a", 300), ("b", 200), ("c", 100)):
        aged(paths[letter], age)
    with cache.using(name("a"), never):
        pass  # so that b is the oldest
    fetched(cache, "d")
    assert [letter for letter in "abcd" if cache.has(name(letter))] == ["a", "c", "d"]


def test_what_is_in_use_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "PATIENCE", 0.0)
    cache = WeightsCache(tmp_path, 2500)
    aged(fetched(cache, "a"), 300)
    fetched(cache, "b")
    other = WeightsCache(tmp_path, 2500)
    with cache.using(name("a"), never):
        fetched(other, "c")
        assert [letter for letter in "abc" if cache.has(name(letter))] == ["a", "c"]
        with (
            cache.using(name("c"), never),
            pytest.raises(WeightsError, match=r"--weights-budget .2,500 bytes. is in use"),
        ):
            fetched(other, "d")
    fetched(other, "d")


def test_what_is_larger_than_the_budget_is_told_at_once(tmp_path: Path) -> None:
    cache = WeightsCache(tmp_path, 2500)
    fetched(cache, "a")
    with pytest.raises(WeightsError, match=r"it has 3,000 bytes, more than --weights-budget allows \(2,500\)"):
        fetched(cache, "b", 3000)
    assert cache.has(name("a"))


def test_a_failed_fetch_leaves_the_next_one_its_turn(tmp_path: Path) -> None:
    cache = WeightsCache(tmp_path)

    def fails(partial: Path, reserve: Reserve) -> None:
        raise WeightsError("gone")

    with pytest.raises(WeightsError, match="gone"), cache.using(name("a"), fails):
        pass
    assert fetched(cache, "a").exists()


def test_trouble_with_the_disk_is_one_line(tmp_path: Path, full_disk: Path) -> None:
    with pytest.raises(InfraError, match=r"the weights folder .*(No space left|File too large)"):
        fetched(WeightsCache(full_disk), "a", 100_000)
    (tmp_path / "file").write_text("")
    with pytest.raises(InfraError, match=r"the weights folder .*Not a directory"):
        fetched(WeightsCache(tmp_path / "file"), "a")


@pytest.mark.parametrize("bad", ["../a", "a" * 63, "a" * 64 + "/b", "A" * 64, ""])
def test_names_are_digests_and_nothing_else(bad: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no name of an entry"):
        WeightsCache(tmp_path).path(bad)


def test_threads_that_want_the_same_wait_for_one_download(tmp_path: Path) -> None:
    cache, calls = WeightsCache(tmp_path), []

    def fetch(partial: Path, reserve: Reserve) -> None:
        calls.append(1)
        time.sleep(0.1)
        partial.write_bytes(b"x")

    def want() -> None:
        with cache.using(name("a"), fetch) as path:
            assert path.read_bytes() == b"x"

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


SCRIPT = """
import fcntl, random, sys
from pathlib import Path
from chatgenbench.render.cache import WeightsCache
cache, log = WeightsCache(Path(sys.argv[1]), 3500), open(sys.argv[2], "a")
lots = random.Random(int(sys.argv[3]))
for _ in range(60):
    letter = lots.choice("abcdef")
    def fetch(partial, reserve):
        reserve(1000)
        partial.write_bytes(letter.encode() * 1000)
    with cache.using(letter * 64 + ".safetensors", fetch) as path:
        assert path.read_bytes() == letter.encode() * 1000
    with (Path(sys.argv[1]) / "budget.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # nothing is evicted while it is counted
        total = sum(p.stat().st_size for p in Path(sys.argv[1]).glob("[a-f]*/*"))
    print(total, file=log, flush=True)
"""


def test_many_processes_keep_the_budget_and_read_whole_files(tmp_path: Path) -> None:
    logs = [tmp_path / f"log{at}" for at in range(3)]
    crew = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path / "w"), str(log), str(at)])
        for at, log in enumerate(logs)
    ]
    assert [process.wait(120) for process in crew] == [0, 0, 0]
    totals = [int(line) for log in logs for line in log.read_text().split()]
    assert len(totals) == 180
    assert max(totals) <= 3500


def _hold(root: Path, ready: multiprocessing.synchronize.Event) -> None:
    with WeightsCache(root).using(name("a"), never):
        ready.set()
        time.sleep(600)


def test_a_killed_process_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "PATIENCE", 0.0)
    cache = WeightsCache(tmp_path, 1500)
    fetched(cache, "a")
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    process = fork.Process(target=_hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    with pytest.raises(WeightsError, match="in use"):
        fetched(cache, "b")
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert fetched(cache, "b").exists()
    assert not cache.has(name("a"))
