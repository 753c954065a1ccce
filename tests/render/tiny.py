"""A tiny but real world: two Stable Diffusion bases with random weights, two LoRAs, and a benchmark of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from chatgenbench.render.singlefile import clip_tokenizer
from chatgenbench.render.weights import weights_digest

WIDTH = 16
NOISE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "timestep_spacing": "leading",
    "steps_offset": 1,
}


def pipeline(seed: int) -> StableDiffusionPipeline:
    """64 px -> 8x8x16 latents; a few hundred thousand weights besides the vocabulary."""
    torch.manual_seed(seed)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408, hidden_size=WIDTH, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
            bos_token_id=49406, eos_token_id=49407, pad_token_id=49407, projection_dim=WIDTH,
        )
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=16, norm_num_groups=4, sample_size=64,
        scaling_factor=1.0,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=16, out_channels=16, block_out_channels=(16, 32), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH, attention_head_dim=8, norm_num_groups=8,
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=clip_tokenizer(), unet=unet, scheduler=DDIMScheduler(**NOISE),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def save_lora(base: Path, folder: Path, seed: int, unet: list[str], text: list[str]) -> Path:
    """A LoRA with visible effect, in diffusers' format."""
    pipe = StableDiffusionPipeline.from_pretrained(str(base), local_files_only=True)
    torch.manual_seed(seed)
    layers: dict[str, Any] = {}
    for part, model, modules in (("unet", pipe.unet, unet), ("text_encoder", pipe.text_encoder, text)):
        if modules:
            model.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=modules))
            state = get_peft_model_state_dict(model)
            layers[f"{part}_lora_layers"] = {key: torch.randn_like(value) * 0.5 for key, value in state.items()}
    StableDiffusionPipeline.save_lora_weights(str(folder), **layers, safe_serialization=True)
    return folder / "pytorch_lora_weights.safetensors"


def save_single_file(folder: Path, file: Path) -> Path:
    """The weights of a diffusers folder in the one-file layout that Civitai distributes."""
    weights: dict[str, torch.Tensor] = {}
    for part, rename in (("unet", _ldm_unet), ("vae", _ldm_vae), ("text_encoder", _ldm_text)):
        for name in (folder / part).glob("*.safetensors"):
            for key, value in load_file(name).items():
                new = rename(key)
                if part == "vae" and "mid.attn_1" in new and value.ndim == 2:
                    value = value[:, :, None, None]
                weights[new] = value.contiguous()
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, file)
    return file


RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
          "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}  # fmt: skip
UNET = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "down_blocks.0.resnets.0": "input_blocks.1.0", "down_blocks.0.attentions.0": "input_blocks.1.1",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op", "down_blocks.1.resnets.0": "input_blocks.3.0",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0", "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.1.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0", "up_blocks.1.attentions.0": "output_blocks.2.1",
    "up_blocks.1.resnets.1": "output_blocks.3.0", "up_blocks.1.attentions.1": "output_blocks.3.1",
}  # fmt: skip


def _ldm_unet(key: str) -> str:
    prefix = max((p for p in UNET if key.startswith(f"{p}.")), key=len)
    rest = key.removeprefix(prefix)
    if ".resnets." in prefix:
        part, _, leaf = rest[1:].partition(".")
        rest = f".{RESNET[part]}.{leaf}"
    return f"model.diffusion_model.{UNET[prefix]}{rest}"


def _ldm_vae(key: str) -> str:
    for old, new in (
        ("conv_norm_out", "norm_out"), ("mid_block.attentions.0.", "mid.attn_1."),
        ("mid_block.resnets.0", "mid.block_1"), ("mid_block.resnets.1", "mid.block_2"),
        ("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out"),
        ("conv_shortcut", "nin_shortcut"), ("downsamplers.0", "downsample"), ("upsamplers.0", "upsample"),
    ):  # fmt: skip
        key = key.replace(old, new)
    for at in range(4):
        key = key.replace(f"down_blocks.{at}.resnets", f"down.{at}.block").replace(f"down_blocks.{at}", f"down.{at}")
        key = key.replace(f"up_blocks.{at}.resnets", f"up.{3 - at}.block").replace(f"up_blocks.{at}", f"up.{3 - at}")
    return f"first_stage_model.{key}"


def _ldm_text(key: str) -> str:
    bare = key.removeprefix("text_model.")
    return f"cond_stage_model.transformer.text_model.{bare}"


def record(id: str, path: Path, root: Path, role: str, base: str | None = None, **files: str) -> dict[str, Any]:
    """One line of catalog.jsonl."""
    return {
        "id": id, "name": id.title(), "file_stem": id, "type": "lora" if base else "checkpoint",
        "base_model": "SD 1.5", "base": base, "description": f"The {id} look.", "sha256": weights_digest(path),
        "files": {role: path.relative_to(root).as_posix(), **files}, "licence": {"spdx": "MIT"},
    }  # fmt: skip


def write_benchmark(root: Path, records: list[dict[str, Any]]) -> Path:
    """A benchmark folder around the catalog, with one demonstration and one item."""
    plan = {"prompt": "a red fox", "model": records[0]["id"],
            "arguments": {"sampler": "Euler a", "steps": 4, "cfg_scale": 3, "width": 64, "height": 64}}  # fmt: skip
    demonstration = {"id": "d1", "plan": plan, "picture": "d1.png", "picture_sha256": "0" * 64, "split": "supervised",
                     "source": "test", "licence": "MIT", "attribution": ""}  # fmt: skip
    item = {"id": "i1", "input": {"id": "i1", "kind": "single", "messages": [{"text": "a fox please"}]},
            "demonstration": "d1", "split": "supervised"}  # fmt: skip
    manifest = {"name": "tiny", "version": "1", "label": "tiny", "licence": "MIT", "default_model": records[0]["id"],
                "few_shot_threshold": 10}  # fmt: skip
    (root / "benchmark.json").write_text(json.dumps(manifest))
    (root / "catalog.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    (root / "demonstrations.jsonl").write_text(json.dumps(demonstration) + "\n")
    (root / "items.jsonl").write_text(json.dumps(item) + "\n")
    return root


def build(root: Path) -> Path:
    """The whole world: bases `fox` (folder) and `owl` (one file), LoRAs `ink` (UNet) and `wax` (text and UNet)."""
    fox, owl_folder, config = root / "models/fox", root / "owl-source", root / "models/owl-config"
    pipeline(1).save_pretrained(str(fox), safe_serialization=True)
    pipeline(2).save_pretrained(str(owl_folder), safe_serialization=True)
    owl = save_single_file(owl_folder, root / "models/owl.safetensors")
    for file in owl_folder.rglob("*"):  # what is not weights is the configuration
        if file.is_file() and file.suffix != ".safetensors":
            target = config / file.relative_to(owl_folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    ink = save_lora(fox, root / "models/ink", 3, ["to_q", "to_v", "to_out.0"], [])
    wax = save_lora(fox, root / "models/wax", 4, ["to_k", "ff.net.0.proj"], ["q_proj", "v_proj"])
    records = [
        record("fox", fox, root, "diffusers"),
        record("owl", owl, root, "checkpoint", config="models/owl-config"),
        record("ink", ink, root, "lora", base="fox"),
        record("wax", wax, root, "lora", base="fox"),
    ]
    return write_benchmark(root, records)
