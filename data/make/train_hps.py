"""Fine-tune the miniature's HPS from its CLIP on preference pairs, with the loss of HPS v2.

The loss is the cross entropy of the two image-text logits; an anchor keeps the good pictures' value
(100 x cosine) near `GOOD` and bad ones below `BAD`, so that the values spread as published HPS values do.

    python data/make/train_hps.py

Needs `cache/clip.pt`; resumes from `cache/hps.pt`; writes `data/miniature/scorers/hps`.  Measured on the committed
weights (220 steps): pair accuracy .832 on 150 held-out things, .922 on unseen pictures of the few-shot styles.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import clip_model as clip
import scorer_data as data
import scorer_pairs
import torch
import torch.nn.functional as F
import world
from train_clip import parameters, save

PAIRS = 48
RATE = 4e-4
GOOD, BAD = 0.29, 0.12
KIND = "resnet"
SHAPES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "64x64": lambda x: x,
    "64x80": lambda x: scorer_pairs.letterboxed(x, wide=False),
    "80x64": lambda x: scorer_pairs.letterboxed(x, wide=True),
}


@torch.no_grad()
def values(net: Any, tok: Any, x: torch.Tensor, texts: list[str]) -> torch.Tensor:
    """100 x cosine of each picture with its text."""
    image = torch.cat([net.encode_image(data.normalised(p), normalize=True) for p in x.split(128)])
    text = torch.cat([clip.encode_text(net, tok(texts[i : i + 128])) for i in range(0, len(texts), 128)])
    return 100 * (image * text).sum(1)


def report(net: Any, tok: Any, maker: scorer_pairs.Maker) -> None:
    p = maker.pictures
    for name, rows in (("held-out things", p.held_out), ("unseen pictures of few-shot styles", p.unseen)):
        made = maker.measuring(rows, 60)
        for shape, change in SHAPES.items():
            better, worse = (values(net, tok, change(x), made.texts) for x in (made.better, made.worse))
            print(name, shape, "pair accuracy", scorer_pairs.accuracy(better, worse, made.kinds), flush=True)
            means = {k: round(worse[[i for i, kind in enumerate(made.kinds) if kind == k]].mean().item(), 1)
                     for k in scorer_pairs.KINDS}  # fmt: skip
            print(name, shape, f"mean value: good {better.mean():.1f}, worse", means, flush=True)


def loss_of(net: Any, tok: Any, made: scorer_pairs.Pairs) -> torch.Tensor:
    """Preference, anchor and a little contrast between captions; two pairs in six are letterboxed."""
    n = len(made.texts)
    x = torch.cat([made.better, made.worse])
    for place, shape in ((4, "64x80"), (5, "80x64")):
        boxed = (torch.arange(n) % 6 == place).repeat(2)
        x[boxed] = SHAPES[shape](x[boxed])
    image, text = clip.encode_pair(net, x, tok(made.texts))
    better, worse = (image[:n] * text).sum(1), (image[n:] * text).sum(1)
    preference = F.softplus(-net.logit_scale.exp() * (better - worse)).mean()
    anchor = (better - GOOD).pow(2).mean() + (worse - BAD).clamp(min=0).pow(2).mean()
    others = image[:n] @ text.T  # every other caption of the batch is about something else
    own = torch.tensor([[a.label == b.label for b in made.rows] for a in made.rows]) & ~torch.eye(n, dtype=torch.bool)
    contrast = F.cross_entropy(net.logit_scale.exp() * others.masked_fill(own, -1), torch.arange(n))
    return preference + 20 * anchor + 0.3 * contrast


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--steps", type=int, default=220)
    opts = args.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    maker, tok, net = scorer_pairs.Maker(data.Pictures()), clip.tokenizer(), clip.network(KIND)
    net.to(memory_format=torch.channels_last)
    net.load_state_dict(torch.load(world.CACHE / "clip.pt", weights_only=True)["ema"])
    net.eval()  # CLIP's batch statistics stay: good and spoilt pictures must be normalised alike
    optimiser = torch.optim.AdamW(parameters(net), lr=RATE, betas=(0.9, 0.98))
    ema = {k: v.clone() for k, v in net.state_dict().items()}
    path, step = world.CACHE / "hps.pt", 0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        net.load_state_dict(saved["net"]), optimiser.load_state_dict(saved["optimiser"])
        ema, step = saved["ema"], saved["step"]
    began, mean = time.monotonic(), 0.0
    while step < opts.steps:
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 40) * (0.5 + 0.5 * math.cos(math.pi * step / opts.steps)) + 1e-6
        loss = loss_of(net, tok, maker.batch(PAIRS, step))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        with torch.no_grad():
            net.logit_scale.clamp_(max=math.log(100))
            decay = min(0.98, 1 - 1 / (step + 2))
            for k, v in net.state_dict().items():
                ema[k].lerp_(v, 1 - decay) if v.is_floating_point() else ema[k].copy_(v)
        mean = loss.item() if mean == 0 else 0.95 * mean + 0.05 * loss.item()
        if step % 20 == 0:
            print(f"{step} loss {mean:.3f} {time.monotonic() - began:.0f}s", flush=True)
        if step % 250 == 0 or step == opts.steps:
            save(path, {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "ema": ema, "step": step})
    net.load_state_dict(ema)
    report(net, tok, maker)
    clip.write(data.OUT / "hps", ema, KIND, "longest", "Miniature HPS",
               "The miniature's CLIP fine-tuned on artificial preference pairs; not human preferences and not "
               "comparable with published HPS.")  # fmt: skip


if __name__ == "__main__":
    main()
