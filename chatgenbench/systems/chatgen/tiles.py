"""A picture as InternVL2 sees it: square tiles of a grid that fits its shape, and the whole as one more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chatgenbench.errors import PlanError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

#: Side of a tile in pixels, and the most tiles of a picture without the whole (InternVL2's published setting).
SIDE, MOST = 448, 12
#: ImageNet's mean and deviation of each channel, which InternViT was trained with.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def tiles(path: Path, side: int = SIDE, most: int = MOST) -> torch.Tensor:
    """(tiles, 3, side, side) float32, row by row, the whole picture last where there are several.

    Raises:
        PlanError: the picture cannot be read.
    """
    import torch
    from PIL import Image

    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise PlanError(f"the reference picture {path.name} cannot be read: {error}") from None
    columns, rows = grid(picture.width, picture.height, most, side)
    whole = picture.resize((columns * side, rows * side), Image.Resampling.BICUBIC)
    boxes = [(x * side, y * side, (x + 1) * side, (y + 1) * side) for y in range(rows) for x in range(columns)]
    parts = [whole.crop(box) for box in boxes]
    if len(parts) > 1:
        parts.append(picture.resize((side, side), Image.Resampling.BICUBIC))
    return torch.stack([_normal(part) for part in parts])


def grid(width: int, height: int, most: int = MOST, side: int = SIDE) -> tuple[int, int]:
    """Columns and rows, at most `most` tiles, whose shape is nearest to the picture's.

    Of equally near ones the larger wins only where the picture has more than half its pixels.
    """
    shapes = sorted(
        ((c, r) for c in range(1, most + 1) for r in range(1, most + 1) if c * r <= most), key=lambda s: s[0] * s[1]
    )
    best, nearest = (1, 1), float("inf")
    for columns, rows in shapes:
        off = abs(width / height - columns / rows)
        large = width * height > 0.5 * side * side * columns * rows
        if off < nearest or (off == nearest and large):
            best, nearest = (columns, rows), off
    return best


def _normal(part: Image) -> torch.Tensor:
    import numpy as np
    import torch

    values = np.asarray(part, dtype=np.float32) / 255.0
    mean, deviation = np.asarray(MEAN, np.float32), np.asarray(DEVIATION, np.float32)
    return torch.from_numpy((values - mean) / deviation).permute(2, 0, 1).contiguous()
