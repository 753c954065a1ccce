"""Metrics as the authors' packages compute them: the yardstick our own code is held to.

    scorer = t2imetrics.load("imagereward", weights="miniature", backend="reference")

The packages `image-reward` and `hpsv2` cannot be installed as dependencies next to current libraries; `make reference`
installs them without theirs, and a few stubs stand in while they load.  See `metrics/REFERENCE.md`.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from t2imetrics._scorer import Scorer, Setting
from t2imetrics.errors import OptionError, shorten, suggestion

#: metric -> class that runs the authors' package
BACKENDS = {
    "hpsv2": "t2imetrics.reference.hpsv2:Hpsv2",
    "imagereward": "t2imetrics.reference.imagereward:ImageReward",
}


def load(name: str, setting: Setting, **options: Any) -> Scorer:
    """Load the authors' own implementation of a metric.

    Args:
        name: one of `BACKENDS`.
        setting: weights, device; batch size and workers have no effect, the packages read row by row.
        options: those of the class, e.g. `version="2.0"` for `hpsv2`.

    Raises:
        OptionError: no reference for this metric, its package is not installed, or an option it does not take.
        WeightsError: weights that are missing, damaged, or of a shape the package's code cannot have.
    """
    if name not in BACKENDS:
        raise OptionError(f"metric '{shorten(name, 40)}' has no backend 'reference': only {' and '.join(BACKENDS)} do")
    module, _, attribute = BACKENDS[name].partition(":")
    metric: type[Scorer] = getattr(import_module(module), attribute)
    known = [option for option in inspect.signature(metric).parameters if option != "setting"]
    for option in options:
        if option not in known:
            hint = suggestion(option, known) if known else ": it takes none"
            raise OptionError(f"metric '{name}' has no option '{shorten(option, 40)}'{hint}")
    return metric(setting, **options)
