"""Real pictures and real prompts in every shape a file can take: the artwork of `data/miniature`, no random numbers.

    pairs = real_pairs(tmp_path)     # 84 pairs (file, prompt), the same bytes every time
    kinds()[i]                       # Kind(picture="cmyk-jpeg", prompt="gold"): what pair i is

First come `PLAIN` small PNG files with their own gold prompts, then each odd file with the gold prompt of its
artwork, then each odd prompt with a plain file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

MINIATURE = Path(__file__).parents[2] / "data" / "miniature"
PLAIN = 36


class Kind(NamedTuple):
    """What a pair is: `plain` or a key of `FILES`, and `gold` or a key of `PROMPTS`."""

    picture: str
    prompt: str


def real_pairs(folder: Path) -> list[tuple[Path, str]]:
    """Write the picture files into `folder` (made when it is not there); the pairs in a fixed order."""
    folder.mkdir(parents=True, exist_ok=True)
    artwork = _artwork()
    pairs = []
    for place, kind in enumerate(kinds()):
        image, prompt = next(artwork)
        name, save = FILES.get(kind.picture, ("png", Image.Image.save))
        path = folder / f"{place:02}-{kind.picture}.{name}"
        save(image, path)
        pairs.append((path, PROMPTS[kind.prompt]() if kind.prompt in PROMPTS else prompt))
    return pairs


def kinds() -> list[Kind]:
    """What each pair of `real_pairs` is, in the same order."""
    plain = [Kind("plain", "gold")] * PLAIN
    return [*plain, *(Kind(file, "gold") for file in FILES), *(Kind("plain", prompt) for prompt in PROMPTS)]


def rows() -> list[dict]:
    """The gold rows in the order of the file: `plan` and `picture` among others."""
    lines = (MINIATURE / "demonstrations.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _artwork() -> Iterator[tuple[Image.Image, str]]:
    for row in islice(rows(), 0, None, 8):  # neighbours look alike
        with Image.open(MINIATURE / row["picture"]) as image:
            yield image.convert("RGB"), row["plan"]["prompt"]


# --- files -----------------------------------------------------------------------------------------------------

Save = Callable[[Image.Image, Path], None]


def _resized(*size: int) -> Save:
    return lambda image, path: image.resize(size, Image.Resampling.LANCZOS).save(path)


def _converted(mode: str) -> Save:
    return lambda image, path: image.convert(mode).save(path)


def _encoded(mode: str = "RGB", **options: object) -> Save:
    return lambda image, path: image.convert(mode).save(path, **options)


def _mosaic(*size: int) -> Save:
    """Many pieces of artwork side by side: a large picture with edges everywhere."""

    def save(image: Image.Image, path: Path) -> None:
        sheet, tiles = Image.new("RGB", size), _artwork()
        for top in range(0, size[1], 160):
            for left in range(0, size[0], 160):
                sheet.paste(next(tiles)[0].resize((160, 160), Image.Resampling.LANCZOS), (left, top))
        sheet.save(path)

    return save


def _alpha(image: Image.Image) -> Image.Image:
    """A soft disc: opaque in the middle, clear in the corners, every step between."""
    y, x = np.mgrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
    return Image.fromarray((255 * np.clip(1.4 - 1.2 * np.hypot(x, y), 0, 1)).astype(np.uint8))


def _soft(mode: str, **options: object) -> Save:
    def save(image: Image.Image, path: Path) -> None:
        layer = image.convert(mode)
        layer.putalpha(_alpha(image))
        layer.save(path, **options)

    return save


def _palette(transparency: int | bytes | None) -> Save:
    def save(image: Image.Image, path: Path) -> None:
        options = {} if transparency is None else {"transparency": transparency}
        image.quantize(64).save(path, **options)

    return save


def _keyed(image: Image.Image, path: Path) -> None:
    """No alpha channel, but one colour that counts as clear (PNG's tRNS chunk)."""
    image.save(path, transparency=image.getpixel((0, 0)))


def _deep(image: Image.Image, path: Path) -> None:
    """16-bit grey with detail in the low byte."""
    grey = np.asarray(image.convert("L"), np.uint16) * 257
    Image.fromarray(grey ^ (np.arange(image.width, dtype=np.uint16) % 256)).save(path)


def _turned(image: Image.Image, path: Path) -> None:
    """A JPEG whose EXIF says: turn me by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, quality=92, exif=exif)


def _animation(image: Image.Image, path: Path) -> None:
    frames = [image.rotate(90 * turn) for turn in (1, 2, 3)]
    image.save(path, save_all=True, append_images=frames, duration=80, loop=0)


#: kind -> (ending of the file, what writes it)
FILES: dict[str, tuple[str, Save]] = {
    "pixel": ("png", _resized(1, 1)),
    "tiny": ("png", _resized(8, 8)),
    "tall": ("png", _resized(3, 40)),
    "flat": ("png", _resized(40, 3)),
    "odd-sides": ("png", _resized(61, 99)),  # at 224 wide it is 363 high: the crop lies between two pixels
    "large": ("png", _mosaic(1200, 700)),
    "upright": ("png", _mosaic(448, 640)),
    "224-wide": ("png", _mosaic(224, 140)),
    "224-tall": ("png", _mosaic(150, 224)),
    "224-square": ("png", _mosaic(224, 224)),
    "rgba-soft": ("png", _soft("RGBA")),
    "rgba-webp": ("webp", _soft("RGBA", lossless=True)),
    "grey": ("png", _converted("L")),
    "grey-alpha": ("png", _soft("LA")),
    "grey-16-bit": ("png", _deep),
    "1-bit": ("png", _converted("1")),
    "palette": ("png", _palette(None)),
    "palette-clear": ("png", _palette(0)),
    "palette-soft": ("png", _palette(bytes(range(0, 256, 4)))),
    "rgb-keyed": ("png", _keyed),
    "jpeg": ("jpg", _encoded(quality=90)),
    "grey-jpeg": ("jpg", _encoded("L", quality=90)),
    "cmyk-jpeg": ("jpg", _encoded("CMYK", quality=95)),
    "turned-jpeg": ("jpg", _turned),
    "progressive-jpeg": ("jpg", _encoded(quality=80, progressive=True)),
    "webp": ("webp", _encoded(quality=85)),
    "animated-gif": ("gif", _animation),
    "animated-webp": ("webp", _animation),
    "bmp": ("bmp", _encoded()),
    "cmyk-tiff": ("tiff", _converted("CMYK")),
}


# --- prompts ---------------------------------------------------------------------------------------------------


def _long(words: int) -> Callable[[], str]:
    """Gold prompts after one another, cut at `words` words."""

    def prompt() -> str:
        everything = " ".join(row["plan"]["prompt"] for row in rows())
        return " ".join(everything.split()[:words])

    return prompt


def _text(text: str) -> Callable[[], str]:
    return lambda: text


#: kind -> the prompt; odd ones keep the vocabulary of the gold prompts where that says something
PROMPTS: dict[str, Callable[[], str]] = {
    "empty": _text(""),
    "blank": _text(" \n\t "),
    "one-letter": _text("x"),
    "emoji": _text("🦊 a fox 🍎🍏, cute sticker 👩🏽‍🚀 🏳️‍🌈"),
    "long": _long(400),
    "just-too-long": _long(80),
    "chinese": _text("一只戴着宇航员头盔的狐狸，扁平卡通贴纸，高清"),
    "arabic-hebrew": _text("قطة حمراء على كرسي, חתול אדום על כיסא"),
    "entities": _text("salt &amp; pepper, &lt;b&gt;bold&lt;/b&gt; &quot;icon&quot; of a cat &#128008;"),
    "curly-quotes": _text("a “quoted” fox, the artist’s ‘best’ icon — clean…"),
    "end-of-text": _text("a cat face <|endoftext|> a dog face, <|startoftext|> flat sticker"),
    "special-words": _text("[CLS] a fox [SEP] [MASK] [PAD] </s> <s> clean icon"),
    "web-interface": _text("(a cat face:1.3), ((icon)), [blurry], <lora:stickerPop_v12:0.8>, BREAK flat \\(clean\\)"),
    "full-width": _text("ａ ｆｏｘ １２３ ﬁne ﬂat icon"),
    "mojibake": _text("a cafÃ© icon, flat â€œcleanâ€\x9d"),
    "combining": _text("un cafe\u0301 a\u0300 la mode, nai\u0308ve, Z\u0351a\u0315lgo"),
    "capitals": _text("A DOG FACE, STKPOP, NO TEXT"),
    "lines": _text("a fox,\nclean flat icon,\r\n\tno outline\n"),
}
