"""Run the installed program as a user does: a process of its own."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from unittest import mock

import pytest
from t2imetrics import _registry

PROGRAM = str(Path(sys.executable).parent / "chatgenbench")


def environment(home: Path) -> dict[str, str]:
    wide = {"COLUMNS": "160", "NO_COLOR": "1", "CHATGENBENCH_HOME": str(home)}
    return {**os.environ, **wide, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def run(*arguments: str, home: Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `chatgenbench ARGUMENTS` to its end."""
    return subprocess.run(
        [PROGRAM, *arguments], capture_output=True, text=True, check=False, env=environment(home), cwd=cwd, timeout=600
    )


def run_here(*arguments: str, home: Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The same program in this process: for tests of many commands, which need not load everything anew each time."""
    from chatgenbench.cli import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    words = ["chatgenbench", *arguments]
    with (
        mock.patch.dict(os.environ, environment(home)), mock.patch.object(sys, "argv", words),
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(cwd or Path.cwd()),
    ):  # fmt: skip
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def install(site: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the package `name` in `site` one that is installed, for `run_here`, until the test ends."""
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(_registry, "_external", cache(_registry._external.__wrapped__))


def kill_when(ready: Callable[[], bool], *arguments: str, home: Path, cwd: Path | None = None) -> bool:
    """Start the program and SIGKILL it as soon as `ready()`; False if it ended before."""
    process = subprocess.Popen(
        [PROGRAM, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(home), cwd=cwd
    )
    for _ in range(15_000):
        if ready():
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    process.kill()
    raise AssertionError("the moment to kill never came")


def lines(path: Path) -> int:
    """Whole lines of a file; 0 if it is not there."""
    return path.read_bytes().count(b"\n") if path.exists() else 0
