"""Links from a claim to exactly its rows: the gallery's filters, written into a page's fragment.

A link is `#name=value&...`.  Names are facets (`outcome`, `failure`, `reason`, `choice`, ...; the same name
twice means either), columns (`clipscore=0` for a value, `clipscore=10..20` for a range), `item`, `text`, `sort`,
`order` and `page`; gallery.js reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlencode


def rows(*pairs: tuple[str, str]) -> str:
    """The fragment that shows the rows that match all of `pairs`."""
    return "#" + urlencode(pairs, quote_via=quote)


def item(key: str) -> str:
    return rows(("item", key))


def items(keys: Sequence[str]) -> list[dict[str, str]]:
    return [{"id": key, "link": item(key)} for key in keys]


def worst_first(metric: str, higher_is_better: bool) -> str:
    """All rows, ordered by a metric."""
    return rows(("sort", metric), ("order", "low" if higher_is_better else "high"))
