"""Systems in another process: over HTTP, or on the standard input and output of a command."""

from __future__ import annotations

from chatgenbench.systems.wire.command import CommandSystem
from chatgenbench.systems.wire.http import HttpSystem

__all__ = ["CommandSystem", "HttpSystem"]
