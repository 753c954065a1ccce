"""Templates to the site's pages: everything escaped, no script but ours, nothing fetched but pictures beside them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatgenbench.report.page import embed_json

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
#: The one style sheet, which the pages share.
STYLE = "site.css"


def render(template: str, script: str | None, values: Mapping[str, Any], up: str = "") -> bytes:
    """A page with its script inside; `up` leads from its folder to that of the style sheet."""
    code = (TEMPLATES / script).read_text("utf-8") if script is not None else ""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode("ascii")
    scripts = f"'sha256-{digest}'" if code else "'none'"
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src 'self' file:; img-src 'self' file: data:; "
        "base-uri 'none'; form-action 'none'"
    )
    html = _environment().get_template(template).render(style=up + STYLE, script=code, policy=policy, **values)
    return html.encode("utf-8", "replace")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["embed_json"] = embed_json
    return environment
