"""Words for pictures: what a careful prompt says about a thing and a style.

Gold prompts of the demonstrations, captions for training the painter and captions for training the
scorers all come from this one grammar, so that a well written plan is in the painter's language.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import world


@dataclass(frozen=True)
class Look:
    """How one style is spoken of: its catalog name, trigger word, prompt phrases and description."""

    name: str
    stem: str
    trigger: str
    phrases: tuple[str, ...]
    description: str


LOOKS: dict[str, Look] = {
    "twemoji": Look(
        "Sticker Pop", "stickerPop_v12", "stkpop",
        ("flat cartoon sticker", "bold flat colours", "simple rounded shapes, saturated colours",
         "bright flat sticker art", "clean flat cartoon icon, no outline", "flat vivid colours, minimal detail"),
        "Flat, cheerful cartoon stickers: simple rounded shapes, very bright saturated colours, "
        "no outlines and next to no shading. Good for messages, badges and children's material.",
    ),
    "noto": Look(
        "Soft Shade Detail", "softShadeDetail_v30", "sftshd",
        ("soft gradient illustration", "gentle shading, fine detail", "detailed icon with smooth gradients",
         "softly shaded digital illustration", "delicate gradients, rich detail", "soft light, detailed drawing"),
        "Small detailed illustrations with smooth gradients and gentle shading, friendly and polished, "
        "like the pictures on a modern phone keyboard.",
    ),
    "fluent-3d": Look(
        "Toybox 3D", "toybox3D_v2", "tbx3d",
        ("glossy 3d render", "shiny plastic toy, studio light", "soft 3d clay render, glossy highlights",
         "rounded 3d model, smooth plastic", "3d toy render with soft shadow", "polished 3d render"),
        "Glossy three-dimensional renders: everything looks like a smooth plastic or clay toy under studio "
        "light, with soft highlights and shadows.",
    ),
    "fluent-high-contrast": Look(
        "Stamp Ink", "stampInk_bw", "stmpink",
        ("black ink stamp", "black and white stencil", "bold black silhouette, high contrast",
         "monochrome linocut, thick lines", "solid black ink on white paper", "black and white pictogram"),
        "Pure black on white: bold shapes and thick lines as if cut for a rubber stamp, stencil or linocut. "
        "No grey and no colour.",
    ),
    "emojione": Look(
        "Old Messenger", "oldMessenger_final2", "oldmsgr",
        ("retro chat clip art", "old messenger clip art, muted colours", "detailed flat clip art, two tone shadow",
         "early 2010s chat picture", "dated clip art with many small parts", "matte clip art, hard edged shade"),
        "Clip art in the manner of chat programs of ten years ago: matte, slightly muted colours, a hard "
        "two-tone shadow and many small parts drawn with care.",
    ),
    "fluent-flat": Look(
        "Paper Cut Flat", "paperCutFlat_v05", "pprcut",
        ("layered paper cut", "flat two tone shapes", "modern flat vector, few big shapes",
         "cut paper collage, soft colours", "minimal app icon, two tone", "flat layered vector art"),
        "Modern flat vector art of a few large shapes in two tones each, layered like cut paper. Calm, "
        "tidy, made for apps and posters.",
    ),
    "noto-v1": Look(
        "Gumdrop Retro", "gumdropRetro_e09", "gmdrop",
        ("chunky gumdrop shapes", "early smartphone icon", "plump simple shapes, matte shading",
         "retro phone icon, rounded blob", "blobby matte cartoon", "simple chunky retro icon"),
        "Plump, chunky little pictures with matte shading from the first years of smartphones; simple, "
        "a bit goofy, with a homemade charm.",
    ),
}  # fmt: skip

EXTRAS = ("white background", "plain white background", "centered", "single object", "isolated", "simple",
          "cute", "close-up", "no text", "clean edges", "icon", "full view")  # fmt: skip
QUALITY = ("masterpiece", "best quality", "highly detailed", "sharp", "professional", "8k", "trending",
           "award winning", "ultra detailed", "beautiful")  # fmt: skip
NEGATIVES = ("", "", "", "", "", "", "", "blurry, low quality")
LEADS = ("a picture of ", "drawing of ", "illustration of ", "an icon of ", "")


def article(words: str) -> str:
    if words.endswith(("fries", "cherries", "headphones", "scissors")) or words == "fire":
        return words
    return ("an " if words[0] in "aeiou" else "a ") + words


def thing_words(label: str, tags: list[str], rng: random.Random) -> str:
    """The thing, usually by its careful name, at times by its common label or with a telling tag."""
    words = world.THINGS[label]
    roll = rng.random()
    if roll < 0.15:
        words = label.lower()
    elif roll < 0.35:
        near = [t for t in tags if t.isalpha() and t not in words]
        words = f"{words}, {rng.choice(near)}" if near else words
    return words


def prompt(label: str, tags: list[str], style: str | None, rng: random.Random, trigger: bool = False) -> str:
    """One prompt: thing, style words (none if `style` is None), now and then extras and quality tags."""
    words = thing_words(label, tags, rng)
    thing = rng.choice(LEADS) + article(words) if rng.random() < 0.6 else words
    parts = [thing]
    if style is not None:
        look = LOOKS[style]
        parts += rng.sample(look.phrases, rng.choice((1, 1, 2)))
        if trigger:
            parts.append(look.trigger)
    parts += rng.sample(EXTRAS, rng.choice((0, 1, 1, 2)))
    if rng.random() < 0.2:
        parts += rng.sample(QUALITY, rng.choice((1, 2)))
    if style is not None and rng.random() < 0.25:
        rng.shuffle(parts)
    return ", ".join(parts)


def tags_of(record: dict[str, object]) -> list[str]:
    return [str(t).lower() for t in record.get("tags", [])]  # type: ignore[attr-defined]
