"""Pictures lose what is written into them and nothing of what they show."""

from __future__ import annotations

import io
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from chatgenbench.build.bare import bare
from chatgenbench.build.imagecheck import sniff
from tests.build.test_pictures import chunk, encoded, picture

SAMPLES = Path(__file__).parents[1] / "data/civitai/enslo__sd-metadata/samples"
FILES = sorted(path for path in SAMPLES.rglob("*.*") if sniff(path.read_bytes()[:16]))
NAME = "Quillon_Verdaccio"
PATH = f"C:\\Users\\{NAME}\\models"
FORMS = [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")]


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGBA"))


@lru_cache
def told(form: str) -> bytes:
    """A picture that names a person wherever its format has room for text."""
    image = picture(1)
    exif = Image.Exif()
    exif[0x013B], exif[0x0112] = NAME, 6
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + f"prompt, User: {NAME}".encode("utf-16-be")
    options = {"exif": exif}
    if form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", f"a lighthouse\nSteps: 20, User: {NAME}")
        info.add_text("workflow", PATH, zip=True)
        info.add_itxt("XML:com.adobe.xmp", NAME)
        options |= {"pnginfo": info}
    else:
        options |= {"xmp": f"<x:xmpmeta>{NAME}</x:xmpmeta>".encode()}
    if form == "JPEG":
        options |= {"comment": NAME}
    return encoded(image, form, **options) + NAME.encode()


@pytest.mark.parametrize(("form", "suffix"), FORMS)
def test_names_go_and_pixels_stay(form: str, suffix: str) -> None:
    data = told(form)
    clean = bare(data, suffix)
    with Image.open(io.BytesIO(clean)) as image:
        image.load()
        assert not image.getexif()
        assert not {"parameters", "workflow", "xmp", "comment", "exif"} & set(image.info)
    assert NAME.encode() in data
    assert NAME.encode() not in clean
    assert np.array_equal(pixels(clean), pixels(data))
    assert bare(clean, suffix) == clean


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_recorded_pictures_lose_their_generation_data_only(path: Path) -> None:
    data = path.read_bytes()
    clean = bare(data, str(sniff(data)))
    assert np.array_equal(pixels(clean), pixels(data))
    assert b"Steps" not in clean
    assert b"ExifII" not in clean
    assert len(clean) <= len(data)


@pytest.mark.parametrize(
    ("form", "suffix", "options"),
    [
        ("PNG", "png", {"icc_profile": b"a profile of colours"}),
        ("JPEG", "jpg", {"progressive": True, "subsampling": 0, "icc_profile": b"a profile of colours"}),
        ("JPEG", "jpg", {"restart_marker_blocks": 2, "optimize": True}),
        ("JPEG", "jpg", {"mode": "CMYK"}),
        ("JPEG", "jpg", {"mode": "L"}),
        ("PNG", "png", {"mode": "P"}),
        ("PNG", "png", {"mode": "LA"}),
        ("WEBP", "webp", {"mode": "RGBA", "icc_profile": b"a profile of colours"}),
        ("WEBP", "webp", {"lossless": True}),
    ],
)
def test_colours_stay_as_they_were_meant(form: str, suffix: str, options: dict[str, object]) -> None:
    image = picture(2).convert(str(options.pop("mode", "RGB")))
    data = encoded(image, form, **options)
    clean = bare(data, suffix)
    assert np.array_equal(pixels(clean), pixels(data))
    assert Image.open(io.BytesIO(clean)).info.get("icc_profile") == options.get("icc_profile")


def test_a_thumbnail_goes_and_a_transparent_colour_stays() -> None:
    data = encoded(picture(1), "JPEG")
    small = data[:4] + b"\0\x13" + data[6:18] + b"\x01\x01" + b"xyz" + data[20:]
    assert pixels(small).shape == pixels(data).shape
    assert bare(small, "jpg") == data
    plain = encoded(picture(1))
    seen = plain[:33] + chunk(b"tRNS", bytes(6)) + plain[33:]
    assert bare(seen, "png") == seen


@pytest.mark.parametrize(("form", "suffix"), FORMS)
@given(cut=st.integers(min_value=0), flip=st.integers(min_value=0), value=st.integers(0, 255))
def test_any_bytes_end_in_a_picture_or_a_value_error(form: str, suffix: str, cut: int, flip: int, value: int) -> None:
    data = bytearray(told(form))
    data[flip % len(data)] = value
    with suppress(ValueError):
        assert len(bare(bytes(data[: cut % len(data)]), suffix)) <= len(data) + 1
