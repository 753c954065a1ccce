"""CLIPScore: how well a picture and its text agree, by CLIP's cosine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from t2imetrics._card import MetricCard, Weights
from t2imetrics._images import preprocess_a
from t2imetrics._scorer import Floats, Ints, Scorer, Setting, choose

ARCHITECTURE, TAG = "ViT-L-14-quickgelu", "openai"
#: convention -> (factor, clipped at zero, unit)
CONVENTIONS = {
    "hessel100": (250.0, True, "2.5 x max(cosine, 0) x 100"),
    "cosine100": (100.0, False, "cosine x 100"),
    "cosine": (1.0, False, "cosine"),
}


class ClipScore(Scorer):
    """Cosine of CLIP's picture and text embeddings under a named convention.

    Args:
        setting: weights, device, batch size.
        convention: `hessel100` (2.5 max(cos, 0) x 100; the scale of the ChatGen tables), `cosine100`, `cosine`.
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
        weights=Weights(f"open_clip {ARCHITECTURE} {TAG}"),
        note="convention hessel100; preprocessing A; no prefix",
    )

    def __init__(self, setting: Setting, convention: str = "hessel100", prefix: str = "") -> None:
        from t2imetrics import _clip

        self.factor, self.clipped, unit = CONVENTIONS[choose("convention", convention, list(CONVENTIONS))]
        self.prefix = prefix
        if setting.weights == "published":
            self.towers = _clip.load_tagged(setting, ARCHITECTURE, TAG)
        else:
            self.towers = _clip.load_folder(setting, "clip")
        self.card = replace(
            self.card,
            unit=unit,
            lower=0.0 if self.clipped else -self.factor,
            upper=self.factor,
            text_limit=self.towers.text_limit,
            weights=self.towers.weights,
            note=f"convention {convention}; preprocessing A; prefix {prefix!r}",
        )

    def score(self, rows: Sequence[Any], against: Sequence[str]) -> Floats:
        """Score pictures against texts; shape (n,), in the convention's unit."""
        cosine = self.towers.cosine(rows, [self.prefix + text for text in against], preprocess_a)
        return self.factor * (cosine.clip(min=0.0) if self.clipped else cosine)

    def tokens(self, texts: Sequence[str]) -> Ints:
        return self.towers.tokens([self.prefix + text for text in texts])
