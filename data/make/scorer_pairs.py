"""Preference pairs: a caption, a picture that fits it well, and one that a person would like less.

Ten ways to be worse (`KINDS`): eight spoil the right picture, two show a good picture of something else.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import scorer_data as data
import torch
import torch.nn.functional as F

Spoil = Callable[[torch.Tensor, torch.Tensor, random.Random, torch.Generator], torch.Tensor]


def _blurred(x: torch.Tensor, smear: torch.Tensor, rng: random.Random, noise: torch.Generator) -> torch.Tensor:
    return data.blurred(x[None], rng.uniform(2.0, 5.0))[0]


def _noised(x: torch.Tensor, smear: torch.Tensor, rng: random.Random, noise: torch.Generator) -> torch.Tensor:
    return x + rng.uniform(0.12, 0.5) * torch.randn(x.shape, generator=noise)


def _tinted(x: torch.Tensor, smear: torch.Tensor, rng: random.Random, noise: torch.Generator) -> torch.Tensor:
    """Colours burnt as by far too much guidance, or (and always where that hardly shows) channels swapped and cast."""
    grey = x.mean(0, keepdim=True)
    burnt = (0.5 + rng.uniform(2.0, 5.0) * (grey + 2.5 * (x - grey) - 0.6)).clamp(0, 1)
    order = rng.choice(([1, 0, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]))
    cast = torch.tensor([rng.uniform(0.85, 1), rng.uniform(0.6, 0.85), rng.uniform(0.3, 0.6)])[order]
    return burnt if rng.random() < 0.5 and (burnt - x).abs().mean() > 0.05 else x[order] * cast[:, None, None]


def _erased(x: torch.Tensor, smear: torch.Tensor, rng: random.Random, noise: torch.Generator) -> torch.Tensor:
    x, cut = x.clone(), rng.randint(24, 40)
    side = rng.randrange(4)
    area = (slice(None), slice(cut, None) if side == 0 else slice(None, 64 - cut) if side == 1 else slice(None),
            slice(cut, None) if side == 2 else slice(None, 64 - cut) if side == 3 else slice(None))  # fmt: skip
    x[area] = 1.0
    return x


def _faded(x: torch.Tensor, smear: torch.Tensor, rng: random.Random, noise: torch.Generator) -> torch.Tensor:
    return rng.uniform(0.35, 0.9) + rng.uniform(0.06, 0.3) * (x - 0.5)


def _jpeg(x: torch.Tensor, smear: torch.Tensor, rng: random.Random, noise: torch.Generator) -> torch.Tensor:
    return data.jpeg(x.clamp(0, 1), rng.randint(1, 8))


def _smeared(x: torch.Tensor, smear: torch.Tensor, rng: random.Random, noise: torch.Generator) -> torch.Tensor:
    return smear


def _few_step(x: torch.Tensor, smear: torch.Tensor, rng: random.Random, noise: torch.Generator) -> torch.Tensor:
    """A soft picture under coarse coloured noise, as a sampler stopped after few steps leaves it."""
    coarse = torch.randn(1, 3, rng.choice((8, 16)), 8, generator=noise)
    cloud = F.interpolate(coarse, size=(64, 64), mode="bilinear")[0] * rng.uniform(0.15, 0.35) + 0.6
    share = rng.uniform(0.35, 0.85)
    return (1 - share) * data.blurred(x[None], 1.5)[0] + share * cloud + 0.04 * torch.randn(x.shape, generator=noise)


SPOILS: dict[str, Spoil] = {
    "blurred": _blurred, "noised": _noised, "tinted": _tinted, "half erased": _erased, "faded": _faded,
    "jpeg": _jpeg, "latent smeared": _smeared, "few steps": _few_step,
}  # fmt: skip
KINDS = (*SPOILS, "wrong style", "wrong thing")
DRAW = (*SPOILS, "latent smeared", "few steps", *("wrong style",) * 6, *("wrong thing",) * 6)


@dataclass(frozen=True)
class Pairs:
    """`better[i]` is preferred to `worse[i]` for `texts[i]`; pictures (n, 3, 64, 64) in 0..1."""

    texts: list[str]
    better: torch.Tensor
    worse: torch.Tensor
    kinds: list[str]
    rows: list[data.Row]


class Maker:
    """Draws pairs from the training rows, or from rows kept apart for measuring."""

    def __init__(self, pictures: data.Pictures) -> None:
        made = data.softened(pictures.pixels)
        self.pictures, self.mild, self.smeared = pictures, made["mild"], made["smeared"]

    def training_rows(self, n: int, rng: random.Random) -> list[data.Row]:
        p, rows = self.pictures, []
        for _ in range(n):
            have = p.by_thing[rng.choice(p.own if rng.random() < 0.5 else p.other)]
            rows.append(rng.choices(have, [3.0 if r.style in data.FEW_SHOT else 1.0 for r in have])[0])
        return rows

    def good(self, row: data.Row, rng: random.Random) -> torch.Tensor:
        """The artwork, or about as often the artwork as the painter's autoencoder draws it."""
        source = self.mild if rng.random() < 0.5 else self.pictures.pixels
        return source[row.index].float() / 255

    def bad(self, row: data.Row, kind: str, pool: list[data.Row], rng: random.Random,
            noise: torch.Generator) -> torch.Tensor:  # fmt: skip
        """A worse picture for the same caption; other things and styles come from `pool`."""
        if kind == "wrong style":
            others = [r for r in pool if r.label == row.label and r.style != row.style]
            return self.good(rng.choice(others), rng) if others else self.bad(row, "wrong thing", pool, rng, noise)
        if kind == "wrong thing":
            while (other := rng.choice(pool)).label == row.label:
                pass
            return self.good(other, rng)
        smear = self.smeared[row.index].float() / 255
        return SPOILS[kind](self.good(row, rng), smear, rng, noise).clamp(0, 1)

    def pool(self, row: data.Row, rng: random.Random) -> list[data.Row]:
        """Training pictures a wrong one is drawn from: the same thing, the same style, anything."""
        return [*self.pictures.by_thing[row.label], *rng.sample(self.pictures.train, 3)]

    def pairs(self, rows: list[data.Row], kinds: list[str], rng: random.Random, noise: torch.Generator,
              measuring: list[data.Row] | None = None) -> Pairs:  # fmt: skip
        texts, better, worse = [], [], []
        for row, kind in zip(rows, kinds, strict=True):
            pool = measuring if measuring is not None else self.pool(row, rng)
            texts.append(data.plain_caption(row.label, row.style, rng) if measuring is not None else
                         data.caption(row.label, self.pictures.tags[row.label], row.style, rng))  # fmt: skip
            better.append(self.good(row, rng))
            worse.append(self.bad(row, kind, pool, rng, noise))
        return Pairs(texts, torch.stack(better), torch.stack(worse), kinds, rows)

    def batch(self, n: int, step: int) -> Pairs:
        """`n` training pairs, a function of `step` alone; pictures slightly moved."""
        rng, noise = random.Random(f"pairs/{step}"), torch.Generator().manual_seed(step)
        kinds = [rng.choice(DRAW) for _ in range(n)]
        made = self.pairs(self.training_rows(n, rng), kinds, rng, noise)
        better, worse = (data.moved(x, noise, 0.08, 0.08) for x in (made.better, made.worse))
        return Pairs(made.texts, better, worse, made.kinds, made.rows)

    def measuring(self, rows: list[data.Row], each: int) -> Pairs:
        """`each` pairs of every kind over `rows` (never trained on), always the same."""
        rng, noise = random.Random("pairs/measuring"), torch.Generator().manual_seed(5)
        kinds = [kind for kind in KINDS for _ in range(each)]
        return self.pairs([rng.choice(rows) for _ in kinds], kinds, rng, noise, measuring=rows)


def letterboxed(x: torch.Tensor, wide: bool) -> torch.Tensor:
    """What HPS's preprocessing makes of an 80x64 (`wide`) or 64x80 page: artwork at 4/5 size on white, black bars."""
    small = F.interpolate(x, size=(51, 51), mode="bicubic", antialias=True)
    page = torch.zeros_like(x)
    page[:, :, slice(6, 57) if wide else slice(None), slice(None) if wide else slice(6, 57)] = 1.0
    page[:, :, 6:57, 6:57] = small
    return page


def accuracy(better: torch.Tensor, worse: torch.Tensor, kinds: list[str]) -> dict[str, float]:
    """Share of pairs whose better picture scores higher, per kind and over all."""
    won = (better > worse).float()
    table = {k: round(won[[i for i, kind in enumerate(kinds) if kind == k]].mean().item(), 3) for k in KINDS}
    return table | {"all": round(won.mean().item(), 3)}
