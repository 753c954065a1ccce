"""Claims of a submission against what came out when it was computed again: tolerances, differences, level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from chatgenbench.evaluate.rows import Row
from chatgenbench.evaluate.score import TEXT_METRICS
from chatgenbench.evaluate.stepwise import COLUMNS as STEPWISE
from chatgenbench.leaderboard.cells import SETS
from chatgenbench.leaderboard.manifest import Claim, Manifest
from chatgenbench.leaderboard.results import Level
from chatgenbench.leaderboard.verification import Difference
from chatgenbench.render import Pool
from chatgenbench.schema import DrawnRow

#: The most that a score of the same row may differ between two machines, in the metric's unit; shares not at all.
#: FID and the unified score may differ by this share of their value.
TOLERANCES: Mapping[str, float] = {
    "bertscore": 1e-3, "sbert": 1e-3, "clipscore": 1.0, "imagereward": 0.05, "hpsv2": 0.3, "clip_image": 1.0,
    "fid": 0.02, "unified": 0.02,
}  # fmt: skip
#: For metrics that are not named above: this share of the claimed value, or of 1 if that is smaller.
RELATIVE = 0.02
#: Pictures are the same when at most so many of the 64 bits of their perceptual hashes differ.
PHASH_BITS = 6
#: Share of rows that may stray when the pictures were drawn by another engine (versions, kind of device, dtype).
STRAY = 0.05


class Record:
    """What was found to differ.  `told` are the CSV's cells by item; `largest` the largest difference by metric;
    `exact` counts pictures whose very bytes came out again."""

    def __init__(self, manifest: Manifest, told: Mapping[str, Mapping[str, str]]) -> None:
        self._manifest, self._told = manifest, told
        self.failures: list[Difference] = []
        self.largest: dict[str, float] = {}
        self.exact = 0
        self._stray: set[str] = set()
        self._wrong = False

    def compare(self, values: Mapping[str, Any], rows: Sequence[Row], metrics: Sequence[str]) -> None:
        """The values of some metrics, row by row, and their mean over these rows."""
        for metric in metrics:
            gaps = []
            for row, found in zip(rows, values[metric], strict=True):
                cell = self._told[row.item.id].get(metric, "")
                claimed = float(cell) if cell else math.nan
                gaps.append(claimed - float(found))
                if math.isnan(gaps[-1]) or abs(gaps[-1]) > allowed(metric, claimed):
                    self._note(row.item.id, metric, cell, f"{found:.6g}", stray=not _of_plans(metric))
            known = [abs(gap) for gap in gaps if not math.isnan(gap)]
            self.largest[metric] = max(self.largest.get(metric, 0.0), round(max(known, default=0.0), 9))
            self._mean(metric, gaps, np.asarray(values[metric], dtype=float))

    def _mean(self, metric: str, gaps: Sequence[float], found: np.ndarray[Any, Any]) -> None:
        """Rows that stray may not lift the mean: of honest ones some come out higher and some lower."""
        if not gaps or not math.isfinite(mean := float(np.mean(gaps))):
            return
        now = float(found.mean())
        if abs(mean) > allowed(metric, now):
            self._note("", f"mean {metric} of {len(gaps)} rows", f"{now + mean:.6g}", f"{now:.6g}", stray=False)

    def pictures(self, drawn: Mapping[str, DrawnRow], pool: Pool) -> None:
        """Each new picture against the claimed one, by its bytes or else by its perceptual hash."""
        import imagehash

        for item, row in drawn.items():
            told = self._told[item]
            if row.picture is None:
                self._note(item, "picture", told["image_sha256"], row.reason or "cannot be drawn", stray=True)
            elif row.image_sha256 == told["image_sha256"]:
                self.exact += 1
            else:
                with pool.read(row.picture) as image:
                    found = imagehash.phash(image.convert("RGB"))
                bits = 64
                with suppress(ValueError):
                    bits = int(found - imagehash.hex_to_hash(told["image_phash"]))
                if bits > PHASH_BITS:
                    what = f"picture ({bits} of 64 bits differ)"
                    self._note(item, what, told["image_phash"], str(found), stray=True)

    def sets(self, summary: Mapping[str, Any]) -> None:
        """Values and intervals of the whole set and of slices, when every picture was drawn again."""
        self._set("", self._manifest.metrics, summary["metrics"])
        for where, claims in self._manifest.slices.items():
            self._set(where, claims, summary["slices"].get(where, {}))

    def _set(self, where: str, claims: Mapping[str, Claim], metrics: Mapping[str, Any]) -> None:
        for name in SETS:
            claim, found = claims.get(name), metrics.get(name)
            if claim is None:
                continue
            for end in ("value", "low", "high"):
                told, now = getattr(claim, end), None if found is None else found[end]
                if told is None and now is None:
                    continue
                gap = math.inf if told is None or now is None else abs(told - now)
                if end == "value" and not where and math.isfinite(gap):
                    self.largest[name] = round(gap, 9)
                if gap > TOLERANCES[name] * max(abs(told or 0), abs(now or 0), 1.0):
                    what = " ".join(filter(None, (name, where, "" if end == "value" else end)))
                    self._note("", what, f"{told}", f"{now}", stray=False)

    def level(self, rerun: int, drawn: int, same_engine: bool) -> Level:
        """What the entry has earned: `rerun` of `drawn` pictures were drawn again."""
        if self._wrong or len(self._stray) > (0 if same_engine else STRAY * rerun):
            return "claimed"
        if not rerun:
            return "checked" if drawn or not self._manifest.run.drawn else "reproduced"
        return "reproduced" if rerun == drawn else "spot-rerun"

    def _note(self, item: str, what: str, claimed: str, found: str, stray: bool) -> None:
        self.failures.append(Difference(item=item, what=what, claimed=claimed, found=found))
        if stray:
            self._stray.add(item)
        else:
            self._wrong = True


def allowed(metric: str, value: float) -> float:
    """How far a score of this value may be off."""
    if metric in STEPWISE:
        return 1e-6
    return TOLERANCES.get(metric, RELATIVE * max(1.0, abs(value)))


def _of_plans(metric: str) -> bool:
    return metric in (*TEXT_METRICS, *STEPWISE)
