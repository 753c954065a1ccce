"""Opening pictures, and both preprocessings against torchvision."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from t2imetrics._batch import prepared
from t2imetrics._images import CentreCrop, centre_crop, fit_and_pad, open_rgb, to_tensor
from t2imetrics.dino import ImageNetCrop
from t2imetrics.errors import ImageError
from t2imetrics.pickscore import HfCrop

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


def test_mode_i_keeps_eight_bits_and_shrinks_sixteen() -> None:
    small, deep = (Image.fromarray(np.array([values], np.int32)) for values in ([0, 90, 255], [0, 32768, 65535]))
    assert small.mode == deep.mode == "I"
    assert [open_rgb(small).getpixel((x, 0))[0] for x in range(3)] == [0, 90, 255]
    assert [open_rgb(deep).getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_sixteen_bit_grey_that_is_clear_lies_on_white() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 30000, 65535]], np.uint16)).save(buffer, "PNG", transparency=30000)
    assert [open_rgb(buffer.getvalue()).getpixel((x, 0))[0] for x in range(3)] == [0, 255, 255]


def test_pictures_without_a_range_or_without_pixels_are_refused() -> None:
    with pytest.raises(ImageError, match=r"row 2: .*floating point \(mode F\)"):
        open_rgb(Image.new("F", (4, 4), 0.5), 2)
    with pytest.raises(ImageError, match=r"it has no pixels \(0 x 5\)"):
        open_rgb(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("how", [CentreCrop(32), ImageNetCrop(32), HfCrop(32)])
def test_a_strip_is_refused_by_name_of_its_row_before_it_fills_the_memory(how: Callable[..., object]) -> None:
    rows = [Image.new("RGB", (2, 200)), Image.new("RGB", (1, 400_000))]
    with pytest.raises(ImageError, match=r"row 1: .*1 x 400000 pixels is a strip"):
        list(prepared(rows, 2, [how], 0))


@pytest.mark.parametrize("workers", [0, 2])
def test_one_open_file_may_stand_in_many_rows(tmp_path, workers: int) -> None:
    path = tmp_path / "a.tif"
    noise(300, 200).save(path)
    with path.open("rb") as file, Image.open(path) as lazy:
        rows = [file, lazy] * 20
        batches = [batch for _, batch in prepared(rows, 8, [], workers)]
    found = [np.asarray(image) for batch in batches for image in batch.images]
    assert len(found) == 40
    assert all(np.array_equal(image, np.asarray(noise(300, 200))) for image in found)


def test_a_broken_lazy_image_is_named_by_its_row(tmp_path) -> None:
    noise(64, 64).save(tmp_path / "a.png")
    broken = Image.open(io.BytesIO((tmp_path / "a.png").read_bytes()[:3000]))
    with pytest.raises(ImageError, match="row 1: "):
        list(prepared([noise(4, 4), broken], 1, [], 2))
