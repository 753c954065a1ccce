"""Listens to a Trainer: tells how far it is, and turns Ctrl-C into a checkpoint before it stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from time import perf_counter
from types import FrameType, TracebackType
from typing import Any

#: Prints one line for a person.
Say = Callable[[str], None]


class Listener:
    """Within it, the first Ctrl-C lets the step end and be saved; a second one comes at once."""

    def __init__(self, say: Say) -> None:
        self.say, self.pressed = say, 0
        self._before: Any = None
        self._main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._note)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.pressed += 1
        if self.pressed > 1:
            raise KeyboardInterrupt
        self.say("stopping after this step ...")

    def check(self) -> None:
        """Raise the KeyboardInterrupt that was held back."""
        if self.pressed:
            raise KeyboardInterrupt

    def callback(self) -> Any:
        """A TrainerCallback of this listener."""
        from transformers import TrainerCallback

        listener, begun = self, [perf_counter(), 0.0]

        class Callback(TrainerCallback):  # type: ignore[misc]
            def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                begun[:] = [perf_counter(), state.global_step]
                if state.global_step:
                    listener.say(f"continued at step {state.global_step} of {state.max_steps}")

            def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                if listener.pressed:
                    control.should_save = control.should_training_stop = True

            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
                name = "reward" if "reward" in (logs or {}) else "loss"  # of a policy, the loss says nothing
                told = (logs or {}).get(name)
                if told is None or state.global_step <= begun[1]:
                    return
                each = (perf_counter() - begun[0]) / (state.global_step - begun[1])
                left = each * (state.max_steps - state.global_step)
                listener.say(
                    f"step {state.global_step} of {state.max_steps}, {name} {float(told):.3f}, {left / 60:.0f} min left"
                )

        return Callback()
