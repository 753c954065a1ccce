"""Checkpoints of Stable Diffusion's real architectures with random weights, as a benchmark folder to draw from.

`sd15` has 0.86 G values in its denoiser, `sdxl` 2.6 G; saved in half precision a checkpoint takes 2.1 and 6.9 GB, so
20 of them, half and half, need 90 GB.  `tiny` narrows every layer and keeps the structure.
"""

from __future__ import annotations

import gc
import json
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
         "set_alpha_to_one": False, "steps_offset": 1}  # fmt: skip
SIDES = {"sd15": ((512, 512), (512, 768)), "sdxl": ((1024, 1024), (832, 1216))}


def build(root: Path, families: list[str], count: int, tiny: bool) -> Path:
    """Write `count` checkpoints, the families in turn, with demonstrations that draw with them; return `root`."""
    import torch

    records, demonstrations = [], []
    rng = random.Random(0)
    for at in range(count):
        family = families[at % len(families)]
        torch.manual_seed(at)
        pipe = {"sd15": sd15, "sdxl": sdxl}[family](tiny)
        folder = root / "models" / f"{family}-{at}"
        (pipe if tiny else pipe.to(torch.float16)).save_pretrained(str(folder), safe_serialization=True)
        del pipe
        gc.collect()
        records.append(_record(family, folder, root))
    for at in range(512):
        record = rng.choice(records)
        width, height = rng.choice(SIDES[record["base_model"]])
        arguments = {"sampler": rng.choice(["Euler a", "DPM++ 2M Karras"]), "steps": 20, "cfg_scale": 7,
                     "width": width // (8 if tiny else 1), "height": height // (8 if tiny else 1)}  # fmt: skip
        plan = {"prompt": f"a red fox, number {at}", "model": record["id"], "arguments": arguments}
        demonstrations.append({"id": f"d{at}", "plan": plan, "picture": "", "picture_sha256": "", "split": "supervised",
                               "source": "made up", "licence": "CC0-1.0", "attribution": ""})  # fmt: skip
    item = {"id": "i1", "input": {"id": "i1", "kind": "single", "messages": [{"text": "a fox"}]},
            "demonstration": "d0", "split": "supervised"}  # fmt: skip
    manifest = {"name": "full-size", "version": "1", "label": "random weights", "licence": "CC0-1.0",
                "default_model": records[0]["id"], "few_shot_threshold": 1, "pictures": False}  # fmt: skip
    (root / "benchmark.json").write_text(json.dumps(manifest))
    for name, lines in (("catalog", records), ("demonstrations", demonstrations), ("items", [item])):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


def _record(family: str, folder: Path, root: Path) -> dict[str, Any]:
    from chatgenbench.render.weights import weights_digest

    return {"id": folder.name, "name": folder.name, "file_stem": folder.name, "type": "checkpoint",
            "base_model": family, "description": "random weights", "sha256": weights_digest(folder),
            "files": {"diffusers": folder.relative_to(root).as_posix()}, "licence": {"spdx": "CC0-1.0"}}  # fmt: skip


def sd15(tiny: bool) -> Any:
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=64, cross_attention_dim=64 if tiny else 768, attention_head_dim=8,
        block_out_channels=(32, 64, 64, 64) if tiny else (320, 640, 1280, 1280),
        norm_num_groups=8 if tiny else 32,
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae=_vae(tiny), text_encoder=_text(64, 2, 2) if tiny else _text(768, 12, 12), tokenizer=_tokenizer(), unet=unet,
        scheduler=DDIMScheduler(**NOISE), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sdxl(tiny: bool) -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    wide, pooled = (128, 64) if tiny else (2048, 1280)
    unet = UNet2DConditionModel(
        sample_size=128, cross_attention_dim=wide, use_linear_projection=True,
        block_out_channels=(32, 64, 64) if tiny else (320, 640, 1280),
        attention_head_dim=(4, 8, 8) if tiny else (5, 10, 20),
        transformer_layers_per_block=(1, 1, 2) if tiny else (1, 2, 10),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        addition_embed_type="text_time", addition_time_embed_dim=8 if tiny else 256,
        projection_class_embeddings_input_dim=pooled + 6 * (8 if tiny else 256), norm_num_groups=8 if tiny else 32,
    )  # fmt: skip
    noise = {key: NOISE[key] for key in ("beta_start", "beta_end", "beta_schedule", "steps_offset")}
    return StableDiffusionXLPipeline(
        vae=_vae(tiny, 0.13025), text_encoder=_text(64, 2, 2) if tiny else _text(768, 12, 12),
        text_encoder_2=_text(64, 2, 2, pooled) if tiny else _text(1280, 32, 20, pooled, "gelu"),
        tokenizer=_tokenizer(), tokenizer_2=_tokenizer(), unet=unet, scheduler=EulerDiscreteScheduler(**noise),
        add_watermarker=False,
    )  # fmt: skip


def _vae(tiny: bool, scaling: float = 0.18215) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 16, 16, 16) if tiny else (128, 256, 512, 512), layers_per_block=2, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=8 if tiny else 32, sample_size=512, scaling_factor=scaling,
    )  # fmt: skip


def _text(width: int, layers: int, heads: int, projection: int | None = None, activation: str = "quick_gelu") -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=heads, hidden_act=activation, projection_dim=projection or width,
        bos_token_id=49406, eos_token_id=49407, pad_token_id=49407,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def _tokenizer() -> Any:
    from tests.render.tiny import tokenizer

    return tokenizer()
