"""Templates to HTML for the pages of this package, in the style of the reports."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatgenbench.errors import UserError
from chatgenbench.evaluate.run import write_bytes
from chatgenbench.report import page

if TYPE_CHECKING:
    from jinja2 import Environment

    from chatgenbench.compare.booth import Booth

TEMPLATES = Path(__file__).parent / "templates"


def write_diff_page(path: Path, **values: Any) -> Path:
    """Write diff.html in one step: everything inside, nothing fetched.

    Raises:
        InfraError: the disk refuses; no half page is left.
    """
    script = _text("diff.js")
    policy = _policy(script, "img-src data:")
    html = _render("diff.html.j2", script, "diff.css", policy=policy, **values)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path.parent} cannot be made a folder ({error.strerror}): choose another --out") from None
    write_bytes(path, html)
    return path


def vote_page(token: str, voter: str | None, booth: Booth) -> tuple[bytes, str]:
    """The voting page and the content security policy it is served under."""
    from chatgenbench.report import notes

    script = _text("vote.js")
    policy = _policy(script, "img-src 'self' data:", "connect-src 'self'", "frame-ancestors 'none'")
    name = notes.benchmark(booth.match.a.summary)
    session = {"token": token, "voter": voter}
    return _render("vote.html.j2", script, "vote.css", policy=policy, benchmark=name, session=session), policy


def _render(template: str, script: str, css: str, **values: Any) -> bytes:
    style = (page.TEMPLATES / "style.css").read_text("utf-8") + _text(css)
    html = _environment().get_template(template).render(style=style, script=script, **values)
    return html.encode("utf-8", "replace")


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def _policy(script: str, *more: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    parts = ("default-src 'none'", f"script-src 'sha256-{digest}'", "style-src 'unsafe-inline'", *more)
    return "; ".join((*parts, "base-uri 'none'", "form-action 'none'"))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["embed_json"] = page.embed_json
    return environment
