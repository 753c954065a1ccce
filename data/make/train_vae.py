"""Train the miniature's autoencoder: 64x64 pictures to 8x8x16 latents, an ordinary `AutoencoderKL`.

Latents are standardised per channel while training (the affine is folded into `quant_conv` at the end,
so `scaling_factor` is 1) and slightly noised before decoding, so that the decoder forgives a sampler.
Few-shot styles contribute only their handful of pictures.  Resumes from `cache/vae.pt`.

    python data/make/train_vae.py --minutes 20 --threads 2
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
import world
from diffusers import AutoencoderKL

CHANNELS = (16, 32, 64, 128)
LATENT = 16
NOISE = 0.12


def network() -> AutoencoderKL:
    n = len(CHANNELS)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * n,
        up_block_types=("UpDecoderBlock2D",) * n,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        latent_channels=LATENT,
        norm_num_groups=8,
        sample_size=world.SIZE,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """(pictures of the things, all other pictures), uint8 (n, 3, 64, 64)."""
    w = world.load()
    own, other = [], []
    for style in world.STYLES:
        for point, pixels in w.pixels[style.key].items():
            if point in w.things:
                if world.seen(style, w.things[point]):
                    own.append(pixels)
            elif not style.few_shot:
                other.append(pixels)
    return tuple(torch.from_numpy(np.stack(p)).permute(0, 3, 1, 2) for p in (own, other))  # type: ignore[return-value]


def batch(own: torch.Tensor, other: torch.Tensor, n: int, share: float, rng: torch.Generator) -> torch.Tensor:
    k = round(n * share)
    x = torch.cat([
        own[torch.randint(len(own), (k,), generator=rng)],
        other[torch.randint(len(other), (n - k,), generator=rng)],
    ]).float() / 127.5 - 1  # fmt: skip
    dx, dy = (int(v) for v in torch.randint(-3, 4, (2,), generator=rng))
    return torch.roll(x, (dy, dx), (2, 3)).contiguous(memory_format=torch.channels_last)


def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    edge = F.l1_loss(y.diff(dim=2), x.diff(dim=2)) + F.l1_loss(y.diff(dim=3), x.diff(dim=3))
    return F.l1_loss(y, x) + 0.5 * F.mse_loss(y, x) + 0.5 * edge


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--minutes", type=float, default=20)
    args.add_argument("--threads", type=int, default=2)
    opts = args.parse_args()
    torch.set_num_threads(opts.threads)
    torch.manual_seed(0)
    vae = network().to(memory_format=torch.channels_last)
    norm = torch.nn.BatchNorm2d(LATENT, affine=False, momentum=0.02)
    optimiser = torch.optim.AdamW(vae.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=1e-3)
    ema = {k: v.clone() for k, v in vae.state_dict().items()}
    path, step, spent = world.CACHE / "vae.pt", 0, 0.0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        vae.load_state_dict(saved["vae"]), norm.load_state_dict(saved["norm"])
        optimiser.load_state_dict(saved["optimiser"])
        ema, step, spent = saved["ema"], saved["step"], saved["spent"]
    own, other = pictures()
    print(f"{sum(p.numel() for p in vae.parameters()):,} parameters, {len(own)} + {len(other)} pictures", flush=True)
    rng = torch.Generator().manual_seed(step)
    total, began = opts.minutes * 60, time.monotonic()
    while True:
        done = (spent + time.monotonic() - began) / total
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-5
        x = batch(own, other, 32, 0.4 + 0.5 * done, rng)
        moments = vae.quant_conv(vae.encoder(x))
        z = norm(moments[:, :LATENT])
        y = vae.decoder(vae.post_quant_conv(z + NOISE * torch.randn_like(z)))
        loss = loss_of(x, y)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        decay = min(0.995, 1 - 1 / (step + 2))
        with torch.no_grad():
            for k, v in vae.state_dict().items():
                ema[k].lerp_(v, 1 - decay)
        step += 1
        if step % 100 == 0:
            print(f"{step} {done:.2f} loss {loss.item():.4f} {time.monotonic() - began:.0f}s", flush=True)
        if step % 500 == 0:
            save(path, vae, norm, optimiser, ema, step, spent + time.monotonic() - began)
    save(path, vae, norm, optimiser, ema, step, spent + time.monotonic() - began)
    export(ema, norm)


def save(path, vae, norm, optimiser, ema, step, spent) -> None:  # type: ignore[no-untyped-def]
    state = {"vae": vae.state_dict(), "norm": norm.state_dict(), "optimiser": optimiser.state_dict()}
    torch.save(state | {"ema": ema, "step": step, "spent": spent}, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def export(ema: dict[str, torch.Tensor], norm: torch.nn.BatchNorm2d) -> None:
    """Fold the standardisation into quant_conv; the posterior's variance becomes nil."""
    vae = network()
    vae.load_state_dict(ema)
    own, _ = pictures()
    with torch.no_grad():
        z = torch.cat([vae.quant_conv(vae.encoder(p.float() / 127.5 - 1))[:, :LATENT] for p in own.split(64)])
        mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3))
        kept = norm.running_mean.clone(), norm.running_var.sqrt()  # what the decoder was trained on
        print("statistics drift", (mean - kept[0]).abs().max().item(), (std / kept[1] - 1).abs().max().item())
        vae.quant_conv.weight[:LATENT] /= kept[1][:, None, None, None]
        vae.quant_conv.bias[:LATENT] = (vae.quant_conv.bias[:LATENT] - kept[0]) / kept[1]
        vae.quant_conv.weight[LATENT:] = 0
        vae.quant_conv.bias[LATENT:] = -20
        y = torch.cat([vae.decode(vae.encode(p.float() / 127.5 - 1).latent_dist.mode()).sample for p in own.split(64)])
        x = own.float() / 127.5 - 1
        print("reconstruction psnr", (10 * torch.log10(4 / (y - x).pow(2).mean((1, 2, 3)))).mean().item())
    vae.save_pretrained(world.CACHE / "vae")


if __name__ == "__main__":
    main()
