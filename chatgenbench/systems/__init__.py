"""Systems: a chat becomes a plan.  Importing this loads no model and no torch."""

from __future__ import annotations

from chatgenbench.systems.costs import Prices
from chatgenbench.systems.guard import Spent, ask, done, keep, ready
from chatgenbench.systems.options import Options
from chatgenbench.systems.predictions import Predictions
from chatgenbench.systems.protocol import Answered, StopRun, System
from chatgenbench.systems.registry import FORMS, names, resolve

__all__ = [
    "FORMS", "Answered", "Options", "Predictions", "Prices", "Spent", "StopRun", "System", "ask", "done", "keep",
    "names", "ready", "resolve",
]  # fmt: skip
