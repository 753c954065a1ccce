"""HPSv2: human preference score, a CLIP ViT-H-14 fine-tuned on people's choices between pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from t2imetrics._card import MetricCard, Weights
from t2imetrics._images import FitAndPad
from t2imetrics._scorer import Floats, Ints, PictureScorer, Setting, choose
from t2imetrics._weights import HubFile

REPOSITORY, ARCHITECTURE = "xswu/HPSv2", "ViT-H-14"
CHECKPOINTS = {"2.1": "HPS_v2.1_compressed.pt", "2.0": "HPS_v2_compressed.pt"}


class Hpsv2(PictureScorer):
    """Cosine x 100 of the preference model's picture and text embeddings, in float32 throughout.

    Args:
        setting: weights, device, batch size.
        version: published checkpoint, `2.1` or `2.0`; the two are different scales.
        antialias: how pictures are shrunk; True is torchvision >= 0.17, False the authors' older environment.
    """

    card = MetricCard(
        name="hpsv2",
        title="HPS v2",
        unit="cosine x 100",
        lower=-100.0,
        upper=100.0,
        higher_is_better=True,
        reads="images+text",
        text_limit=77,
        reduction="mean",
        failed_value=0.0,
        source="Wu et al., Human Preference Score v2, arXiv 2306.09341, the preference model",
        weights=Weights(f"{REPOSITORY}/{CHECKPOINTS['2.1']}"),
        note="version 2.1; preprocessing B with antialias",
        text="gold",
    )

    def __init__(self, setting: Setting, version: str = "2.1", antialias: bool = True) -> None:
        from t2imetrics import _clip

        choose("version", version, list(CHECKPOINTS))
        self.setting = setting
        if setting.weights == "published":
            file = HubFile(REPOSITORY, CHECKPOINTS[version])
            self.towers = _clip.load_published(setting, ARCHITECTURE, file, key="state_dict")
            note = f"version {version}"
        else:
            self.towers = _clip.load_folder(setting, "hps")
            note = "not a published version"
            # the published scale starts far above 0; of other weights nobody knows, so a failed row gets the worst
            self.card = replace(self.card, failed_value=self.card.lower)
        self.how = FitAndPad(self.towers.size, self.towers.mean, self.towers.std, antialias)
        self.hows = (self.how,)
        note += f"; preprocessing B with{'' if antialias else 'out'} antialias"
        self.card = replace(self.card, text_limit=self.towers.text_limit, weights=self.towers.weights, note=note)

    def rows(self, batch: Any, against: Sequence[str]) -> Floats:
        """Values of one batch, shape (n,), cosine x 100."""
        return 100.0 * self.towers.cosine(batch, against, self.how)

    def tokens(self, texts: Sequence[str]) -> Ints:
        return self.towers.tokens(texts)
