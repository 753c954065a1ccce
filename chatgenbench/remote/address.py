"""Addresses of endpoints as they may be shown and recorded."""

from __future__ import annotations

from urllib.parse import urlsplit

from chatgenbench.errors import UserError, shorten


def bare(address: str) -> str:
    """An endpoint's address without user name, password or query, where some people keep keys.

    Raises:
        UserError: it is no http(s) address.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        told = shorten(address.rpartition("@")[2], 60)
        raise UserError(f"--llm-base-url '{told}' is no address: type http(s)://HOST[:PORT]/v1")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"
