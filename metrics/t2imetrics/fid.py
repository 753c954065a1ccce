"""FID: Frechet distance between the features of two sets of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from t2imetrics._card import MetricCard, Weights
from t2imetrics._frechet import Moments, frechet
from t2imetrics._images import CentreCrop
from t2imetrics._scorer import Floats, Scorer, Setting, finite, listed
from t2imetrics._weights import UrlFile, fetch, or_damaged, read_checkpoint, require_finite
from t2imetrics.errors import InputError

__all__ = ["Distance", "Fid", "Moments", "fid", "fid_of", "frechet"]

if TYPE_CHECKING:
    from t2imetrics._batch import Batch, How
    from t2imetrics._clip import Towers

INCEPTION = UrlFile(
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    "6726825d",
)

#: Length of a picture tower's features: squared distances then read on the scale of 100 x cosine.
TOWER_SCALE = 10.0


def fid(features_a: ArrayLike, features_b: ArrayLike) -> float:
    """Frechet distance between two sets of features (n, d) and (m, d), n and m at least 2."""
    return fid_of(Moments.of(features_a), Moments.of(features_b))


def fid_of(a: Moments, b: Moments) -> float:
    """Frechet distance between two sets given by their moments.

    Raises:
        InputError: fewer than two rows on a side, or features of different width.
    """
    if min(a.n, b.n) >= 2 and a.total.shape != b.total.shape:
        raise InputError(f"features of {len(a.total)} and {len(b.total)} numbers have no distance")
    return frechet(a.mean, a.covariance, b.mean, b.covariance)


class Distance:
    """FID in parts: the moments of both sets, which workers can add up in any order (equal up to rounding)."""

    def __init__(self) -> None:
        self.drawn: Moments | None = None
        self.reference: Moments | None = None

    def update(self, drawn: ArrayLike, reference: ArrayLike) -> Distance:
        """Add features (n, d) of drawn pictures and (m, d) of reference pictures; either may be empty."""
        self.drawn = _add(self.drawn, Moments.of(drawn))
        self.reference = _add(self.reference, Moments.of(reference))
        return self

    def merge(self, other: Distance) -> Distance:
        """Add what another worker saw."""
        self.drawn, self.reference = _add(self.drawn, other.drawn), _add(self.reference, other.reference)
        return self

    def compute(self) -> float:
        """The distance; InputError unless both sides have at least two pictures."""
        counts = [0 if side is None else side.n for side in (self.drawn, self.reference)]
        if self.drawn is None or self.reference is None or min(counts) < 2:
            raise InputError(f"at least 2 pictures on each side are needed, got {counts[0]} and {counts[1]}")
        return fid_of(self.drawn, self.reference)


def _add(a: Moments | None, b: Moments | None) -> Moments | None:
    if a is None or b is None or not (a.n and b.n):
        return b if a is None or not a.n else a
    return a + b


class Fid(Scorer):
    """Frechet distance; published features are Inception's, those of a folder its CLIP picture tower's.

    Args:
        setting: weights, device, batch size.
    """

    card = MetricCard(
        name="fid",
        title="FID",
        unit="squared distance in feature space",
        lower=0.0,
        upper=float("inf"),
        higher_is_better=False,
        reads="images",
        text_limit=None,
        reduction="set",
        failed_value=float("nan"),
        source="Heusel et al., GANs Trained by a Two Time-Scale Update Rule, arXiv 1706.08500, performance measure",
        weights=Weights("pt_inception-2015-12-05-6726825d.pth"),
        note="Inception pool features (2048), 299 px by PIL bicubic in float; a failed row enters as a grey picture",
    )

    def __init__(self, setting: Setting) -> None:
        load = _inception if setting.weights == "published" else _picture_tower
        self.setting = setting
        self.take, self.hows, self.width, weights, note = load(setting)
        self.card = replace(self.card, weights=weights, note=note)

    def features(self, images: Sequence[Any]) -> Floats:
        """Features of pictures, shape (n, d)."""
        from t2imetrics._batch import prepared

        done = [np.empty((0, self.width))]
        for first, batch in prepared(listed(images), self.setting.batch_size, self.hows, self.setting.workers):
            done.append(finite(self.card.name, self.take(batch), first))
        return np.concatenate(done)

    def failed_features(self) -> Floats:
        """Features of a plain grey picture, shape (1, d): what a row without a picture adds to the set."""
        return self.features([Image.new("RGB", (64, 64), (128, 128, 128))])

    def score(self, rows: Sequence[Any], against: Sequence[Any]) -> Floats:
        """Distance of two sets of pictures, which may differ in number; shape (1,)."""
        return np.array([fid(self.features(rows), self.features(against))])

    def aggregate(self) -> Distance:  # type: ignore[override]
        """An empty aggregate of features (`update(drawn, reference)`, `merge`, `compute`)."""
        return Distance()


#: Features (n, d) of a batch, the preprocessings it needs, d, provenance and note.
Network = tuple[Callable[["Batch"], Floats], tuple["How", ...], int, Weights, str]


def _inception(setting: Setting) -> Network:
    from t2imetrics import _inception as inception

    path, weights = fetch(INCEPTION)
    network = or_damaged(path, lambda: inception.build(read_checkpoint(path))).to(setting.torch_device())
    require_finite(weights, network)
    take = _Pool(network, inception.preprocess, setting)
    return take, (take.how,), inception.WIDTH, weights, Fid.card.note


@dataclass(frozen=True)
class _Pool:
    """Inception's pool features (n, d) of a batch."""

    network: Any
    how: How
    setting: Setting

    def __call__(self, batch: Batch) -> Floats:
        with self.setting.running():
            found = self.network(batch.pixels(self.how).to(self.setting.torch_device()))
        features: Floats = found.double().cpu().numpy()
        return features


def _picture_tower(setting: Setting) -> Network:
    from t2imetrics import _clip

    towers = _clip.load_folder(setting, "clip")
    take = _Units(towers, CentreCrop(towers.size, towers.mean, towers.std))
    note = f"not Inception: unit vectors of the CLIP picture tower times {TOWER_SCALE:g}; preprocessing A"
    width = int(towers.model.visual.output_dim)
    return take, (take.how,), width, towers.weights, note + "; a failed row enters as a grey picture"


@dataclass(frozen=True)
class _Units:
    """Unit vectors of a picture tower times `TOWER_SCALE`, (n, d), of a batch."""

    towers: Towers
    how: How

    def __call__(self, batch: Batch) -> Floats:
        raw = self.towers.image_features(batch, self.how).numpy().astype(np.float64)
        scaled: Floats = TOWER_SCALE * raw / np.linalg.norm(raw, axis=1, keepdims=True).clip(min=1e-12)
        return scaled
