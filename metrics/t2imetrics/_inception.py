"""InceptionV3 as FID means it: torchvision's network with TensorFlow's pooling.  Imports torch; import it lazily.

The released weights were ported from TensorFlow's 2015 graph, whose average pools leave out the padding and whose
last block pools by maximum.  torchvision's blocks differ in just these places, so only their pool branch is
replaced here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from PIL import Image
from torchvision.models import Inception3

SIZE, WIDTH = 299, 2048


def _average(x: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(x, kernel_size=3, stride=1, padding=1, count_include_pad=False)


def _maximum(x: torch.Tensor) -> torch.Tensor:
    return functional.max_pool2d(x, kernel_size=3, stride=1, padding=1)


def _pooled(block: Any, pool: Any) -> None:
    """Let `block` pool its fourth branch with `pool`; the other branches stay torchvision's."""
    block.forward = partial(_forward, block, pool)


def _forward(block: Any, pool: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.cat([*block._forward(x)[:-1], block.branch_pool(pool(x))], 1)


def build(state: dict[str, torch.Tensor] | None = None) -> Any:
    """The network, mapping (n, 3, 299, 299) in -1..1 to pool features (n, 2048); random without `state`."""
    network = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    for name in ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b"):
        _pooled(getattr(network, f"Mixed_{name}"), _average)
    _pooled(network.Mixed_7c, _maximum)
    if state is not None:
        network.load_state_dict(state)
    network.fc = torch.nn.Identity()
    return network.eval().requires_grad_(False)


def preprocess(image: Image.Image) -> torch.Tensor:
    """RGB -> float32 (3, 299, 299) in about -1..1: each channel resized by PIL bicubic in floating point.

    This is the anti-aliased resize of Parmar et al. (arXiv 2104.11222): not rounded to levels, cut off at 0 and 255.
    """
    channels = [
        np.asarray(Image.fromarray(plane).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        for plane in np.asarray(image, np.float32).transpose(2, 0, 1)
    ]
    return (torch.from_numpy(np.stack(channels)).clamp(0, 255) - 128) / 128
