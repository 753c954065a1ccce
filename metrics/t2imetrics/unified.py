"""The unified score of the ChatGen tables: one number from the four picture metrics of a whole run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from t2imetrics._card import MetricCard
from t2imetrics._scorer import Floats, Scorer
from t2imetrics.errors import InputError

PARTS = ("fid", "clipscore", "hpsv2", "imagereward")


def unified(fid: float, clipscore: float, hpsv2: float, imagereward: float) -> float:
    """[(100 - FID) + CLIP + 10 (HPSv2 - 20) + (100 IR + 50)] / 4.

    Args:
        fid: Frechet distance, of one split only.
        clipscore: mean CLIP score in convention `hessel100`.
        hpsv2: mean HPSv2, cosine x 100.
        imagereward: mean standardised reward (the paper prints it x 100; here it is not).

    The formula was fitted to the ten published rows of arXiv 2411.17176 (error at most 0.025 on nine, 0.075 on
    one), not stated by the paper.
    """
    return ((100 - fid) + clipscore + 10 * (hpsv2 - 20) + (100 * imagereward + 50)) / 4


class Unified(Scorer):
    """The unified score from the four means of a run."""

    card = MetricCard(
        name="unified",
        title="unified",
        unit="points",
        lower=float("-inf"),
        upper=float("inf"),
        higher_is_better=True,
        reads="scores",
        text_limit=None,
        reduction="set",
        failed_value=float("nan"),
        source="Jia et al., ChatGen, arXiv 2411.17176, results tables (formula recovered from the rows)",
        note="compared only within one split",
    )

    def score(self, rows: Sequence[Mapping[str, float]], against: Sequence[Any] = ()) -> Floats:
        """One value for each mapping with the keys `fid`, `clipscore`, `hpsv2`, `imagereward`; shape (n,).

        Raises:
            InputError: a key is missing.
        """
        for row, values in enumerate(rows):
            if missing := [part for part in PARTS if part not in values]:
                raise InputError(f"row {row}: the unified score needs {', '.join(missing)}")
        return np.array([unified(**{part: float(values[part]) for part in PARTS}) for values in rows], np.float64)
