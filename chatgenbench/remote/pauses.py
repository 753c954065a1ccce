"""How long to wait between attempts."""

from __future__ import annotations

import math
import os
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

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


#: Longest pause of our own between attempts, and the longest that a server is granted, in seconds.
MAX_PAUSE, MAX_RETRY_AFTER = 30.0, 120.0


def asked(retry_after: str | None) -> float | None:
    """Seconds that a server asks to wait, if it names a number of them or a date (RFC 9110, 10.2.3)."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def pause(attempt: int, first: float, after: float | None, jitter: random.Random) -> float:
    """Seconds to wait after attempt 1, 2, ...: what was asked for, else at random up to `first`, doubled each time."""
    if after is not None and math.isfinite(after):
        return min(after, MAX_RETRY_AFTER)
    return jitter.uniform(0, min(MAX_PAUSE, first * 2 ** (attempt - 1)))
