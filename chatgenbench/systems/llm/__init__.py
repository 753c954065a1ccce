"""Any language model behind an OpenAI-compatible endpoint, as a system."""

from __future__ import annotations

from chatgenbench.systems.llm.system import LanguageModel

__all__ = ["LanguageModel"]
