"""Make the next weights ready while the device works.

Ready means: on this machine, and seen to be what the catalog says.  Checking reads every byte, so what is loaded next
comes from the system's page cache instead of a disk or a network; the program itself holds one block of a file at a
time.  Pipelines are not built here: while they do so, diffusers and transformers change settings of the whole process
(default dtype, how parameters are made), which a picture being drawn meanwhile would see.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from chatgenbench.render.costs import Weights


class Prefetch:
    """One background thread with at most one wish.

    Args:
        prepare: makes weights ready.  What it raises is dropped: whoever needs them prepares them again and is told.
    """

    def __init__(self, prepare: Callable[[Weights], None]) -> None:
        self._prepare = prepare
        self._changed = threading.Condition()
        self._wish: Weights | None = None
        self._busy: Weights | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def want(self, weights: Weights | None) -> None:
        """Prepare `weights` next; an earlier wish that was not begun is forgotten."""
        with self._changed:
            if weights == self._busy:
                weights = None
            self._wish = weights
            if weights is None or self._closed:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="chatgenbench-prefetch", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def settle(self, key: str | None = None) -> None:
        """Before the caller loads `key` itself (None: anything): wait if just that is being prepared.

        The wish is forgotten: by now something else may come next.
        """
        with self._changed:
            self._wish = None
            while self._busy is not None and key in (None, *self._busy):
                self._changed.wait()

    def close(self) -> None:
        """Begin nothing more; what is being prepared ends by itself."""
        with self._changed:
            self._closed, self._wish = True, None
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while self._wish is None and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                self._busy, self._wish = self._wish, None
            try:
                if self._busy is not None:
                    with contextlib.suppress(Exception):
                        self._prepare(self._busy)
            finally:
                with self._changed:
                    self._busy = None
                    self._changed.notify_all()
