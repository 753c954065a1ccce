"""How long to wait between attempts."""

from __future__ import annotations

import math
import os

from chatgenbench.errors import UserError


def patience() -> float:
    """The first pause between attempts in seconds: $CHATGENBENCH_PATIENCE, else 1.

    Raises:
        UserError: it is set to something else than a number of seconds.
    """
    try:
        seconds = float(os.environ.get("CHATGENBENCH_PATIENCE", "1"))
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise UserError("$CHATGENBENCH_PATIENCE must be a number of seconds: set it right, or unset it")
    return max(0.0, seconds)
