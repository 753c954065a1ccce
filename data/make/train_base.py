"""Train the miniature's base checkpoint: a stock `StableDiffusionPipeline` on 8x8x16 latents.

UNet and CLIP text encoder are trained together (v-prediction, EMA) on all supervised styles and the handful
of each few-shot style.  Resumes from `cache/base.pt`; writes `data/miniature/models/base`.

    python data/make/train_base.py --steps 3200 --threads 1
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import time
from typing import Any

import painter_data as data
import torch
import torch.nn.functional as F
import world
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

OUT = world.HERE.parent / "miniature" / "models" / "base"
WIDTH = 128
BATCH = 64
RATE = 1.2e-3
SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000, "prediction_type": "v_prediction",
}  # fmt: skip


def unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8, in_channels=16, out_channels=16, block_out_channels=(64, 160), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=WIDTH, attention_head_dim=4, norm_num_groups=16,
    )  # fmt: skip


def text_encoder(tok: Any) -> CLIPTextModel:
    model = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tok), hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=data.MAX_TOKENS, projection_dim=WIDTH,
        bos_token_id=len(tok) - 2, eos_token_id=len(tok) - 1, pad_token_id=len(tok) - 1,
    ))  # fmt: skip
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(data.word_vectors(tok, WIDTH))
    return model


def diffusion_loss(net: Any, latents: torch.Tensor, words: torch.Tensor, noiser: DDIMScheduler,
                   rng: torch.Generator) -> torch.Tensor:  # fmt: skip
    """Mean squared v-prediction error at uniformly random timesteps."""
    t = torch.randint(1000, (len(latents),), generator=rng)
    noise = torch.randn(latents.shape, generator=rng)
    wanted = noiser.get_velocity(latents, noise, t)
    return F.mse_loss(net(noiser.add_noise(latents, noise, t), t, words).sample, wanted)


def encode_words(tok: Any, encoder: Any, texts: list[str]) -> torch.Tensor:
    ids = tok(texts, padding="max_length", max_length=data.MAX_TOKENS, truncation=True, return_tensors="pt").input_ids
    return encoder(ids)[0]


def base_batch(pictures: data.Set, rng: random.Random) -> tuple[torch.Tensor, list[str]]:
    size = rng.choices(data.SIZES, (0.6, 0.2, 0.2))[0]
    rows = [rng.choice(pictures.rows[rng.choice(STYLE_DRAW)]) for _ in range(BATCH)]
    latents = pictures.latents[size][rows].clone()
    texts = []
    for i, row in enumerate(rows):
        roll = rng.random()
        if roll < 0.03:
            latents[i] = pictures.spoilt[size][rng.randrange(150)]
            texts.append(rng.choice(("blurry, low quality", "blurry, noise, artifacts", "lowres, blurry",
                                     "low quality, jpeg artifacts", "ugly, blurry, noisy")))  # fmt: skip
        else:
            texts.append("" if roll < 0.12 else pictures.base_caption(row, rng))
    return latents, texts


#: Few-shot styles have a fifth of the pictures and are drawn a quarter as often.
STYLE_DRAW = [s.key for s in world.STYLES for _ in range(1 if s.few_shot else 4)]


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--steps", type=int, default=3200)
    args.add_argument("--threads", type=int, default=1)
    opts = args.parse_args()
    torch.set_num_threads(opts.threads)
    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(world.CACHE / "vae").eval()
    pictures = data.Set(vae)
    tok = data.tokenizer(world.CACHE / "tokenizer")
    nets = torch.nn.ModuleDict({"unet": unet(), "text": text_encoder(tok)})
    nets["unet"].to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(
        [{"params": nets["unet"].parameters()}, {"params": nets["text"].parameters(), "scale": 0.4}],
        lr=RATE, betas=(0.9, 0.99), weight_decay=0.0,
    )  # fmt: skip
    noiser = DDIMScheduler(**SCHEDULE)
    path, step = world.CACHE / "base.pt", 0
    ema = {k: v.clone() for k, v in nets.state_dict().items()}
    if path.exists():
        saved = torch.load(path, weights_only=True)
        nets.load_state_dict(saved["nets"]), optimiser.load_state_dict(saved["optimiser"])
        ema, step = saved["ema"], saved["step"]
    print(f"{sum(p.numel() for p in nets['unet'].parameters()):,} unet parameters", flush=True)
    began, mean = time.monotonic(), 0.0
    while step < opts.steps:
        rng, noise_rng = random.Random(step), torch.Generator().manual_seed(step)
        rate = RATE * min(1, (step + 1) / 150) * (0.5 + 0.5 * math.cos(math.pi * step / opts.steps)) + 1e-5
        for group in optimiser.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        latents, texts = base_batch(pictures, rng)
        loss = diffusion_loss(nets["unet"], latents, encode_words(tok, nets["text"], texts), noiser, noise_rng)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(nets.parameters(), 1.0)
        optimiser.step()
        step += 1
        with torch.no_grad():
            decay = min(0.997, 1 - 1 / (step + 2))
            for k, v in nets.state_dict().items():
                ema[k].lerp_(v, 1 - decay) if v.is_floating_point() else ema[k].copy_(v)
        mean = loss.item() if mean == 0 else 0.98 * mean + 0.02 * loss.item()
        if step % 50 == 0:
            print(f"{step} loss {mean:.4f} {time.monotonic() - began:.0f}s", flush=True)
        if step % 300 == 0 or step == opts.steps:
            state = {"nets": nets.state_dict(), "optimiser": optimiser.state_dict(), "ema": ema, "step": step}
            torch.save(state, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)
    export(ema, vae, tok)


def pipeline(ema: dict[str, torch.Tensor], vae: AutoencoderKL, tok: Any) -> StableDiffusionPipeline:
    nets = torch.nn.ModuleDict({"unet": unet(), "text": text_encoder(tok)})
    nets.load_state_dict(ema)
    return StableDiffusionPipeline(
        vae=vae, text_encoder=nets["text"], tokenizer=tok, unet=nets["unet"],
        scheduler=DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def export(ema: dict[str, torch.Tensor], vae: AutoencoderKL, tok: Any) -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    pipeline(ema, vae, tok).to(dtype=torch.float16).save_pretrained(OUT, safe_serialization=True)
    print("wrote", OUT, flush=True)


if __name__ == "__main__":
    main()
