"""Tiny bases of the larger families, with random weights: the pipeline classes of SDXL, SD 3.5 and Flux.1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from chatgenbench.render.singlefile import clip_tokenizer
from tests.render import tiny

WIDTH = 16
FLOW = {"num_train_timesteps": 1000, "shift": 3.0}


def clip(cls: Any, width: int = WIDTH) -> Any:
    return cls(
        CLIPTextConfig(
            vocab_size=49408, hidden_size=width, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
            bos_token_id=49406, eos_token_id=49407, pad_token_id=49407, projection_dim=width,
        )
    )  # fmt: skip


def vae(**changes: Any) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=4, sample_size=64,
        scaling_factor=1.0, **changes,
    )  # fmt: skip


def t5() -> tuple[T5EncoderModel, PreTrainedTokenizerFast]:
    """A T5 encoder over a vocabulary of single letters."""
    vocab = {token: at for at, token in enumerate(["<pad>", "</s>", "<unk>", *map(chr, range(32, 127))])}
    words = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
    config = T5Config(vocab_size=len(vocab), d_model=WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    return T5EncoderModel(config), tokenizer


def sdxl(seed: int = 1) -> StableDiffusionXLPipeline:
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(16, 32), layers_per_block=1, cross_attention_dim=2 * WIDTH,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=8, norm_num_groups=8, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH, use_linear_projection=True,
    )  # fmt: skip
    noise = {key: tiny.NOISE[key] for key in ("beta_start", "beta_end", "beta_schedule", "steps_offset")}
    return StableDiffusionXLPipeline(
        vae=vae(), text_encoder=clip(CLIPTextModel), text_encoder_2=clip(CLIPTextModelWithProjection), unet=unet,
        tokenizer=clip_tokenizer(), tokenizer_2=clip_tokenizer("!"), scheduler=EulerDiscreteScheduler(**noise),
    )  # fmt: skip


def sd3(seed: int = 1) -> StableDiffusion3Pipeline:
    torch.manual_seed(seed)
    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=2 * WIDTH, caption_projection_dim=16,
        pooled_projection_dim=2 * WIDTH, pos_embed_max_size=16, dual_attention_layers=(0,), qk_norm="rms_norm",
    )  # fmt: skip
    encoder, tokenizer = t5()
    wide = T5Config(**{**encoder.config.to_dict(), "d_model": 2 * WIDTH})
    return StableDiffusion3Pipeline(
        transformer=transformer, vae=vae(shift_factor=0.0), text_encoder=clip(CLIPTextModelWithProjection),
        text_encoder_2=clip(CLIPTextModelWithProjection), text_encoder_3=T5EncoderModel(wide),
        tokenizer=clip_tokenizer(), tokenizer_2=clip_tokenizer("!"), tokenizer_3=tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(**FLOW),
    )  # fmt: skip


def flux(seed: int = 1) -> FluxPipeline:
    torch.manual_seed(seed)
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, guidance_embeds=True, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    encoder, tokenizer = t5()
    return FluxPipeline(
        transformer=transformer, vae=vae(shift_factor=0.0), text_encoder=clip(CLIPTextModel), text_encoder_2=encoder,
        tokenizer=clip_tokenizer(), tokenizer_2=tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(**FLOW, use_dynamic_shifting=True),
    )  # fmt: skip


#: Name of a model -> its base model and how it is made.
WORLDS = {"lynx": ("Illustrious", sdxl), "seal": ("SD 3.5 Medium", sd3), "heron": ("Flux.1 D", flux)}


def build(root: Path) -> Path:
    """A benchmark of one base a family, as diffusers folders, and of a LoRA for SDXL."""
    records = []
    for name, (base_model, make) in WORLDS.items():
        folder = root / "models" / name
        make().save_pretrained(str(folder), safe_serialization=True)
        records.append(tiny.record(name, folder, root, "diffusers") | {"base_model": base_model})
    records.append(tiny.record("moss", lora(root / "models"), root, "lora", base="lynx") | {"base_model": "Pony"})
    return tiny.write_benchmark(root, records)


def lora(folder: Path) -> Path:
    """A LoRA for the SDXL base's UNet, as kohya's trainer names its layers."""
    torch.manual_seed(7)
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {f"{layer}.lora_down.weight": torch.randn(4, 16), f"{layer}.lora_up.weight": torch.randn(16, 4)}
    save_file({**tensors, f"{layer}.alpha": torch.tensor(4.0)}, folder / "moss.safetensors")
    return folder / "moss.safetensors"
