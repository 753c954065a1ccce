"""Any metric of this library as a `torchmetrics.Metric`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from t2imetrics._scorer import Scorer
from t2imetrics.errors import OptionError, shorten

if TYPE_CHECKING:
    from t2imetrics._torchmetric import Adapted

__all__ = ["as_torchmetric"]


def as_torchmetric(scorer: Scorer, **options: Any) -> Adapted:
    """A `torchmetrics.Metric` that scores with `scorer`.

    Its states are sums, so that torchmetrics adds them up over processes; `compute()` is a float64 scalar.

    - `images+text`: `update(images, texts)`; the mean.
    - `images`: `update(images)`; the mean.
    - `images+images`: `update(images, gold)`; the mean.
    - other per-row metrics: `update(rows, against)` as `scorer.score` takes them; the mean.
    - FID: `update(images, real)`, one side at a time; the distance of everything seen.  A batch has no value of its
      own here, so `forward` returns NaN.

    `images` is what `scorer.score` takes, or a tensor (n, 3, h, w), or a list of tensors (3, h, w): uint8 in 0..255,
    or float in 0..1, which becomes the nearest of 256 levels.

    Args:
        scorer: a loaded metric; copies of the torchmetric (`clone`, `MetricTracker`) share it.
        options: keyword arguments of `torchmetrics.Metric`, e.g. `process_group`, `sync_on_compute`.

    Returns:
        A metric whose class is named after the card, with the card's direction and bounds.  `.to(device)` moves its
        states; the networks stay where `scorer` has them.

    Raises:
        OptionError: torchmetrics is not installed, or the metric is one number that cannot be added up (`unified`).

    Example:
        >>> import t2imetrics
        >>> metric = as_torchmetric(t2imetrics.load("selection"))
        >>> metric.update(["dreamshaper", "sdxl"], ["dreamshaper", "juggernaut"])
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """
    try:
        from t2imetrics._torchmetric import adapt
    except ImportError as error:
        raise OptionError(f"as_torchmetric needs torchmetrics: pip install torchmetrics ({shorten(error)})") from None
    if not isinstance(scorer, Scorer):
        raise OptionError(f"as_torchmetric takes a loaded metric, e.g. t2imetrics.load('clipscore'), got {scorer!r}")
    return adapt(scorer, **options)
