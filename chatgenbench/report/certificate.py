"""The certificate of a run: how far pixels and scores move when rows are drawn at another batch size."""

from __future__ import annotations

from typing import Any

from chatgenbench.evaluate.certify import certificate_of
from chatgenbench.report import notes, numbers
from chatgenbench.report.data import RunData


def certificate_view(run: RunData) -> dict[str, Any] | None:
    """`text`, `where` it was drawn, lines on `pixels`, and `scores`: title, drift and the width of the interval."""
    found = certificate_of(run.summary)
    if found is None:
        return None
    pixels = found["pixels"]
    return {
        "text": notes.certificate(run.summary),
        "where": f"{found['device']}, {found['dtype']}",
        "pixels": [
            ("Largest change of a channel", f"{pixels['max']} of 255"),
            ("Mean change of a channel", f"{pixels['mean']:.4f} of 255"),
            ("Pixels that changed", f"{pixels['changed']:.2%}"),
        ],
        "scores": [_score(run, metric, moved) for metric, moved in found["scores"].items()],
    }


def _score(run: RunData, metric: str, moved: dict[str, float]) -> dict[str, str]:
    entry = run.entry(metric)
    style = numbers.format_for([entry])
    scale = style.scale
    half = (entry["high"] - entry["low"]) / 2 * scale if entry is not None and numbers.has_interval(entry) else None
    return {
        "title": numbers.title(metric, entry), "max": f"{moved['max'] * scale:.2g}",
        "mean": f"{moved['mean'] * scale:.2g}",
        "half": "" if half is None else f"{half:#.2g}".rstrip("."), "unit": numbers.unit(entry) if entry else "",
    }  # fmt: skip
