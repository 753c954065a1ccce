"""DINO image-image similarity: how much a drawn picture looks like the gold picture, by a self-supervised ViT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from t2imetrics._card import MetricCard, Weights
from t2imetrics._images import long_side, normalise, to_tensor
from t2imetrics._scorer import Floats, PictureScorer, Setting
from t2imetrics._weights import fetch_folder, find_part, or_damaged, read_json, require_finite
from t2imetrics.clip_image import likeness

if TYPE_CHECKING:
    import torch

REPOSITORY, FILE = "facebook/dino-vits16", "pytorch_model.bin"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImageNetCrop:
    """DINO's preprocessing for evaluation (eval_knn.py of facebookresearch/dino), as torchvision does it.

    Shortest side to 8/7 of `size` (256 for 224) by PIL bicubic, then the middle `size` x `size`.
    """

    size: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __call__(self, image: Image.Image) -> torch.Tensor:
        width, height = image.size
        short = self.size * 8 // 7
        long = long_side(image, short)
        shape = (short, long) if width <= height else (long, short)
        left, top = (round((side - self.size) / 2.0) for side in shape)
        resized = image if shape == image.size else image.resize(shape, Image.Resampling.BICUBIC)
        cropped = resized.crop((left, top, left + self.size, top + self.size))
        return normalise(to_tensor(cropped), self.mean, self.std)


class Dino(PictureScorer):
    """Cosine x 100 of DINO's [CLS] features of two pictures.

    Args:
        setting: weights, device, batch size.
    """

    card = MetricCard(
        name="dino",
        title="DINO",
        unit="cosine x 100",
        lower=-100.0,
        upper=100.0,
        higher_is_better=True,
        reads="images+images",
        text_limit=None,
        reduction="mean",
        failed_value=0.0,
        source="Ruiz et al., DreamBooth, arXiv 2208.12242, section 4 (DINO)",
        weights=Weights(f"{REPOSITORY}/{FILE}"),
        note="ViT-S/16, [CLS] of the last layer; shortest side to 256, centre crop of 224",
    )

    def __init__(self, setting: Setting) -> None:
        self.setting, self.device = setting, setting.torch_device()
        self.model, weights = _load(setting)
        require_finite(weights, self.model)
        self.model.requires_grad_(False).to(self.device)
        size = int(self.model.config.image_size)
        self.how = ImageNetCrop(size)
        self.hows = (self.how,)
        note = self.card.note if setting.weights == "published" else f"not the published network; crop of {size}"
        self.card = replace(self.card, weights=weights, note=note)

    def rows(self, batch: Any, against: Any) -> Floats:
        """Values of one batch of pictures against a batch of gold pictures, shape (n,), cosine x 100."""
        return likeness(self.features(batch), self.features(against))

    def features(self, batch: Any) -> torch.Tensor:
        """[CLS] after the last normalisation layer; float32 (n, dim) on the CPU."""
        with self.setting.running():
            hidden: torch.Tensor = self.model(pixel_values=batch.pixels(self.how).to(self.device)).last_hidden_state
        return hidden[:, 0].float().cpu()


def _load(setting: Setting) -> tuple[Any, Weights]:
    from transformers import ViTConfig, ViTModel

    from t2imetrics._hf import load_model

    if setting.weights == "published":
        folder, weights = fetch_folder(REPOSITORY, ("config.json", FILE), FILE)
        path = folder / FILE
    else:
        folder, weights = find_part("dino", setting.weights, "dino")
        path = folder / "model.safetensors"
    about = folder / "config.json"
    config = or_damaged(about, lambda: ViTConfig.from_dict(read_json(about)))
    return load_model(ViTModel, config, path, unused="pooler.", add_pooling_layer=False), weights
