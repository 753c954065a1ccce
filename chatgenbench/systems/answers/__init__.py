"""Read the answers of language models and of people's servers: one tolerant parser for all of them."""

from __future__ import annotations

from chatgenbench.systems.answers.kinds import KINDS, AnswerError
from chatgenbench.systems.answers.reader import Reader

__all__ = ["KINDS", "AnswerError", "Reader"]
