"""Opening pictures, and both preprocessings against torchvision."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from t2imetrics._images import centre_crop, fit_and_pad, open_rgb, to_tensor
from t2imetrics.errors import ImageError

torch = pytest.importorskip("torch")
sides = st.integers(3, 150)


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8))


@settings(max_examples=80, deadline=None)
@given(sides, sides, st.sampled_from([32, 33, 64]))
def test_preprocess_a_is_torchvision(width: int, height: int, size: int) -> None:
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize, ToTensor

    theirs = Compose([Resize(size, InterpolationMode.BICUBIC), CenterCrop(size), ToTensor()])
    image = noise(width, height)
    assert torch.equal(to_tensor(centre_crop(image, size)), theirs(image))


@settings(max_examples=80, deadline=None)
@given(sides, sides, st.sampled_from([32, 33, 64]), st.booleans())
def test_preprocess_b_is_torchvision(width: int, height: int, size: int, antialias: bool) -> None:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as tv

    pixels = to_tensor(noise(width, height))
    scale = size / max(width, height)
    shape = [max(1, round(height * scale)), max(1, round(width * scale))]
    theirs = tv.resize(pixels, shape, InterpolationMode.BICUBIC, antialias=antialias)
    down, across = size - shape[0], size - shape[1]
    theirs = tv.pad(theirs, [across // 2, down // 2, across - across // 2, down - down // 2])
    assert torch.equal(fit_and_pad(pixels, size, antialias), theirs)


def test_a_picture_of_the_right_longest_side_is_still_padded_to_a_square() -> None:
    assert fit_and_pad(to_tensor(noise(32, 20)), 32).shape == (3, 32, 32)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_lies_on_white(mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (200, 30, 10, 0))
    image.putpixel((0, 0), (0, 0, 0, 255))
    opened = open_rgb(image.convert(mode))
    assert opened.mode == "RGB"
    assert opened.getpixel((2, 2)) == (255, 255, 255)
    assert max(opened.getpixel((0, 0))) == 0


def test_sixteen_bit_grey_keeps_its_greys() -> None:
    image = Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))
    assert [open_rgb(image).getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_paths_bytes_files_and_images_are_the_same_picture(tmp_path) -> None:
    image, path = noise(9, 7), tmp_path / "a.png"
    image.save(path)
    forms = [image, path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())]
    assert all(np.array_equal(np.asarray(open_rgb(form)), np.asarray(image)) for form in forms)


@pytest.mark.parametrize("bad", [b"", b"not a picture", "nowhere.png", None, 7])
def test_a_broken_picture_is_named_by_its_row(bad: object) -> None:
    with pytest.raises(ImageError, match="row 3: cannot read the picture") as caught:
        open_rgb(bad, 3)
    assert caught.value.row == 3
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_an_error(tmp_path) -> None:
    noise(64, 64).save(tmp_path / "a.png")
    with pytest.raises(ImageError):
        open_rgb((tmp_path / "a.png").read_bytes()[:3000])
