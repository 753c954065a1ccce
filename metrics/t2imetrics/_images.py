"""Open pictures, and the two preprocessings this field uses.

A (CLIP, ImageReward): shortest side to `size` by PIL bicubic, centre crop.
B (HPSv2): to a float tensor first, longest side to `size` by tensor bicubic, zero padding before normalisation.
Both give the numbers of torchvision's transforms bit for bit.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from t2imetrics.errors import ImageError

if TYPE_CHECKING:
    import torch

#: How many times longer than its shortest side a picture may be before a crop of its middle is refused.
LONGEST = 100
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def open_rgb(picture: Any, row: int = 0) -> Image.Image:
    """A picture as 8-bit RGB; transparency lies on white, of an animation the first frame is taken.

    Args:
        picture: a path, bytes of a file, a file object or a `PIL.Image.Image`.
        row: named in the error.

    Raises:
        ImageError: not a picture, or a broken one.
    """
    try:
        if isinstance(picture, Image.Image):
            return _on_white(_with_pixels(picture))
        source = io.BytesIO(picture) if isinstance(picture, (bytes, bytearray)) else picture
        with Image.open(source) as image:
            return _on_white(_with_pixels(image))
    except Exception as error:  # PIL raises OSError, SyntaxError, ValueError, struct.error, bombs ...
        name = f"{os.fspath(picture)}: " if isinstance(picture, (str, os.PathLike)) else ""
        raise ImageError(row, name + (str(error) or type(error).__name__)) from None


def _with_pixels(image: Image.Image) -> Image.Image:
    if not min(image.size):
        raise ValueError(f"it has no pixels ({image.width} x {image.height})")
    return image


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("pixels in floating point (mode F) have no agreed range: scale yours and convert to mode L")
    if image.mode.startswith("I"):
        return _deep_grey(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """More than 8 bits a pixel: PIL would clip them to white, and lay what is clear on black."""
    values = np.asarray(image)
    deep = image.mode.startswith("I;16") or values.max() > 255  # mode I holds whatever its maker put in
    grey = (values >> 8 if deep else values).clip(0, 255).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey = np.where(values == clear, np.uint8(255), grey)
    return Image.fromarray(grey).convert("RGB")


def long_side(image: Image.Image, short: int) -> int:
    """Longest side, rounded down, once the shortest is `short` pixels.

    Raises:
        ValueError: a strip so long that resizing it whole would fill the memory for one crop of its middle.
    """
    least, most = sorted(image.size)
    if most > LONGEST * least:
        raise ValueError(f"{image.width} x {image.height} pixels is a strip: sides may differ by {LONGEST} times")
    return int(short * most / least)


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    """Preprocessing A on pixels: shortest side to `size`, then the middle `size` x `size`."""
    width, height = image.size
    other = long_side(image, size)
    shape = (size, other) if width <= height else (other, size)
    if shape != image.size:
        image = image.resize(shape, Image.Resampling.BICUBIC)
    left, top = (round((side - size) / 2.0) for side in shape)
    return image.crop((left, top, left + size, top + size))


def to_tensor(image: Image.Image) -> torch.Tensor:
    """RGB picture -> float32 (3, height, width) in 0..1."""
    import torch

    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)


def normalise(pixels: torch.Tensor, mean: Any, std: Any) -> torch.Tensor:
    """(3, h, w) in 0..1 -> zero mean, unit deviation per channel."""
    import torch

    shape = (3, 1, 1)
    return (pixels - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


def preprocess_a(image: Image.Image, size: int, mean: Any = CLIP_MEAN, std: Any = CLIP_STD) -> torch.Tensor:
    """Preprocessing A: float32 (3, size, size)."""
    return normalise(to_tensor(centre_crop(image, size)), mean, std)


def fit_and_pad(pixels: torch.Tensor, size: int, antialias: bool = True) -> torch.Tensor:
    """Preprocessing B on (3, h, w) in 0..1: longest side to `size`, zeros around to a square; nothing is clamped."""
    import torch.nn.functional as functional

    height, width = pixels.shape[1:]
    scale = size / float(max(height, width))
    new = (max(1, round(height * scale)), max(1, round(width * scale)))
    if scale != 1.0:
        pixels = functional.interpolate(
            pixels[None], size=new, mode="bicubic", align_corners=False, antialias=antialias
        )[0]
    down, across = size - new[0], size - new[1]
    return functional.pad(pixels, [across // 2, across - across // 2, down // 2, down - down // 2])


def preprocess_b(
    image: Image.Image, size: int, mean: Any = CLIP_MEAN, std: Any = CLIP_STD, antialias: bool = True
) -> torch.Tensor:
    """Preprocessing B: float32 (3, size, size).

    `antialias=True` is what torchvision >= 0.17 does; older ones did not, and the pixels differ visibly.
    """
    return normalise(fit_and_pad(to_tensor(image), size, antialias), mean, std)


@dataclass(frozen=True)
class CentreCrop:
    """Preprocessing A as a value: two metrics that ask for the same share its pixels."""

    size: int
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return preprocess_a(image, self.size, self.mean, self.std)


@dataclass(frozen=True)
class FitAndPad:
    """Preprocessing B as a value."""

    size: int
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    antialias: bool = True

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return preprocess_b(image, self.size, self.mean, self.std, self.antialias)
