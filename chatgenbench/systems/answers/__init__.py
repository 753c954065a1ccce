"""Read the answers of language models and of people's servers: one tolerant parser for all of them."""

from __future__ import annotations

from chatgenbench.systems.answers.kinds import KINDS, OTHER_KINDS, AnswerError, kind_of
from chatgenbench.systems.answers.reader import Reader

__all__ = ["KINDS", "OTHER_KINDS", "AnswerError", "Reader", "kind_of"]
