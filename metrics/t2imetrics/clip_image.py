"""CLIP image-image similarity: how much a drawn picture looks like the gold picture, by CLIP's cosine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from t2imetrics._card import MetricCard, Weights
from t2imetrics._images import CentreCrop
from t2imetrics._scorer import Floats, PictureScorer, Setting, choose
from t2imetrics.clipscore import BACKBONES, TAG

if TYPE_CHECKING:
    import torch


class ClipImage(PictureScorer):
    """Cosine x 100 of CLIP's embeddings of two pictures.

    Args:
        setting: weights, device, batch size.
        backbone: published weights, `ViT-L/14` or `ViT-B/32`; their scales differ.
    """

    card = MetricCard(
        name="clip_image",
        title="CLIP image",
        unit="cosine x 100",
        lower=-100.0,
        upper=100.0,
        higher_is_better=True,
        reads="images+images",
        text_limit=None,
        reduction="mean",
        failed_value=0.0,
        source="Ruiz et al., DreamBooth, arXiv 2208.12242, section 4 (CLIP-I)",
        weights=Weights(f"open_clip {BACKBONES['ViT-L/14']} {TAG}"),
        note="preprocessing A on both pictures",
    )

    def __init__(self, setting: Setting, backbone: str = "ViT-L/14") -> None:
        from t2imetrics import _clip

        choose("backbone", backbone, list(BACKBONES))
        self.setting = setting
        if setting.weights == "published":
            self.towers = _clip.load_tagged(setting, BACKBONES[backbone], TAG)
        else:
            self.towers = _clip.load_folder(setting, "clip")
            # the published scale starts far above 0; of other weights nobody knows, so a failed row gets the worst
            self.card = replace(self.card, failed_value=self.card.lower)
        self.how = CentreCrop(self.towers.size, self.towers.mean, self.towers.std)
        self.hows = (self.how,)
        self.card = replace(self.card, weights=self.towers.weights)

    def rows(self, batch: Any, against: Any) -> Floats:
        """Values of one batch of pictures against a batch of gold pictures, shape (n,), cosine x 100."""
        return likeness(*(self.towers.image_features(one, self.how) for one in (batch, against)))


def likeness(first: torch.Tensor, second: torch.Tensor) -> Floats:
    """Cosine x 100 of features (n, d) and (n, d), row by row; float64 (n,)."""
    from t2imetrics._clip import cosine

    return 100.0 * cosine(first, second)
