"""CLIPScore: how well a picture and its text agree, by CLIP's cosine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from t2imetrics._card import MetricCard, Weights
from t2imetrics._images import CentreCrop
from t2imetrics._scorer import Floats, Ints, PictureScorer, Setting, choose, listed, require_texts

TAG = "openai"
#: backbone -> open_clip's architecture (OpenAI's weights were trained with QuickGELU)
BACKBONES = {"ViT-L/14": "ViT-L-14-quickgelu", "ViT-B/32": "ViT-B-32-quickgelu"}
#: convention -> (factor, clipped at zero, unit)
CONVENTIONS = {
    "hessel100": (250.0, True, "2.5 x max(cosine, 0) x 100"),
    "hessel": (2.5, True, "2.5 x max(cosine, 0)"),
    "cosine100": (100.0, False, "cosine x 100"),
    "cosine": (1.0, False, "cosine"),
}


class ClipScore(PictureScorer):
    """Cosine of CLIP's picture and text embeddings under a named convention.

    Args:
        setting: weights, device, batch size.
        convention: `hessel100` (2.5 max(cos, 0) x 100; the scale of the ChatGen tables), `hessel` (as published,
            2.5 max(cos, 0)), `cosine100`, `cosine`.
        backbone: published weights, `ViT-L/14` or `ViT-B/32` (Hessel et al.); their scales differ.
        prefix: put before every text; Hessel et al. used "A photo depicts ", most later work nothing.
    """

    card = MetricCard(
        name="clipscore",
        title="CLIP score",
        unit=CONVENTIONS["hessel100"][2],
        lower=0.0,
        upper=250.0,
        higher_is_better=True,
        reads="images+text",
        text_limit=77,
        reduction="mean",
        failed_value=0.0,
        source="Hessel et al., CLIPScore, arXiv 2104.08718, section 3",
        weights=Weights(f"open_clip {BACKBONES['ViT-L/14']} {TAG}"),
        note="convention hessel100; preprocessing A; no prefix",
        text="gold",
    )

    def __init__(
        self, setting: Setting, convention: str = "hessel100", prefix: str = "", backbone: str = "ViT-L/14"
    ) -> None:
        from t2imetrics import _clip

        choose("backbone", backbone, list(BACKBONES))
        self.setting = setting
        self.factor, self.clipped, unit = CONVENTIONS[choose("convention", convention, list(CONVENTIONS))]
        self.prefix = prefix
        if setting.weights == "published":
            self.towers = _clip.load_tagged(setting, BACKBONES[backbone], TAG)
        else:
            self.towers = _clip.load_folder(setting, "clip")
        self.how = CentreCrop(self.towers.size, self.towers.mean, self.towers.std)
        self.hows = (self.how,)
        self.card = replace(
            self.card,
            unit=unit,
            lower=0.0 if self.clipped else -self.factor,
            upper=self.factor,
            text_limit=self.towers.text_limit,
            weights=self.towers.weights,
            note=f"convention {convention}; preprocessing A; prefix {prefix!r}",
        )

    def rows(self, batch: Any, against: Sequence[str]) -> Floats:
        """Values of one batch in the convention's unit, shape (n,)."""
        cosine = self.towers.cosine(batch, [self.prefix + text for text in against], self.how)
        return self.factor * (cosine.clip(min=0.0) if self.clipped else cosine)

    def tokens(self, texts: Sequence[str]) -> Ints:
        return self.towers.tokens([self.prefix + text for text in require_texts(listed(texts))])
