"""Sharpen the autoencoder's decoder while the encoder, and so every latent, stays as it is.

Latents are computed once, noised a little as a sampler's would be, and decoded; only the decoder learns.
Runs beside `train_base.py`.  Resumes from `cache/decoder.pt`; writes `cache/vae_final`.

    python data/make/train_decoder.py --steps 1400 --threads 1
"""

from __future__ import annotations

import argparse
import math
import time

import painter_data as data
import torch
import train_vae
import world
from diffusers import AutoencoderKL

NOISE = 0.15
RATE = 1.5e-3


def pictures(vae: AutoencoderKL) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(latents, pictures) for each drawn size; pictures of things, plus others for breadth in the square set."""
    own, other = train_vae.pictures()
    keep = torch.randperm(len(other), generator=torch.Generator().manual_seed(1))[:600]
    sets = []
    for size in data.SIZES:
        source = torch.cat([own, other[keep]]) if size == (64, 64) else own
        pages = torch.stack([torch.from_numpy(data.letterboxed(p.permute(1, 2, 0).numpy(), *size)) for p in source])
        x = pages.permute(0, 3, 1, 2).contiguous()
        with torch.no_grad():
            z = torch.cat([vae.encode(part.float() / 127.5 - 1).latent_dist.mode() for part in x.split(64)])
        sets.append((z, x))
    return sets


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--steps", type=int, default=1400)
    args.add_argument("--threads", type=int, default=1)
    opts = args.parse_args()
    torch.set_num_threads(opts.threads)
    torch.manual_seed(1)
    vae = AutoencoderKL.from_pretrained(world.CACHE / "vae").to(memory_format=torch.channels_last)
    sets = pictures(vae)
    learner = torch.nn.ModuleList([vae.post_quant_conv, vae.decoder])
    optimiser = torch.optim.AdamW(learner.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.0)
    ema = {k: v.clone() for k, v in learner.state_dict().items()}
    path, step = world.CACHE / "decoder.pt", 0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        learner.load_state_dict(saved["learner"]), optimiser.load_state_dict(saved["optimiser"])
        ema, step = saved["ema"], saved["step"]
    rng, began = torch.Generator().manual_seed(step), time.monotonic()
    while step < opts.steps:
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * step / opts.steps)) + 1e-5
        z, x = sets[(0, 0, 0, 1, 2)[step % 5]]
        rows = torch.randint(len(z), (32,), generator=rng)
        noisy = z[rows] + NOISE * torch.rand((32, 1, 1, 1), generator=rng) * torch.randn(z[rows].shape, generator=rng)
        wanted = (x[rows].float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        loss = train_vae.loss_of(wanted, vae.decoder(vae.post_quant_conv(noisy)))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimiser.step()
        step += 1
        with torch.no_grad():
            for k, v in learner.state_dict().items():
                ema[k].lerp_(v, 1 - min(0.995, 1 - 1 / (step + 2)))
        if step % 100 == 0:
            print(f"{step} loss {loss.item():.4f} {time.monotonic() - began:.0f}s", flush=True)
        if step % 200 == 0 or step == opts.steps:
            save(path, learner, optimiser, ema, step)
    learner.load_state_dict(ema)
    vae.save_pretrained(world.CACHE / "vae_final")
    with torch.no_grad():
        z, x = sets[0]
        y = torch.cat([vae.decode(part).sample for part in z[:560].split(64)])
    print("psnr", (10 * torch.log10(4 / (y - (x[:560].float() / 127.5 - 1)).pow(2).mean((1, 2, 3)))).mean().item())


def save(path, learner, optimiser, ema, step) -> None:  # type: ignore[no-untyped-def]
    state = {"learner": learner.state_dict(), "optimiser": optimiser.state_dict(), "ema": ema}
    torch.save(state | {"step": step}, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


if __name__ == "__main__":
    main()
