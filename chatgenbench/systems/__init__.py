"""Systems: a chat becomes a plan.  Importing this loads no model and no torch."""

from __future__ import annotations

from chatgenbench.systems.guard import ask, ready
from chatgenbench.systems.protocol import System
from chatgenbench.systems.registry import names, resolve

__all__ = ["System", "ask", "names", "ready", "resolve"]
