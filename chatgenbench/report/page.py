"""Templates to one HTML file: nothing fetched but pictures that lie beside it, everything hostile escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatgenbench.evaluate.run import write_bytes

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"

#: Characters that could end a script element or start markup, as JSON escapes.
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def write_page(path: Path, template: str, script: str, *, pictures_beside: bool = False, **values: Any) -> Path:
    """Render `template` with `values` and the files style.css and `script` inside it, and write it in one step.

    A content security policy in the page lets only that script run and nothing be fetched, whatever the data hold;
    `pictures_beside` lets it show pictures that lie beside it, and these only where the page itself comes from.

    Raises:
        InfraError: the disk refuses; no half page is left.
    """
    code = (TEMPLATES / script).read_text("utf-8")
    style = (TEMPLATES / "style.css").read_text("utf-8")
    policy = _policy(code, pictures_beside)
    html = _environment().get_template(template).render(style=style, script=code, policy=policy, **values)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, html.encode("utf-8", "replace"))
    return path


def embed_json(value: Any) -> str:
    """`value` as JSON that is safe inside a script element; NaN and infinities are errors."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character, escape in _UNSAFE.items():
        text = text.replace(character, escape)
    return text


def _policy(script: str, pictures_beside: bool) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    images = "data: 'self' file:" if pictures_beside else "data:"
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src {images}; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from chatgenbench.report import charts

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.globals.update(chart_width=charts.WIDTH, chart_label=charts.LABEL, chart_right=charts.RIGHT)
    environment.filters["embed_json"] = embed_json
    return environment
