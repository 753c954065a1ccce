"""PickScore: a CLIP ViT-H-14 fine-tuned on people's choices between two pictures of one prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from t2imetrics._card import MetricCard, Weights
from t2imetrics._images import CLIP_MEAN, CLIP_STD, long_side
from t2imetrics._scorer import Floats, Ints, PictureScorer, Setting
from t2imetrics._weights import fetch_folder, find_part, together

if TYPE_CHECKING:
    import torch

    from t2imetrics._clip import Towers

REPOSITORY, FILES = "yuvalkirstain/PickScore_v1", ("config.json", "model.safetensors")
#: Its authors use the tokenizer of the model it was tuned from.
WORDS, WORD_FILES = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", ("vocab.json", "merges.txt")


@dataclass(frozen=True)
class HfCrop:
    """transformers' CLIP preprocessing as a value, equal to `CLIPImageProcessorPil` bit for bit.

    Shortest side to `size` by PIL bicubic and a centre crop that rounds down, where preprocessing A rounds to even;
    the two differ by one pixel on some shapes.
    """

    size: int
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    def __call__(self, image: Image.Image) -> torch.Tensor:
        import torch

        width, height = image.size
        long = long_side(image, self.size)
        shape = (self.size, long) if width <= height else (long, self.size)
        resized = image.resize(shape, Image.Resampling.BICUBIC)
        left, top = ((side - self.size) // 2 for side in shape)
        pixels = np.asarray(resized.crop((left, top, left + self.size, top + self.size)))
        scaled = (pixels.astype(np.float64) * (1 / 255)).astype(np.float32)
        normal = (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return torch.from_numpy(np.ascontiguousarray(normal.transpose(2, 0, 1)))


class PickScore(PictureScorer):
    """Cosine of the preference model's picture and text embeddings times its learned scale.

    Args:
        setting: weights, device, batch size.
    """

    card = MetricCard(
        name="pickscore",
        title="PickScore",
        unit="cosine x the model's learned scale (about 100)",
        lower=-100.0,
        upper=100.0,
        higher_is_better=True,
        reads="images+text",
        text_limit=77,
        reduction="mean",
        failed_value=0.0,
        source="Kirstain et al., Pick-a-Pic, arXiv 2305.01569, the PickScore model",
        weights=Weights(f"{REPOSITORY}/model.safetensors"),
        note="v1; transformers' CLIP preprocessing and tokenizer; no softmax",
        text="gold",
    )

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.towers = _load(setting)
        self.scale = float(self.towers.model.clip.logit_scale.exp())
        self.how = HfCrop(self.towers.size, self.towers.mean, self.towers.std)
        self.hows = (self.how,)
        version = self.card.note if setting.weights == "published" else "not a published version"
        self.card = replace(
            self.card,
            lower=-self.scale,
            upper=self.scale,
            text_limit=self.towers.text_limit,
            weights=self.towers.weights,
            note=f"{version}; scale {self.scale:.4f}",
        )

    def rows(self, batch: Any, against: Sequence[str]) -> Floats:
        """Values of one batch, shape (n,), scale x cosine."""
        return self.scale * self.towers.cosine(batch, against, self.how)

    def tokens(self, texts: Sequence[str]) -> Ints:
        return self.towers.tokens(texts)


def _load(setting: Setting) -> Towers:
    from t2imetrics._hf import clip_towers

    if setting.weights == "published":
        folder, weights = fetch_folder(REPOSITORY, FILES, "model.safetensors")
        words, vocabulary = fetch_folder(WORDS, WORD_FILES, "vocab.json")
        return clip_towers(folder, words, replace(weights, files=together(weights, vocabulary)), setting)
    folder, weights = find_part("pickscore", setting.weights, "pick")
    return clip_towers(folder, folder, weights, setting)
