"""Pictures as users of torch have them: tensors, turned into what `Scorer.score` opens.  Imports torch."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from t2imetrics._scorer import listed
from t2imetrics.errors import ImageError, InputError


def pictures(images: Any) -> list[Any]:
    """What `Scorer.score` opens: tensors become PIL images, everything else stays as it is."""
    if isinstance(images, torch.Tensor) and images.ndim != 4:
        raise InputError(f"a tensor of pictures has shape (n, 3, height, width), got {tuple(images.shape)}")
    return [
        _picture(image, row) if isinstance(image, torch.Tensor) else image for row, image in enumerate(listed(images))
    ]


def _picture(image: torch.Tensor, row: int) -> Image.Image:
    """RGB picture of a tensor (3, h, w), the inverse of `_images.to_tensor`."""
    if image.ndim != 3 or image.shape[0] != 3 or not image.numel():
        raise ImageError(row, f"a tensor of shape (3, height, width) is needed, got {tuple(image.shape)}")
    if image.is_floating_point():
        image = image.float()
        if not bool(((image >= 0) & (image <= 1)).all()):
            raise ImageError(row, "float tensors hold values in 0..1; scale or clamp yours, or give uint8")
        image = image.mul(255).round().to(torch.uint8)
    if image.dtype != torch.uint8:
        raise ImageError(row, f"tensors are uint8 in 0..255 or float in 0..1, got {image.dtype}")
    return Image.fromarray(image.detach().permute(1, 2, 0).cpu().contiguous().numpy())
