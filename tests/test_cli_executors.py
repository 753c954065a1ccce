"""`eval --executor local|ray` as a user types it: Ctrl-C, the same command again, and the pictures of an inline run."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.cli import PROGRAM, environment, lines, run

ASKED = ("--system", "oracle", "--limit", "8", "--batch-size", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """scores.parquet of a run in one process."""
    folder = tmp_path_factory.mktemp("plain")
    done = run("eval", *ASKED, "--out", str(folder / "inline"), home=folder)
    assert done.returncode == 0, done.stderr
    return (folder / "inline/scores.parquet").read_bytes()


@pytest.mark.parametrize(
    "executor",
    [("local", "--workers", "2"), ("ray", "--ray-address", "local", "--workers", "1")],
    ids=lambda words: words[0],
)
def test_ctrl_c_ends_every_process_and_the_same_command_goes_on(
    executor: tuple[str, ...], inline: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = ["eval", *ASKED, "--executor", *executor, "--out", str(out)]
    process = subprocess.Popen(
        [PROGRAM, *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        env=environment(tmp_path / "a"), start_new_session=True,
    )  # fmt: skip
    while lines(out / "pictures.jsonl") < 2 and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()[1]
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the program and all that it began
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"type the same command again" in error
    assert len(error.strip().splitlines()) == 1, error  # nor a word of Ray's own
    assert workers
    assert not psutil.wait_procs(workers, timeout=10)[1]
    done = run(*command, home=tmp_path / "a")
    assert done.returncode == 0, done.stderr
    assert "ray" not in done.stderr.lower()
    assert (out / "scores.parquet").read_bytes() == inline
    assert executor[0] in (out / "report.html").read_text("utf-8")


def test_workers_without_local_is_one_line(tmp_path: Path) -> None:
    done = run("eval", "--system", "oracle", "--workers", "2", "--out", str(tmp_path / "x"), home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        "error: --workers counts the processes of --executor local or ray: give both, or neither"
    ]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--ray-address", "auto"), "error: --ray-address says where --executor ray draws: give both, or neither"),
        (("--executor", "ray", "--ray-address", "here"), "error: --ray-address 'here' is neither auto nor local nor "),
        (("--executor", "ray"), "error: no Ray cluster answers at "),
        (("--executor", "ray", "--ray-address", "127.0.0.1:1"), "error: no Ray cluster answers at 127.0.0.1:1 (Conn"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_line(
    asked: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:2")
    done = run("eval", "--system", "oracle", *asked, "--out", str(tmp_path / "x"), home=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith(told)
    assert not (tmp_path / "x").exists()


def test_without_ray_the_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError('ray')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    done = run("eval", "--system", "oracle", "--executor", "ray", "--out", str(tmp_path / "x"), home=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: --executor ray needs Ray: pip install 'chatgenbench[ray]'\n"
