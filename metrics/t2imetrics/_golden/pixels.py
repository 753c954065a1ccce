"""Weight-free check of pictures: opened and prepared as the metrics do it, compared with stored fingerprints.

A fingerprint of a tensor (3, h, w) is 70 numbers: mean of each channel, deviation of each channel, and 64 values at
fixed places spread evenly over channels, rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from t2imetrics import _golden

if TYPE_CHECKING:
    import torch

    from t2imetrics._batch import How

SAMPLES = 64
#: In the tensor's own unit.  One grey level is 0.004 before normalisation and 0.015 after it.
TOLERANCE = 1e-3
Fingerprint = NDArray[np.float64]


#: Every preparation a metric of this package asks for: name of its check -> module, attribute, its arguments.
PREPARATIONS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "opened as RGB": ("_images", "to_tensor", None),
    "preprocessing A, 224 px": ("_images", "CentreCrop", {"size": 224}),
    "preprocessing A, 64 px": ("_images", "CentreCrop", {"size": 64}),
    "preprocessing B, 224 px": ("_images", "FitAndPad", {"size": 224}),
    "preprocessing B, 64 px": ("_images", "FitAndPad", {"size": 64}),
    "preprocessing B without antialias, 224 px": ("_images", "FitAndPad", {"size": 224, "antialias": False}),
    "preprocessing of transformers, 224 px": ("pickscore", "HfCrop", {"size": 224}),
    "preprocessing of DINO, 224 px": ("dino", "ImageNetCrop", {"size": 224}),
    "preprocessing of Inception, 299 px": ("_inception", "preprocess", None),
}


def how_of(name: str) -> How:
    """The preparation a check is about."""
    module, attribute, arguments = PREPARATIONS[name]
    found: Any = getattr(import_module(f"t2imetrics.{module}"), attribute)
    made: How = found if arguments is None else found(**arguments)
    return made


def checks() -> dict[str, Callable[[], str]]:
    """What is checked -> a function that gives the fault in one line, or nothing."""
    return {name: partial(fault, name) for name in PREPARATIONS}


def fault(name: str) -> str:
    """How the golden pictures so prepared differ from what is stored; empty where they do not."""
    how = how_of(name)
    stored = _golden.read("pixels")
    wanted = stored["pixels"][name]
    images = opened()
    tensors = [how(image) for image in images]
    for picture, tensor in zip(_golden.PICTURES, tensors, strict=True):
        if list(tensor.shape) != wanted[picture]["shape"]:
            return f"picture '{picture}' has shape {tuple(tensor.shape)}, golden {tuple(wanted[picture]['shape'])}"
    golden = np.stack([np.asarray(wanted[picture]["numbers"], float) for picture in _golden.PICTURES])
    off = _distance(tensors, golden)
    if off.max() <= TOLERANCE:
        return ""
    count, worst = int((off > TOLERANCE).sum()), _golden.PICTURES[int(off.argmax())]
    return (
        f"{count} of {len(off)} pictures differ, most '{worst}' by {off.max():.3g}: "
        f"{likely(how, images, tensors, golden)} ({_golden.changed(stored['versions'])})"
    )


def measure() -> dict[str, Any]:
    """Fingerprints of every preparation and picture, as `pixels.json` holds them."""
    return {
        name: {picture: _entry(how_of(name)(image)) for picture, image in zip(_golden.PICTURES, opened(), strict=True)}
        for name in PREPARATIONS
    }


def opened() -> list[Image.Image]:
    """The golden pictures as RGB, opened by the same code that opens a benchmark's."""
    from t2imetrics import _batch

    return [batch.images[0] for _, batch in _batch.prepared(_golden.pictures(), 1, (), 0)]


def fingerprint(tensor: torch.Tensor) -> Fingerprint:
    """Mean and deviation per channel, then `SAMPLES` values: (70,)."""
    values = tensor.double().numpy()
    channels, height, width = values.shape
    step = np.arange(1, SAMPLES + 1)
    rows = (height * (0.5 + step * 0.7548776662466927) % height).astype(int)  # R2 sequence: spreads evenly in a plane
    columns = (width * (0.5 + step * 0.5698402909980532) % width).astype(int)
    spread = values.reshape(channels, -1)
    return np.concatenate([spread.mean(1), spread.std(1), values[step % channels, rows, columns]])


def _entry(tensor: torch.Tensor) -> dict[str, Any]:
    return {"shape": list(tensor.shape), "numbers": [round(float(value), 5) for value in fingerprint(tensor)]}


def _distance(tensors: list[torch.Tensor], golden: Fingerprint) -> Fingerprint:
    """Largest difference of each picture's fingerprint from `golden` (pictures, 70): (pictures,)."""
    found = np.stack([fingerprint(tensor) for tensor in tensors])
    distance: Fingerprint = np.nan_to_num(np.abs(found - golden).max(1), nan=np.inf)
    return distance


# --- what a difference looks like ------------------------------------------------------------------------------


def likely(how: How, images: list[Image.Image], tensors: list[torch.Tensor], golden: Fingerprint) -> str:
    """The likely fault; where a fault undoes itself or can be undone, by trying."""
    found = np.stack([fingerprint(tensor) for tensor in tensors])
    if not np.isfinite(found).all():
        return "values that are not numbers"
    for said, undo in UNDONE.items():
        if _distance([how(undo(image)) for image in images], golden).max() <= TOLERANCE:
            return said
    if _same_up_to_scale(found[:, 6:], golden[:, 6:]):
        return "the same pictures with another mean and deviation, or another range"
    if any(_mostly_equal([tensor.roll(shift, (1, 2)) for tensor in tensors], golden) for shift in SHIFTS):
        return "shifted by a pixel"
    if float((found[0, 3:6] / golden[0, 3:6]).max()) > 1.005:
        return "sharper than it should be: resized without antialias, or by another filter"
    return "resized by another filter, or opened otherwise"


def _inverted(image: Image.Image) -> Image.Image:
    return Image.eval(image, lambda value: 255 - value)


def _swapped(image: Image.Image) -> Image.Image:
    return Image.merge("RGB", image.split()[::-1])


#: Faults that are their own inverse.
UNDONE = {"light and dark are inverted": _inverted, "red and blue are swapped": _swapped}
SHIFTS = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1) if down or across]


def _mostly_equal(tensors: list[torch.Tensor], golden: Fingerprint) -> bool:
    """Whether nearly all sampled values agree; those at the border need not."""
    sampled = np.stack([fingerprint(tensor)[6:] for tensor in tensors])
    return bool((np.abs(sampled - golden[:, 6:]) <= TOLERANCE).mean() > 0.95)


def _same_up_to_scale(a: Fingerprint, b: Fingerprint) -> bool:
    """Whether `a` is `b` times a factor plus a term, each per channel."""
    for channel in range(3):
        ours = np.arange(1, SAMPLES + 1) % 3 == channel
        x, y = b[:, ours].ravel(), a[:, ours].ravel()
        factor, term = np.polyfit(x, y, 1)
        if np.abs(factor * x + term - y).max() > TOLERANCE * max(1.0, abs(factor)):
            return False
    return True
