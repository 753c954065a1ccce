"""Measure what the self-test compares with, and write it to `t2imetrics/_golden/`.

    python metrics/make_golden.py              # pixels, tokens, and values of the miniature
    python metrics/make_golden.py published    # also values of published weights that are on this machine
    python metrics/make_golden.py --pictures   # draw the golden pictures again first

Every value is measured here and now by the code it will guard: run this only when a change of numbers is meant, and
say in the commit which and why.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from t2imetrics import _golden, load
from t2imetrics._golden import pixels, texts, values
from t2imetrics.errors import WeightsError
from t2imetrics.selftest import absent, no_downloads

ARTWORK = Path(__file__).parent.parent / "data" / "miniature" / "pictures"
#: Left to right, top to bottom; strong colours and thin lines in every corner.
MOSAIC = (
    "twemoji-red-apple", "noto-fox", "fluent-high-contrast-bicycle", "twemoji-spouting-whale",
    "fluent-flat-cactus", "twemoji-game-die", "noto-v1-lemon", "fluent-high-contrast-books",
    "twemoji-umbrella", "fluent-high-contrast-snowflake", "twemoji-four-leaf-clover", "fluent-flat-rocket",
)  # fmt: skip


def main(arguments: list[str]) -> None:
    """Write every file; prints what was measured."""
    if "--pictures" in arguments:
        draw_pictures(_golden.HERE / "pictures")
    write("pixels", {"versions": _golden.versions(), "pixels": pixels.measure()})
    write("tokens", {"versions": _golden.versions(), "tokens": texts.measure()})
    entries: dict[str, Any] = {}
    for source in ("miniature", *(["published"] if "published" in arguments else [])):
        for name in values.weighted():
            measure(name, source, entries)
    write("values", {"versions": _golden.versions(), "values": entries})


def measure(name: str, source: str, entries: dict[str, Any]) -> None:
    """Add one metric's values to `entries`, unless its weights are not on this machine."""
    try:
        with no_downloads():
            scorer = load(name, source, "cpu")
    except WeightsError as error:
        if not absent(error):
            raise
        print(f"{name}: no {source} weights here")
        return
    by_weights = entries.setdefault(name, {}).setdefault(scorer.card.weights.sha256, {})
    by_weights[values.options(scorer)] = values.entry(scorer, values.measure(scorer))
    print(f"{name}: {source}")


def write(name: str, content: dict[str, Any]) -> None:
    """One JSON file whose innermost lists and objects take a line each."""
    text = json.dumps(content, ensure_ascii=False, indent=1)
    (_golden.HERE / f"{name}.json").write_text(_flat(text) + "\n", "utf-8")


def _flat(text: str) -> str:
    """Join the lines of lists of numbers."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        lines = [*lines[:-1], lines[-1] + line.strip()] if inside else [*lines, line]
        inside = line.endswith("[") or (inside and not line.strip().startswith("]"))
    return "\n".join(lines)


# --- pictures --------------------------------------------------------------------------------------------------


def draw_pictures(folder: Path) -> None:
    """The six golden pictures, from the artwork of the miniature."""
    folder.mkdir(parents=True, exist_ok=True)
    mosaic().quantize(64, dither=Image.Dither.NONE).save(folder / "mosaic.png", optimize=True)
    art("twemoji-tulip").resize((61, 99), Image.Resampling.LANCZOS).save(folder / "odd-sides.png", optimize=True)
    soft_alpha(art("noto-airplane")).save(folder / "soft-alpha.png", optimize=True)
    art("fluent-flat-owl").convert("L").resize((90, 70)).save(folder / "grey.png", optimize=True)
    deep_grey(art("noto-camera")).save(folder / "grey-16-bit.png", optimize=True)
    keyed = art("twemoji-balloon").quantize(32, dither=Image.Dither.NONE)
    keyed.save(folder / "palette-clear.png", transparency=bytes(range(255, 0, -8)), optimize=True)


def art(name: str) -> Image.Image:
    with Image.open(ARTWORK / f"{name}.png") as image:
        return image.convert("RGB")


def mosaic() -> Image.Image:
    """512 x 384: twelve tiles, pixels doubled, so that every way to shrink it gives other numbers."""
    sheet = Image.new("RGB", (512, 384))
    for place, name in enumerate(MOSAIC):
        tile = art(name).resize((128, 128), Image.Resampling.NEAREST)
        sheet.paste(tile, (place % 4 * 128, place // 4 * 128))
    return sheet


def soft_alpha(image: Image.Image) -> Image.Image:
    """Opaque in the middle, clear in the corners, every step between."""
    y, x = np.mgrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
    layer = image.copy()
    layer.putalpha(Image.fromarray((255 * np.clip(1.4 - 1.2 * np.hypot(x, y), 0, 1)).astype(np.uint8)))
    return layer


def deep_grey(image: Image.Image) -> Image.Image:
    """16 bits a pixel, 56 x 40."""
    grey = np.asarray(image.convert("L").resize((56, 40)), np.uint16)
    return Image.fromarray(grey * 257)


if __name__ == "__main__":
    main(sys.argv[1:])
