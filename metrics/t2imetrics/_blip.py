"""ImageReward's network on transformers' BLIP: picture encoder, text encoder with cross-attention, linear head."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import BlipTextConfig, BlipVisionConfig
from transformers.models.blip.modeling_blip import BlipVisionModel
from transformers.models.blip.modeling_blip_text import BlipTextModel

State = dict[str, torch.Tensor]

#: The released model: ViT-L/16 at 224 px, BERT-base with cross-attention, widths of the head (no activations).
PUBLISHED: dict[str, Any] = {
    "vision": {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "image_size": 224, "patch_size": 16, "layer_norm_eps": 1e-6,
    },
    "text": {
        "vocab_size": 30524, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
        "num_attention_heads": 12, "encoder_hidden_size": 1024, "layer_norm_eps": 1e-12,
    },
    "mean": 0.16717362830052426,
    "std": 1.0333394966054072,
    "max_length": 35,
}  # fmt: skip

#: Names in the released checkpoint -> names here.
_RENAMED = (
    (r"^blip\.visual_encoder\.cls_token$", "vision_model.embeddings.class_embedding"),
    (r"^blip\.visual_encoder\.pos_embed$", "vision_model.embeddings.position_embedding"),
    (r"^blip\.visual_encoder\.patch_embed\.proj\.", "vision_model.embeddings.patch_embedding."),
    (r"^blip\.visual_encoder\.norm\.", "vision_model.post_layernorm."),
    (r"^blip\.visual_encoder\.blocks\.(\d+)\.norm([12])\.", r"vision_model.encoder.layers.\1.layer_norm\2."),
    (r"^blip\.visual_encoder\.blocks\.(\d+)\.attn\.qkv\.", r"vision_model.encoder.layers.\1.self_attn.qkv."),
    (r"^blip\.visual_encoder\.blocks\.(\d+)\.attn\.proj\.", r"vision_model.encoder.layers.\1.self_attn.projection."),
    (r"^blip\.visual_encoder\.blocks\.(\d+)\.mlp\.", r"vision_model.encoder.layers.\1.mlp."),
    (r"^blip\.text_encoder\.", "text_encoder."),
    (r"^mlp\.layers\.", "mlp."),
)
#: Parts of the released checkpoint that the score does not use.
_UNUSED = re.compile(r"^blip\.(vision_proj|text_proj)\.|\.position_ids$|^blip\.text_encoder\.pooler\.")


def convert(released: State) -> State:
    """The released checkpoint's state dict under the names of `RewardModel`."""
    state: State = {}
    for key, tensor in released.items():
        if _UNUSED.search(key):
            continue
        for pattern, name in _RENAMED:
            if re.match(pattern, key):
                state[re.sub(pattern, name, key)] = tensor
                break
        else:
            raise ValueError(f"unexpected entry '{key}'")
    return state


class RewardModel(nn.Module):
    """Reward of picture and text, before standardisation.

    Args:
        config: `vision` and `text` (keyword arguments of the BLIP configurations).
        state: weights under `vision_model.*`, `text_encoder.*` and `mlp.*`; the head's widths are read from it.
    """

    def __init__(self, config: dict[str, Any], state: State) -> None:
        super().__init__()
        self.vision_model = BlipVisionModel(BlipVisionConfig(**config["vision"]))
        unused = {"bos_token_id": None, "eos_token_id": None, "sep_token_id": None}
        text = BlipTextConfig(**{**unused, **config["text"], "is_decoder": True})  # a "decoder" has cross-attention
        self.text_encoder = BlipTextModel(text, add_pooling_layer=False)
        head = sorted({int(key.split(".")[1]) for key in state if key.startswith("mlp.")})
        shapes = [state[f"mlp.{i}.weight"].shape for i in head]
        _check_head(config["text"]["hidden_size"], shapes)
        self.mlp = nn.Sequential(*(nn.Linear(wide, narrow) for narrow, wide in shapes))
        place = {old: new for new, old in enumerate(head)}
        self.load_state_dict({_renumber(key, place): tensor.float() for key, tensor in state.items()})
        self.eval().requires_grad_(False)

    def forward(self, pixels: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(n, 3, size, size), (n, t), (n, t) -> (n,)."""
        seen = self.vision_model(pixel_values=pixels).last_hidden_state
        read = self.text_encoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=seen, is_decoder=False
        ).last_hidden_state
        with torch.autocast(read.device.type, enabled=False):  # the head is float32 at any precision
            reward: torch.Tensor = self.mlp(read[:, 0].float())[:, 0]
        return reward


def _check_head(width: int, shapes: Sequence[torch.Size]) -> None:
    """Each layer must read what the one before gives, from the text encoder's width down to one number."""
    for narrow, wide in shapes:
        if wide != width:
            raise ValueError(f"a layer of the head reads {wide} numbers, the one before it gives {width}")
        width = narrow
    if width != 1:
        raise ValueError(f"the head gives {width} numbers, not 1")


def _renumber(key: str, place: dict[int, int]) -> str:
    """The released head numbers its dropouts too (0, 2, 4, 6, 7); ours are 0 to 4."""
    part, _, rest = key.partition(".")
    if part != "mlp":
        return key
    number, _, leaf = rest.partition(".")
    return f"mlp.{place[int(number)]}.{leaf}"
