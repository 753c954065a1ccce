"""ChatGen-Base (arXiv 2411.17176): the published InternVL2 fine-tunes as systems.  Importing this loads no torch."""

from __future__ import annotations

from chatgenbench.systems.chatgen.system import ChatGen

__all__ = ["ChatGen"]
