"""Train the miniature's ImageReward: ImageReward's ranking loss on the preference pairs of `scorer_pairs`.

A caption's better picture is ranked above its worse one and above two other captions' good pictures.  In the
first part of the training the towers also learn to imitate the miniature's HPS (its picture features, its text
features, its values), which fades out; the ranking loss alone decides the end.

    python data/make/train_reward.py

Needs `cache/hps.pt`; resumes from `cache/reward.pt`; writes `data/miniature/scorers/reward`.  Measured on the
committed weights (850 steps; 0.6 s of one core each): pair accuracy .783 on 150 held-out things and .815 on unseen
pictures of the few-shot styles; faded and few steps .98-1.0, but half erased .35-.47 and wrong thing .63-.70.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import clip_model as clip
import reward_model as reward
import scorer_data as data
import scorer_pairs
import torch
import torch.nn.functional as F
import world
from torch import nn
from train_clip import parameters, save
from train_hps import KIND

PAIRS = 32
RATE = 1.2e-3


class Teacher:
    """The miniature's HPS, frozen."""

    def __init__(self) -> None:
        self.net, self.tok = clip.network(KIND).to(memory_format=torch.channels_last).eval(), clip.tokenizer()
        self.net.load_state_dict(torch.load(world.CACHE / "hps.pt", weights_only=True)["ema"])

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        return clip.encode_pair(self.net, x, self.tok(texts))


class Student(nn.Module):
    """The reward network with the two projections that imitate the teacher's features (not kept)."""

    def __init__(self, words: list[str]) -> None:
        super().__init__()
        self.net = reward.Network(len(words))
        reward.start_words(self.net, words)
        self.picture, self.text = nn.Linear(reward.VISION["hidden_size"], 128), nn.Linear(reward.HEAD[0], 128)


def imitation(student: Student, seen: torch.Tensor, read: torch.Tensor, wanted: tuple[torch.Tensor, torch.Tensor],
              ) -> torch.Tensor:  # fmt: skip
    picture = F.normalize(student.picture(seen.mean(1)).float(), dim=-1)
    text = F.normalize(student.text(read).float(), dim=-1)
    return 2 - (picture * wanted[0]).sum(1).mean() - (text * wanted[1]).sum(1).mean()


def loss_of(student: Student, reader: reward.Reader, teacher: Teacher, made: scorer_pairs.Pairs, guide: float,
            ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """(loss, share of the pairs ranked rightly); `guide` in 0..1 weighs the imitation."""
    n, x = len(made.texts), torch.cat([made.better, made.worse])
    ids, mask = reader(made.texts)
    order = torch.arange(n)
    pick = torch.cat([order, order + n, order.roll(1), order.roll(7)])
    with torch.autocast("cpu", torch.bfloat16):
        seen = student.net.look(x)
        rewards = student.net(seen[pick], ids.repeat(4, 1), mask.repeat(4, 1))
        read = student.net.read(ids, mask) if guide > 0 else None
    best, rest = rewards[:n], rewards[n:].view(3, n)
    same = torch.tensor([[made.rows[i] == made.rows[i - k] for i in range(n)] for k in (1, 7)])
    keep = torch.cat([torch.ones(1, n), (~same).float()])
    weight = torch.tensor([1.0, 0.5, 0.5])[:, None] * keep
    loss = (weight * F.softplus(rest - best)).sum() / n
    if read is not None:
        wanted = teacher(x, made.texts)
        value = (wanted[0][pick] * wanted[1].repeat(4, 1)).sum(1)
        loss = loss + guide * (imitation(student, seen, read, wanted) + F.mse_loss(rewards, 20 * (value - 0.18)))
    return loss, (best > rest[0]).float().mean()


@torch.no_grad()
def rewards_of(net: reward.Network, reader: reward.Reader, x: torch.Tensor, texts: list[str]) -> torch.Tensor:
    ids, mask = reader(texts)
    parts = [slice(i, i + 64) for i in range(0, len(x), 64)]
    return torch.cat([net(net.look(x[p]), ids[p], mask[p]) for p in parts])


def report(net: reward.Network, reader: reward.Reader, maker: scorer_pairs.Maker) -> tuple[float, float]:
    """Prints pair accuracies; returns mean and standard deviation of all measured rewards."""
    net.eval()
    rewards = []
    p = maker.pictures
    for name, rows in (("held-out things", p.held_out), ("unseen pictures of few-shot styles", p.unseen)):
        made = maker.measuring(rows, 60)
        better, worse = (rewards_of(net, reader, x, made.texts) for x in (made.better, made.worse))
        print(name, "pair accuracy", scorer_pairs.accuracy(better, worse, made.kinds), flush=True)
        means = {k: round(worse[[i for i, kind in enumerate(made.kinds) if kind == k]].mean().item(), 2)
                 for k in scorer_pairs.KINDS}  # fmt: skip
        print(name, f"mean raw reward: good {better.mean():.2f}, worse", means, flush=True)
        rewards += [better, worse]
    everything = torch.cat(rewards)
    return everything.mean().item(), everything.std().item()


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--steps", type=int, default=850)
    opts = args.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    maker, reader, teacher = scorer_pairs.Maker(data.Pictures()), reward.Reader(), Teacher()
    student = Student(reader.words)
    optimiser = torch.optim.AdamW(parameters(student), lr=RATE, betas=(0.9, 0.98))
    ema = {k: v.clone() for k, v in student.net.state_dict().items()}
    path, step = world.CACHE / "reward.pt", 0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        student.load_state_dict(saved["student"]), optimiser.load_state_dict(saved["optimiser"])
        ema, step = saved["ema"], saved["step"]
    print(f"{sum(p.numel() for p in student.net.parameters()):,} parameters, {len(reader.words)} words", flush=True)
    began, mean, hit = time.monotonic(), 0.0, 0.5
    while step < opts.steps:
        done = step / opts.steps
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 60) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-6
        loss, won = loss_of(student, reader, teacher, maker.batch(PAIRS, step), max(0.0, 1 - done / 0.8))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        step += 1
        with torch.no_grad():
            for k, v in student.net.state_dict().items():
                ema[k].lerp_(v, 1 - min(0.98, 1 - 1 / (step + 2)))
        mean = loss.item() if mean == 0 else 0.95 * mean + 0.05 * loss.item()
        hit += 0.05 * (won.item() - hit)
        if step % 20 == 0:
            print(f"{step} loss {mean:.3f} pairs {hit:.3f} {time.monotonic() - began:.0f}s", flush=True)
        if step % 150 == 0 or step == opts.steps:
            save(path, {"student": student.state_dict(), "optimiser": optimiser.state_dict(), "ema": ema, "step": step})
    finish(ema, reader, maker)


def finish(ema: dict[str, Any], reader: reward.Reader, maker: scorer_pairs.Maker) -> None:
    net = reward.Network(len(reader.words))
    net.load_state_dict(ema)
    mean, std = report(net, reader, maker)
    print(f"raw rewards of the measured mix: mean {mean:.4f}, standard deviation {std:.4f}", flush=True)
    reward.write(data.OUT / "reward", ema, reader, mean, std,
                 "ImageReward's architecture in tiny, trained on artificial preference pairs; not human preferences "
                 "and not comparable with the published ImageReward.")  # fmt: skip


if __name__ == "__main__":
    main()
