"""FID: Frechet distance between the features of two sets of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from t2imetrics._card import MetricCard, Weights
from t2imetrics._frechet import Moments, frechet
from t2imetrics._images import open_rgb, preprocess_a
from t2imetrics._scorer import Floats, Scorer, Setting, batches
from t2imetrics._weights import UrlFile, fetch, or_damaged, read_checkpoint

__all__ = ["Fid", "Moments", "fid", "fid_of", "frechet"]

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
    """Frechet distance between two sets given by their moments."""
    return frechet(a.mean, a.covariance, b.mean, b.covariance)


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
        self.features_of, weights, note = load(setting)
        self.card = replace(self.card, weights=weights, note=note)

    def features(self, images: Sequence[Any]) -> Floats:
        """Features of pictures, shape (n, d)."""
        return self.features_of(images)

    def failed_features(self) -> Floats:
        """Features of a plain grey picture, shape (1, d): what a row without a picture adds to the set."""
        return self.features([Image.new("RGB", (64, 64), (127, 127, 127))])

    def score(self, rows: Sequence[Any], against: Sequence[Any]) -> Floats:
        """Distance of two sets of pictures, which may differ in number; shape (1,)."""
        return np.array([fid(self.features(rows), self.features(against))])


Features = Callable[[Sequence[Any]], Floats]


def _inception(setting: Setting) -> tuple[Features, Weights, str]:
    import torch

    from t2imetrics import _inception as inception

    path, weights = fetch(INCEPTION)
    device = setting.torch_device()
    network = or_damaged(path, lambda: inception.build(read_checkpoint(path))).to(device)

    @torch.inference_mode()
    def features(images: Sequence[Any]) -> Floats:
        done = [np.empty((0, inception.WIDTH))]
        for at in batches(range(len(images)), setting.batch_size):
            pixels = torch.stack([inception.preprocess(open_rgb(images[i], i)) for i in at])
            done.append(network(pixels.to(device)).double().cpu().numpy())
        return np.concatenate(done)

    return features, weights, Fid.card.note


def _picture_tower(setting: Setting) -> tuple[Features, Weights, str]:
    from t2imetrics import _clip

    towers = _clip.load_folder(setting, "clip")
    note = f"not Inception: unit vectors of the CLIP picture tower times {TOWER_SCALE:g}; preprocessing A"

    def features(images: Sequence[Any]) -> Floats:
        raw = towers.embed_images(images, preprocess_a).numpy().astype(np.float64)
        scaled: Floats = TOWER_SCALE * raw / np.linalg.norm(raw, axis=1, keepdims=True).clip(min=1e-12)
        return scaled

    return features, towers.weights, note + "; a failed row enters as a grey picture"
