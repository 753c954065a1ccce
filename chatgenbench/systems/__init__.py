"""Systems: a chat becomes a plan.  Importing this loads no model and no torch."""

from __future__ import annotations

from chatgenbench.systems.guard import ask, ready
from chatgenbench.systems.predictions import Predictions
from chatgenbench.systems.protocol import System
from chatgenbench.systems.registry import names, resolve

__all__ = ["Predictions", "System", "ask", "names", "ready", "resolve"]
