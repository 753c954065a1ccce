"""`eval --executor local` as a user types it: Ctrl-C, the same command again, and the pictures of an inline run."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil

from tests.cli import PROGRAM, environment, lines, run


def test_ctrl_c_ends_every_process_and_the_same_command_goes_on(tmp_path: Path) -> None:
    out, plain = tmp_path / "local", tmp_path / "inline"
    asked = ["--system", "oracle", "--limit", "8", "--batch-size", "1", "--device", "cpu"]
    command = ["eval", *asked, "--executor", "local", "--workers", "2", "--out", str(out)]
    process = subprocess.Popen(
        [PROGRAM, *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        env=environment(tmp_path / "a"), start_new_session=True,
    )  # fmt: skip
    while lines(out / "pictures.jsonl") < 2 and process.poll() is None:
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the program and all that it began
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"type the same command again" in error
    assert b"Traceback" not in error
    assert workers
    assert not psutil.wait_procs(workers, timeout=10)[1]
    done = run(*command, home=tmp_path / "a")
    assert done.returncode == 0, done.stderr
    inline = run("eval", *asked, "--out", str(plain), home=tmp_path / "b")
    assert inline.returncode == 0, inline.stderr
    assert (out / "scores.parquet").read_bytes() == (plain / "scores.parquet").read_bytes()
    assert "local" in (out / "report.html").read_text("utf-8")


def test_workers_without_local_is_one_line(tmp_path: Path) -> None:
    done = run("eval", "--system", "oracle", "--workers", "2", "--out", str(tmp_path / "x"), home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        "error: --workers counts the processes of --executor local: give both, or neither"
    ]
    assert not (tmp_path / "x").exists()
