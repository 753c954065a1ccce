"""Ctrl-C while a library is being imported: half-imported C extensions swallow it or abort, so it waits."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

#: What is said at once, as loading may take half a minute on a busy machine.
NOTICE = b"\nstopping as soon as this is loaded; Ctrl-C again stops at once\n"


@contextmanager
def held() -> Iterator[None]:
    """Within it, a Ctrl-C is answered by NOTICE, waits for the end and comes then; a second one comes at once.

    Outside the main thread, which gets no signals, and in a process that is deaf to Ctrl-C, this does nothing.
    """
    deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if deaf or threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            raise KeyboardInterrupt
        with suppress(OSError):
            os.write(2, NOTICE)  # not through sys.stderr, which this may have interrupted

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
