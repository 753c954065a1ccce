"""Which metrics there are and how one is loaded."""

from __future__ import annotations

import inspect
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from t2imetrics._card import MetricCard
from t2imetrics._scorer import Scorer, Setting
from t2imetrics.errors import MetricError, OptionError, UnknownMetricError, shorten, suggestion

GROUP = "t2imetrics.metrics"
BUILTIN = {
    "bertscore": "t2imetrics.bertscore:BertScore",
    "selection": "t2imetrics.selection:Selection",
    "arguments": "t2imetrics.arguments:Arguments",
    "clipscore": "t2imetrics.clipscore:ClipScore",
    "hpsv2": "t2imetrics.hpsv2:Hpsv2",
    "imagereward": "t2imetrics.imagereward:ImageReward",
    "fid": "t2imetrics.fid:Fid",
    "unified": "t2imetrics.unified:Unified",
}


@cache
def _external() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in BUILTIN}


def names() -> tuple[str, ...]:
    """All metric names: the built-in ones in table order, then those of other packages."""
    return (*BUILTIN, *sorted(_external()))


def _metric(name: str) -> type[Scorer]:
    if name in BUILTIN:
        module, _, attribute = BUILTIN[name].partition(":")
        found: Any = getattr(import_module(module), attribute)
    elif name in _external():
        try:
            found = _external()[name].load()
        except Exception as error:
            raise MetricError(f"metric '{name}' of another package cannot be imported: {shorten(error)}") from error
    else:
        raise UnknownMetricError(name, names())
    if not (inspect.isclass(found) and issubclass(found, Scorer) and hasattr(found, "card")):
        raise MetricError(f"metric '{name}' is not a t2imetrics.Scorer class with a card")
    return found


def card(name: str) -> MetricCard:
    """The card of a metric in its published form; loads no weights and does not import torch."""
    return _metric(name).card


def card_text(name: str) -> str:
    """The page about a built-in metric (Markdown): what it measures, its rules and traps."""
    _metric(name)
    here = Path(__file__).parent
    for folder in (here / "_cards", here.parent / "cards"):
        if (folder / f"{name}.md").is_file():
            return (folder / f"{name}.md").read_text("utf-8")
    raise MetricError(f"metric '{name}' has no page")


def load(
    name: str,
    weights: str | Path = "published",
    device: str = "auto",
    *,
    batch_size: int = 32,
    **options: Any,
) -> Scorer:
    """Load a metric.

    Args:
        name: one of `t2imetrics.list()`.
        weights: `published` (downloaded once, then pinned by commit and sha256), `miniature` (small weights that
            travel with the package) or a folder of the miniature's layout.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        batch_size: rows that go through a network at once.
        options: what the metric's page lists, e.g. `convention="cosine"` for `clipscore`.

    Raises:
        UnknownMetricError: no such metric.
        OptionError: an option or device the metric does not take.
        WeightsError: weights missing, damaged or changed since they were first recorded.
    """
    metric = _metric(name)
    parameters = inspect.signature(metric).parameters.values()
    known = [p.name for p in parameters if p.name != "setting" and p.kind is not p.VAR_KEYWORD]
    for option in options:
        if option not in known:
            hint = suggestion(option, known) if known else ": it takes none"
            raise OptionError(f"metric '{name}' has no option '{shorten(option, 40)}'{hint}")
    return metric(Setting(weights, device, batch_size), **options)
