"""Where everything that runs share lies."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Where pictures, features and weights are shared between runs: $CHATGENBENCH_HOME or ~/.cache/chatgenbench."""
    return Path(os.environ.get("CHATGENBENCH_HOME") or Path.home() / ".cache" / "chatgenbench")
