"""Train the miniature's CLIP and measure it on things and pictures it never saw.

    python data/make/train_clip.py

Needs `cache/world.npz` and `cache/vae`; resumes from `cache/clip.pt`; writes `data/miniature/scorers/clip`.
Measured on the committed weights (1,220 steps; 0.3-0.45 s of one core each): on 560 training pictures of the 104
benchmark things R@1 .914, R@5 .991, style among seven .739, cosine x100 right 40.3, right thing in a wrong style
31.1, wrong thing 10.1 (right style) and 1.5 (wrong style).  On 150 held-out things R@1 .102, R@5 .223, style .614.
On 168 unseen pictures of the few-shot styles R@1 .685, but style .107: below chance.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clip_model as clip
import scorer_data as data
import torch
import torch.nn.functional as F
import world

BATCH = 96
RATE = 1.5e-3
FIRST = 800  # steps of the first cosine; in the second the logit scale rises to `SCALE` and style is stressed
SECOND_RATE = 8e-4
SCALE = 36.0
FLOOR = -0.05  # cosine below which a wrong pair is not pushed further
NOTE = "A small CLIP trained on the miniature's artwork and captions; not comparable with published CLIP."
RIGHT = 0.36  # cosine above which a right pair is not pushed further


@dataclass(frozen=True)
class Batch:
    """Pictures `x` in 0..1 with `styles` (index), a caption for each and then one for each style, which fit which."""

    x: torch.Tensor
    texts: list[str]
    true: torch.Tensor
    styles: torch.Tensor


def draw(pictures: data.Pictures, rng: random.Random) -> list[data.Row]:
    """A batch full of hard negatives: several styles of a thing, several things of a style, at times one group."""
    pool = pictures.other
    if rng.random() < 0.3:
        group = pictures.group[rng.choice(pool)]
        pool = [label for label in pool if pictures.group[label] == group]
    rows: list[data.Row] = []
    labels: set[str] = set()
    while len(rows) < BATCH:
        label = rng.choice(pictures.own if rng.random() < 0.45 else pool)
        if label in labels and len(labels) < len(pool):
            continue
        labels.add(label)
        have = pictures.by_thing[label]
        weights = [3.0 if row.style in data.FEW_SHOT else 1.0 for row in have]
        chosen = {rng.choices(have, weights)[0] for _ in range(rng.choice((2, 3, 4, 5)))}
        rows += sorted(chosen, key=lambda row: row.index)
    return rows[:BATCH]


def matches(rows: list[data.Row], styled: list[bool]) -> torch.Tensor:
    """(pictures, captions): whether caption j is true of picture i; a caption without style fits every style."""
    n = len(rows)
    return torch.tensor([[rows[i].label == rows[j].label and (not styled[j] or rows[i].style == rows[j].style)
                          for j in range(n)] for i in range(n)], dtype=torch.float32)  # fmt: skip


def loss_of(cosine: torch.Tensor, scale: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE with every true pair a target, and right pairs held near `RIGHT`."""
    logits = cosine * scale
    rows = -(true / true.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    columns = -(true / true.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0).mean()
    return (rows + columns) / 2 + 10 * (cosine.diagonal() - RIGHT).clamp(min=0).pow(2).mean()


def style_loss(cosine: torch.Tensor, scale: torch.Tensor, styles: torch.Tensor, n: int) -> torch.Tensor:
    """The last seven captions speak of style only: which one fits; and no cosine far below nought."""
    return F.cross_entropy(cosine[:, n:] * scale, styles) + 20 * (FLOOR - cosine).clamp(min=0).pow(2).mean()


def rate_at(step: int, steps: int) -> float:
    """Two cosines, each after a short warm-up."""
    top, at, length = (RATE, step, FIRST) if step < FIRST else (SECOND_RATE, step - FIRST, max(1, steps - FIRST))
    return top * min(1, (at + 1) / 60) * (0.5 + 0.5 * math.cos(math.pi * at / length)) + 1e-6


def batch(pictures: data.Pictures, mild: torch.Tensor, step: int) -> Batch:
    """A function of `step` alone."""
    rng, noise = random.Random(step), torch.Generator().manual_seed(step)
    rows = draw(pictures, rng)
    index = torch.tensor([row.index for row in rows])
    x = pictures.pixels[index]
    x = torch.where(torch.rand(len(x), 1, 1, 1, generator=noise) < 0.45, mild[index], x)
    styled = [rng.random() < 0.75 for _ in rows]
    texts = [data.caption(r.label, pictures.tags[r.label], r.style if s else None, rng)
             for r, s in zip(rows, styled, strict=True)]  # fmt: skip
    texts += [data.style_words(style, rng) for style in data.STYLES]
    styles = torch.tensor([data.STYLES.index(row.style) for row in rows])
    return Batch(data.augmented(x.float() / 255, noise), texts, matches(rows, styled), styles)


def step_loss(net: Any, tok: Any, made: Batch, second: bool) -> torch.Tensor:
    n, scale = len(made.x), net.logit_scale.exp()
    image, text = clip.encode_pair(net, made.x, tok(made.texts if second else made.texts[:n]))
    cosine = image @ text.T
    loss = loss_of(cosine[:, :n], scale, made.true)
    return loss + 0.5 * style_loss(cosine, scale, made.styles, n) if second else loss


# -- measuring ------------------------------------------------------------------------------------------------


@torch.no_grad()
def features(net: Any, pictures: data.Pictures, rows: list[data.Row]) -> torch.Tensor:
    x = pictures.pixels[torch.tensor([row.index for row in rows])]
    return torch.cat([net.encode_image(data.normalised(p.float() / 255), normalize=True) for p in x.split(128)])


@torch.no_grad()
def cosines(net: Any, tok: Any, image: torch.Tensor, labels: list[str]) -> torch.Tensor:
    """(pictures, things, styles) cosines with the plain caption of each thing in each style."""
    rng = random.Random(1)
    texts = [data.plain_caption(label, style, rng) for label in labels for style in data.STYLES]
    text = torch.cat([clip.encode_text(net, tok(texts[i : i + 128])) for i in range(0, len(texts), 128)])
    return (image @ text.T).view(len(image), len(labels), len(data.STYLES))


def measured(net: Any, tok: Any, pictures: data.Pictures, rows: list[data.Row]) -> dict[str, float]:
    """Recall of the thing among the things of `rows` (style given), style among seven, mean cosines x100."""
    labels = sorted({row.label for row in rows})
    cos = cosines(net, tok, features(net, pictures, rows), labels)
    n = torch.arange(len(rows))
    thing = torch.tensor([labels.index(row.label) for row in rows])
    style = torch.tensor([data.STYLES.index(row.style) for row in rows])
    ranks = (cos[n, :, style] > cos[n, thing, style][:, None]).sum(1)
    right = torch.zeros_like(cos, dtype=torch.bool)
    right[n, thing] = True
    worn = torch.zeros_like(right)
    worn[n, :, style] = True

    def mean(mask: torch.Tensor) -> float:
        return round(100 * cos[mask].mean().item(), 1)

    return {"pictures": len(rows), "things": len(labels),
            "R@1": round((ranks < 1).float().mean().item(), 3), "R@5": round((ranks < 5).float().mean().item(), 3),
            "style": round((cos[n, thing].argmax(1) == style).float().mean().item(), 3),
            "right/right": mean(right & worn), "right thing/wrong style": mean(right & ~worn),
            "wrong thing/right style": mean(~right & worn), "wrong/wrong": mean(~right & ~worn)}  # fmt: skip


def report(net: Any, tok: Any, pictures: data.Pictures) -> None:
    net.eval()
    own = [row for row in pictures.train if row.label in world.THINGS]
    for name, rows in (("held-out things", pictures.held_out), ("benchmark things", own),
                       ("unseen pictures of few-shot styles", pictures.unseen)):  # fmt: skip
        print(name, measured(net, tok, pictures, rows), flush=True)


# -- training -------------------------------------------------------------------------------------------------


def save(path: Path, state: dict[str, Any]) -> None:
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def parameters(net: Any) -> list[dict[str, Any]]:
    """Weight decay for matrices only, and none for the word vectors."""
    flat = [p for n, p in net.named_parameters() if p.ndim < 2 or "embedding" in n]
    deep = [p for n, p in net.named_parameters() if p.ndim >= 2 and "embedding" not in n]
    return [{"params": deep, "weight_decay": 0.05}, {"params": flat, "weight_decay": 0.0}]


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--steps", type=int, default=1220)
    args.add_argument("--kind", default="resnet")
    args.add_argument("--name", default="clip")
    opts = args.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pictures, tok, net = data.Pictures(), clip.tokenizer(), clip.network(opts.kind)
    net.to(memory_format=torch.channels_last)
    clip.start_words(net, tok)
    mild = data.softened(pictures.pixels)["mild"]
    optimiser = torch.optim.AdamW(parameters(net), lr=RATE, betas=(0.9, 0.98))
    ema = {k: v.clone() for k, v in net.state_dict().items()}
    path, step = world.CACHE / f"{opts.name}.pt", 0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        net.load_state_dict(saved["net"]), optimiser.load_state_dict(saved["optimiser"])
        ema, step = saved["ema"], saved["step"]
    print(f"{len(pictures.train)} pictures, {sum(p.numel() for p in net.parameters()):,} parameters", flush=True)
    began, mean = time.monotonic(), 0.0
    while step < opts.steps:
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, opts.steps)
        loss = step_loss(net, tok, batch(pictures, mild, step), second=step >= FIRST)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        with torch.no_grad():
            if step >= FIRST:
                net.logit_scale.fill_(math.log(16 + (SCALE - 16) * min(1, (step - FIRST) / 100)))
            decay = min(0.99, 1 - 1 / (step + 2))
            for k, v in net.state_dict().items():
                ema[k].lerp_(v, 1 - decay) if v.is_floating_point() else ema[k].copy_(v)
        mean = loss.item() if mean == 0 else 0.95 * mean + 0.05 * loss.item()
        if step % 20 == 0:
            print(f"{step} loss {mean:.3f} scale {net.logit_scale.exp().item():.1f} "
                  f"{time.monotonic() - began:.0f}s", flush=True)  # fmt: skip
        if step % 50 == 0 or step == opts.steps:
            save(path, {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "ema": ema, "step": step})
    net.load_state_dict(ema)
    report(net, tok, pictures)
    clip.write(data.OUT / "clip", ema, opts.kind, "shortest", "Miniature CLIP", NOTE)


if __name__ == "__main__":
    main()
