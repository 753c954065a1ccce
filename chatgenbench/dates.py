"""The date that is printed on what is made, so that the same command can make the same bytes again."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime

from chatgenbench.errors import UserError


def today() -> date:
    """The date to print on what is made: that of $SOURCE_DATE_EPOCH where it is set.

    Raises:
        UserError: it is set to what is no time.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return datetime.now(UTC).date()
    try:
        return datetime.fromtimestamp(int(epoch), UTC).date()
    except (ValueError, OverflowError, OSError):
        raise UserError("$SOURCE_DATE_EPOCH must be a number of seconds since 1970, or unset") from None
