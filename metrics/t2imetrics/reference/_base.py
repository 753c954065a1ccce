"""What both reference scorers share: pictures are opened like everywhere, then the package scores row by row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from t2imetrics._images import open_rgb
from t2imetrics._scorer import Floats, Scorer, Setting, finite, listed, require_texts, same_length
from t2imetrics.errors import InputError, OptionError, shorten
from t2imetrics.reference._stubs import quiet, release

if TYPE_CHECKING:
    from PIL import Image


class PackageScorer(Scorer):
    """A metric computed by its authors' package.

    Attributes:
        distribution, package: its name on the index and its name in Python.
        release: name and installed version.
    """

    distribution: str
    package: str

    def __init__(self, setting: Setting) -> None:
        self.release = release(self.distribution)
        if setting.precision != "float32":
            raise OptionError(f"backend 'reference' runs what {self.distribution} runs: leave precision at 'float32'")

    @abstractmethod
    def package_score(self, picture: Image.Image | str, text: str) -> float:
        """What the package's own function gives for one row, on the scale of the card.

        A path is opened by the package itself, which treats transparency and other modes in its own way.
        """

    def fit(self, image: Image.Image) -> Image.Image:
        """The picture (RGB) in a shape the package can read."""
        return image

    def score(self, rows: Sequence[Any], against: Sequence[str]) -> Floats:
        """One value a row, shape (n,), in the unit of the card.

        Raises:
            InputError: lists of different lengths, or a row at which the package itself fails.
            ImageError: a picture that cannot be opened; the message names the row.
        """
        rows, against = listed(rows), require_texts(listed(against))
        values = np.empty(same_length(rows, against))
        with quiet():
            for row, (picture, text) in enumerate(zip(rows, against, strict=True)):
                values[row] = self._row(row, self.fit(open_rgb(picture, row)), text)
        return finite(self.card.name, values)

    def _row(self, row: int, image: Image.Image, text: str) -> float:
        import torch

        try:
            with torch.inference_mode():
                return self.package_score(image, text)
        except torch.OutOfMemoryError:
            raise
        except (IndexError, RuntimeError, ValueError) as error:  # e.g. a side that is rounded to 0 pixels
            raise InputError(f"row {row}: the package {self.distribution} fails: {shorten(error, 120)}") from error
