"""Kill a drawing program and its workers at random, again and again, and see that nothing is lost or done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from chatgenbench.benchmark import Benchmark
from chatgenbench.journal import read
from chatgenbench.render import Pool, draw
from chatgenbench.schema import DrawnRow
from tests.render.killed_driver import BATCH, ROWS, plans

Workers = Callable[[], list[psutil.Process]]


def kills(usual: int) -> int:
    """How many to kill: CHATGENBENCH_KILLS=30 takes many minutes, so the suite has fewer, over 120 rows for 300."""
    return int(os.environ.get("CHATGENBENCH_KILLS", usual))


def drawing(parent: int) -> list[psutil.Process]:
    """Drawing processes below `parent`: those of a local executor, and Ray's actors."""
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if "multiprocessing.spawn" in line or line.startswith("ray::Painter"):
            found.append(process)
    return found


class Siege:
    """One run of `killed_driver`, which is killed and begun again until it has had `count` kills and ends.

    Args:
        workers_below: the process whose descendants draw; None means the program itself.
        extra: further arguments of the program.
    """

    def __init__(self, benchmark: Benchmark, folder: Path, workers_below: int | None, *extra: str) -> None:
        self.pool, self.journal = Pool(folder / "pool"), folder / "pictures.jsonl"
        self.command = [
            sys.executable, "-m", "tests.render.killed_driver", str(benchmark.root), str(self.pool.root),
            str(self.journal), *extra,
        ]  # fmt: skip
        self.workers_below = workers_below
        self.killed, self.written = Counter[str](), dict[str, int]()
        self.seen: set[psutil.Process] = set()
        self.random = random.Random(7)

    def lay(self, count: int) -> None:
        """One of three kills hits the program, the others a worker; half of them wait for a new picture."""
        program = self._start()
        while self.killed.total() < count and program.poll() is None:
            self._bide(program)
            workers = self._workers(program)
            self._note()
            if self.killed.total() % 3 == 1:
                program.kill()
                program.wait()
                self.killed["driver"] += 1
                assert not outlive(self.seen), "a drawing process outlived the program"
                program = self._start()
            elif workers:
                kill(self.random.choice(workers).pid)
                self.killed["worker"] += 1
        while program.poll() is None:
            self._workers(program)
            time.sleep(0.2)
        assert program.returncode == 0
        assert self.killed.total() == count, f"it ended before all kills had come: {dict(self.killed)}"

    def check(self, benchmark: Benchmark, plain: Pool) -> None:
        """The pictures are those of an inline run into `plain`, each drawn once, and nothing is left lying about."""
        inline = draw(plans(), benchmark, plain, seed_of=lambda _: 0, batch_size=BATCH)
        expected = {row.item: row.image_sha256 for row in inline}
        rows = list(read(self.journal, DrawnRow.model_validate))
        assert {row.item: row.image_sha256 for row in rows} == expected
        assert len(rows) == len(expected) == ROWS
        assert set(expected.values()) != {None}
        before, now = self.written, stamps(self.pool)
        assert {name: now.get(name) for name in before} == before, "drawn twice"
        assert not list(self.pool.root.rglob("*.tmp"))
        assert not any((self.pool.root / ".staging").iterdir())
        print(f"{dict(self.killed)}: {len(now)} pictures for {ROWS} rows, {len(self.seen)} workers in all")
        assert all(self.pool.is_whole(name.removesuffix(".png")) for name in now)
        assert not outlive(self.seen)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command, stdout=subprocess.DEVNULL)

    def _bide(self, program: subprocess.Popen[bytes]) -> None:
        """Let some time go by, or let a picture be finished."""
        wait_for_one = self.random.random() < 0.5
        time.sleep(self.random.uniform(0.2, 2.0))
        before = len(stamps(self.pool))
        while wait_for_one and program.poll() is None and len(stamps(self.pool)) == before:
            self._workers(program)
            time.sleep(0.05)

    def _workers(self, program: subprocess.Popen[bytes]) -> list[psutil.Process]:
        try:
            found = drawing(self.workers_below or program.pid)
        except psutil.NoSuchProcess:
            return []
        self.seen |= set(found)
        return found

    def _note(self) -> None:
        self.written = {**stamps(self.pool), **self.written}


def stamps(pool: Pool) -> dict[str, int]:
    """When each picture was written, which changes when it is drawn again."""
    return {path.name: path.stat().st_mtime_ns for path in pool.root.glob("??/*.png")}


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def outlive(processes: set[psutil.Process], seconds: float = 30.0) -> list[psutil.Process]:
    """Those that still run after a while."""
    end = time.monotonic() + seconds
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
