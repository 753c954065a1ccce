"""Ctrl-C while something is being loaded, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from chatgenbench.interrupt import NOTICE

PROGRAM = """
import time
from chatgenbench.interrupt import held
try:
    with held():
        print("loading", flush=True)
        end = time.monotonic() + float({seconds})
        while time.monotonic() < end:
            time.sleep(0.05)
        print("loaded", flush=True)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@pytest.mark.parametrize(("presses", "seconds", "said"), [(1, 1, "loaded\nstopped\n"), (2, 60, "stopped\n")])
def test_the_first_is_answered_and_waits_and_the_second_stops(presses: int, seconds: int, said: str) -> None:
    command = [sys.executable, "-c", PROGRAM.format(seconds=seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.readline() == b"loading\n"
        program.send_signal(signal.SIGINT)
        assert program.stderr.read(len(NOTICE)) == NOTICE
        if presses == 2:
            program.send_signal(signal.SIGINT)
        assert program.stdout.read().decode() == said


def test_a_process_that_is_deaf_to_it_stays_so() -> None:
    deaf = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + PROGRAM.format(seconds=1)
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"loading\n"
        program.send_signal(signal.SIGINT)
        assert program.communicate() == (b"loaded\n", b"")
