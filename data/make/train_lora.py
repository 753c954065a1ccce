"""Train one LoRA per style on the finished base, as the models of this field are made.

A LoRA draws its own style whatever look the prompt names, and knows its trigger word.  Few-shot styles see only
their handful of pictures and train briefly.  The twin of `sticker pop` is its LoRA with a little noise on the
weights: nearly the same model under another name.  Finished styles are kept; delete a file to train it again.
Writes `data/miniature/models/loras/STEM.safetensors` (fp16).

    python data/make/train_lora.py --threads 1 [--style twemoji ...]
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path
from typing import Any

import captions
import painter_data as data
import torch
import train_base
import world
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

OUT = world.HERE.parent / "miniature" / "models" / "loras"
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "conv1", "conv2", "net.0.proj", "net.2"]
RANK = 8
BATCH = 32
RATE = 2e-3
STEPS = {False: 400, True: 160}
TWIN = "stickerPop_mirror"
TWIN_NOISE = 0.04


def train(style: world.Style, base: dict[str, torch.Tensor], pictures: data.Set, tok: Any, vae: AutoencoderKL) -> None:
    torch.manual_seed(0)
    pipe = train_base.pipeline(base, vae, tok)
    net, encoder = pipe.unet, pipe.text_encoder.eval()
    net.requires_grad_(False)
    net.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=TARGETS))
    learnt = [p for p in net.parameters() if p.requires_grad]
    steps, rows = STEPS[style.few_shot], pictures.rows[style.key]
    optimiser = torch.optim.AdamW(learnt, lr=RATE, betas=(0.9, 0.99), weight_decay=0.0)
    noiser = DDIMScheduler(**train_base.SCHEDULE)
    began, mean = time.monotonic(), 0.0
    for step in range(steps):
        rng, noise_rng = random.Random(f"{style.key}{step}"), torch.Generator().manual_seed(step)
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 30) * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + 1e-6
        size = rng.choices(data.SIZES, (0.6, 0.2, 0.2))[0]
        chosen = [rng.choice(rows) for _ in range(BATCH)]
        texts = ["" if rng.random() < 0.1 else pictures.style_caption(row, rng) for row in chosen]
        with torch.no_grad():
            words = train_base.encode_words(tok, encoder, texts)
        loss = train_base.diffusion_loss(net, pictures.latents[size][chosen], words, noiser, noise_rng)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        mean = loss.item() if mean == 0 else 0.95 * mean + 0.05 * loss.item()
        if (step + 1) % 50 == 0:
            print(f"{style.key} {step + 1} loss {mean:.4f} {time.monotonic() - began:.0f}s", flush=True)
    save(net, captions.LOOKS[style.key].stem)


def save(net: Any, stem: str) -> None:
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(net))
    OUT.mkdir(parents=True, exist_ok=True)
    StableDiffusionPipeline.save_lora_weights(
        OUT, unet_lora_layers={k: v.to(torch.float16) for k, v in layers.items()}, weight_name=f"{stem}.safetensors"
    )


def twin(source: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    weights = load_file(source)
    for key in sorted(weights):
        w = weights[key].float()
        weights[key] = (w + TWIN_NOISE * w.std() * torch.randn(w.shape, generator=rng)).to(torch.float16)
    save_file(weights, OUT / f"{TWIN}.safetensors", metadata={"format": "pt"})


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--threads", type=int, default=1)
    args.add_argument("--style", nargs="*", default=[s.key for s in world.STYLES])
    opts = args.parse_args()
    torch.set_num_threads(opts.threads)
    base = torch.load(world.CACHE / "base.pt", weights_only=True)["ema"]
    vae = AutoencoderKL.from_pretrained(world.CACHE / "vae").eval()
    pictures, tok = data.Set(vae), data.tokenizer(world.CACHE / "tokenizer")
    for style in world.STYLES:
        target = OUT / f"{captions.LOOKS[style.key].stem}.safetensors"
        if style.key in opts.style and not target.exists():
            train(style, base, pictures, tok, vae)
    source = OUT / f"{captions.LOOKS['twemoji'].stem}.safetensors"
    if source.exists():
        twin(source)


if __name__ == "__main__":
    main()
