"""What the simple systems read off the training split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from chatgenbench.errors import BenchmarkError
from chatgenbench.schema import ARGUMENT_KEYS, MAX_TEXT, Arguments, Demonstration, FreestyleInput


def require(train: Sequence[Demonstration], system: str) -> None:
    """Raise BenchmarkError unless there is something to learn from."""
    if not train:
        raise BenchmarkError(f"system '{system}' learns from training demonstrations, and this benchmark has none")


def most_common(values: Iterable[str]) -> str:
    """The most frequent value; among equals the alphabetically first, so that row order never matters."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def common_arguments(demonstrations: Iterable[Demonstration]) -> Arguments:
    """The most frequent setting of the five scored keys, taken together: a setting people really used."""
    keys = set(ARGUMENT_KEYS)
    return Arguments.model_validate_json(
        most_common(d.plan.arguments.model_dump_json(include=keys) for d in demonstrations)
    )


def chat_prompt(chat: FreestyleInput, tail: str = "") -> str:
    """The person's words as a prompt, then `tail`; cut so that the whole is at most MAX_TEXT characters."""
    return chat.text[: MAX_TEXT - len(tail)] + tail
