"""Which metrics there are and how one is loaded."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from t2imetrics._card import MetricCard
from t2imetrics._scorer import Precision, Scorer, Setting, choose
from t2imetrics.errors import MetricError, OptionError, UnknownMetricError, shorten, suggestion

GROUP = "t2imetrics.metrics"
BUILTIN = {
    "bertscore": "t2imetrics.bertscore:BertScore",
    "sbert": "t2imetrics.sbert:Sbert",
    "selection": "t2imetrics.selection:Selection",
    "arguments": "t2imetrics.arguments:Arguments",
    "clipscore": "t2imetrics.clipscore:ClipScore",
    "imagereward": "t2imetrics.imagereward:ImageReward",
    "hpsv2": "t2imetrics.hpsv2:Hpsv2",
    "pickscore": "t2imetrics.pickscore:PickScore",
    "aesthetic": "t2imetrics.aesthetic:Aesthetic",
    "clip_image": "t2imetrics.clip_image:ClipImage",
    "dino": "t2imetrics.dino:Dino",
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
    if not isinstance(name, str):
        raise UnknownMetricError(str(name), names())
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
    """The page about a metric (Markdown): what it measures, its rules and traps; of another package's, its card."""
    found = _metric(name)
    here = Path(__file__).parent
    for folder in (here / "_cards", here.parent / "cards"):
        if (folder / f"{name}.md").is_file():
            return (folder / f"{name}.md").read_text("utf-8")
    return f"# {found.card.title}\n\n{found.card.table()}\n"


def load(
    name: str,
    weights: str | Path = "published",
    device: str = "auto",
    *,
    batch_size: int = 32,
    workers: int = 2,
    precision: Precision = "float32",
    backend: str = "own",
    shelf: dict[Any, Any] | None = None,
    **options: Any,
) -> Scorer:
    """Load a metric.

    Args:
        name: one of `t2imetrics.list()`.
        weights: `published` (downloaded once, then pinned by commit and sha256), `miniature` (small weights that
            travel with the package) or a folder of the miniature's layout.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        batch_size: rows that go through a network at once.
        workers: threads that open and prepare pictures ahead of the network.
        precision: `float32`, or `float16` for networks on a GPU (normalisation and dot products stay float32).
        backend: `own`, or `reference` to run the authors' package where one is installed (`metrics/REFERENCE.md`).
        shelf: networks shared with other metrics; `Suite` fills it.
        options: what the metric's page lists, e.g. `convention="cosine"` for `clipscore`.

    Raises:
        UnknownMetricError: no such metric.
        OptionError: an option or device the metric does not take.
        WeightsError: weights missing, damaged or changed since they were first recorded.
    """
    metric = _metric(name)
    choose("backend", backend, ("own", "reference"))
    setting = Setting(weights, device, batch_size, workers, precision, {} if shelf is None else shelf)
    if backend == "reference":
        from t2imetrics.reference import load as load_reference

        scorer: Scorer = load_reference(name, setting, **options)
        return scorer
    parameters = inspect.signature(metric).parameters.values()
    known = [p.name for p in parameters if p.name != "setting" and p.kind is not p.VAR_KEYWORD]
    for option in options:
        if option not in known:
            hint = suggestion(option, known) if known else ": it takes none"
            raise OptionError(f"metric '{name}' has no option '{shorten(option, 40)}'{hint}")
    scorer = metric(setting, **options)
    if precision != "float32":
        scorer.card = replace(scorer.card, note=f"{scorer.card.note}; networks in {precision}")
    return scorer
