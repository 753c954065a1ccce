"""The miniature world: which things, which styles, and their artwork as 64-pixel pictures.

Reads the emoji packages unpacked by `fetch.sh` under `data/make/cache/packages` and writes
`data/make/cache/world.npz`: for every style an array of pictures (n, 64, 64, 3) uint8 on white,
with the code point of each.  Everything later in `data/make` starts from that file.

    python data/make/world.py
"""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from PIL import Image

HERE = Path(__file__).parent
CACHE = HERE / "cache"
PACKAGES = CACHE / "packages"
SIZE = 64
MARGIN = 2


@dataclass(frozen=True)
class Style:
    """One artist's hand: a model of the catalog is trained on each."""

    key: str
    package: str
    licence: str
    attribution: str
    few_shot: bool = False


STYLES = (
    Style("twemoji", "@iconify-json/twemoji@1.2.5", "CC-BY-4.0", "Twemoji, Twitter and contributors"),
    Style("noto", "@iconify-json/noto@1.2.9", "Apache-2.0", "Noto Emoji, Google"),
    Style("fluent-3d", "@lobehub/fluent-emoji-3d@1.1.0", "MIT", "Fluent Emoji, Microsoft; package by LobeHub"),
    Style(
        "fluent-high-contrast",
        "@iconify-json/fluent-emoji-high-contrast@1.2.6",
        "MIT",
        "Fluent Emoji High Contrast, Microsoft",
    ),
    Style("emojione", "@iconify-json/emojione@1.2.3", "CC-BY-4.0", "EmojiOne 2, Emoji One (Ranks.com)"),
    Style("fluent-flat", "@iconify-json/fluent-emoji-flat@1.2.6", "MIT", "Fluent Emoji Flat, Microsoft", True),
    Style("noto-v1", "@iconify-json/noto-v1@1.2.5", "Apache-2.0", "Noto Emoji (2013-2017), Google", True),
)

#: Emoji label -> the words a careful prompt uses first.  Order is the order of everything else.
THINGS: dict[str, str] = {
    "cat face": "cat face", "dog face": "dog face", "fox": "fox", "lion": "lion", "cow face": "cow face",
    "pig face": "pig face", "rabbit face": "rabbit face", "koala": "koala", "panda": "panda",
    "penguin": "penguin", "owl": "owl", "frog": "frog", "turtle": "turtle", "snake": "snake",
    "spouting whale": "whale spouting water", "dolphin": "dolphin", "tropical fish": "tropical fish",
    "octopus": "octopus", "crab": "crab", "snail": "snail", "butterfly": "butterfly",
    "honeybee": "honeybee", "lady beetle": "ladybug", "elephant": "elephant", "unicorn": "unicorn",
    "duck": "duck", "chicken": "chicken", "rose": "rose", "sunflower": "sunflower", "tulip": "tulip",
    "evergreen tree": "evergreen tree", "palm tree": "palm tree", "cactus": "cactus",
    "mushroom": "mushroom", "four leaf clover": "four leaf clover", "maple leaf": "maple leaf",
    "grapes": "bunch of grapes", "watermelon": "slice of watermelon", "lemon": "lemon",
    "banana": "banana", "pineapple": "pineapple", "red apple": "red apple", "cherries": "cherries",
    "strawberry": "strawberry", "avocado": "avocado", "carrot": "carrot", "ear of corn": "ear of corn",
    "bread": "loaf of bread", "cheese wedge": "wedge of cheese", "hamburger": "hamburger",
    "french fries": "french fries", "pizza": "slice of pizza", "doughnut": "doughnut",
    "birthday cake": "birthday cake", "lollipop": "lollipop", "ice cream": "bowl of ice cream",
    "hot beverage": "cup of coffee", "beer mug": "mug of beer", "popcorn": "box of popcorn",
    "castle": "castle", "house": "house", "tent": "camping tent", "ferris wheel": "ferris wheel",
    "locomotive": "steam locomotive", "bus": "bus", "automobile": "car", "tractor": "tractor",
    "bicycle": "bicycle", "sailboat": "sailboat", "airplane": "airplane", "helicopter": "helicopter",
    "rocket": "rocket", "anchor": "anchor", "alarm clock": "alarm clock", "crescent moon": "crescent moon",
    "star": "star", "rainbow": "rainbow", "umbrella": "umbrella", "snowflake": "snowflake",
    "snowman": "snowman", "fire": "fire", "volcano": "volcano", "jack-o-lantern": "carved pumpkin lantern",
    "Christmas tree": "decorated christmas tree", "balloon": "balloon", "wrapped gift": "wrapped gift box",
    "trophy": "trophy cup", "soccer ball": "soccer ball", "basketball": "basketball",
    "artist palette": "painter's palette", "game die": "game die", "crown": "crown", "top hat": "top hat",
    "bell": "bell", "headphone": "headphones", "guitar": "guitar", "trumpet": "trumpet",
    "violin": "violin", "camera": "camera", "light bulb": "light bulb", "books": "stack of books",
    "scissors": "scissors", "key": "key", "robot": "robot face",
}  # fmt: skip


def code(hexcode: str) -> str:
    """Code point sequence without variation selectors and joiners: how sets are matched."""
    parts = hexcode.lower().replace("_", "-").split("-")
    return "-".join(part for part in parts if part not in ("fe0f", "200d"))


def slug(label: str) -> str:
    return "".join(c for c in label.lower().replace(" ", "-") if c.isalnum() or c == "-")


def folder(style: Style) -> Path:
    return PACKAGES / style.package.rsplit("@", 1)[0].replace("@", "").replace("/", "-")


def emoji() -> dict[str, dict[str, Any]]:
    """Emoji records (label, tags, group) by code point, without people, components and flags."""
    data = json.loads((PACKAGES / "emojibase-data" / "en" / "data.json").read_text())
    return {code(e["hexcode"]): e for e in data if e.get("group") not in (1, 2, 8, 9, None)}


def _square(picture: Image.Image) -> Image.Image:
    inner = SIZE - 2 * MARGIN
    fitted = picture.convert("RGBA").resize((inner, inner), Image.Resampling.LANCZOS)
    page = Image.new("RGBA", (SIZE, SIZE), "white")
    page.alpha_composite(fitted, (MARGIN, MARGIN))
    return page.convert("RGB")


def _vector_pictures(style: Style, records: dict[str, dict[str, Any]]) -> dict[str, Image.Image]:
    source = folder(style)
    icons = json.loads((source / "icons.json").read_text())
    names: dict[str, str] = {}
    if (source / "chars.json").exists():
        names = {code(k): v for k, v in json.loads((source / "chars.json").read_text()).items()}
    pictures = {}
    for point, record in records.items():
        name = names.get(point, slug(record["label"]))
        if name not in icons["icons"] and f"{name}-face" in icons["icons"]:
            name = f"{name}-face"
        if name in icons.get("aliases", {}):
            name = icons["aliases"][name]["parent"]
        icon = icons["icons"].get(name)
        if icon is None:
            continue
        width = icon.get("width", icons.get("width", 16))
        height = icon.get("height", icons.get("height", 16))
        body = icon["body"].replace("currentColor", "#000")
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="0 0 {width} {height}">{body}</svg>'
        )
        png = resvg_py.svg_to_bytes(svg_string=svg, width=180, height=180)
        pictures[point] = _square(Image.open(io.BytesIO(bytes(png))))
    return pictures


def _webp_pictures(style: Style, records: dict[str, dict[str, Any]]) -> dict[str, Image.Image]:
    files = {code(f.stem): f for f in sorted((folder(style) / "assets").glob("*.webp"))}
    return {p: _square(Image.open(files[p])) for p in records if p in files}


def render() -> None:
    records = emoji()
    arrays: dict[str, Any] = {}
    for style in STYLES:
        make = _webp_pictures if style.key == "fluent-3d" else _vector_pictures
        pictures = make(style, records)
        arrays[f"{style.key}/codes"] = np.array(sorted(pictures))
        arrays[f"{style.key}/pixels"] = np.stack([np.asarray(pictures[p]) for p in sorted(pictures)])
        print(style.key, len(pictures), flush=True)
    np.savez_compressed(CACHE / "world.npz", **arrays)


@dataclass(frozen=True)
class World:
    """pixels[style][code] is a (64, 64, 3) uint8 picture; things maps code -> emoji label."""

    pixels: dict[str, dict[str, np.ndarray]]
    things: dict[str, str]
    records: dict[str, dict[str, Any]]


def load() -> World:
    records = emoji()
    with np.load(CACHE / "world.npz") as stored:
        pixels = {
            s.key: dict(zip(stored[f"{s.key}/codes"].tolist(), stored[f"{s.key}/pixels"], strict=True)) for s in STYLES
        }
    by_label = {r["label"]: p for p, r in records.items()}
    return World(pixels, {by_label[label]: label for label in THINGS}, records)


#: How many pictures of a few-shot style anything in this project is ever trained on.
HANDFUL = 20


def handful(style: Style) -> list[str]:
    """The labels of the only pictures of a few-shot style that models and scorers may see."""
    return sorted(random.Random(f"handful/{style.key}").sample(sorted(THINGS), HANDFUL))


def seen(style: Style, label: str) -> bool:
    """Whether training may use this style's picture of this thing."""
    return label in handful(style) if style.few_shot else True


if __name__ == "__main__":
    render()
    world = load()
    for style in STYLES:
        missing = [label for point, label in world.things.items() if point not in world.pixels[style.key]]
        print(style.key, "missing:", missing)
