"""The miniature's CLIP: its `open_clip` configuration, its cut-down BPE file, and how both are written.

The byte-pair encoding is CLIP's own, cut after its first `MERGES` merges, so the start and end tokens stay
the last two ids and the context stays 77 tokens.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import scorer_data as data
import torch
import world

MERGES = 8000
VOCABULARY = 512 + MERGES + 2
TEXT_WIDTH = 96


def vision_cfg(kind: str) -> dict[str, Any]:
    if kind == "resnet":
        return {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32}
    return {"image_size": 64, "patch_size": 8, "width": 128, "layers": 4, "head_width": 32, "no_ln_pre": True,
            "pool_type": "avg", "mlp_ratio": 4.0}  # fmt: skip


def model_cfg(kind: str) -> dict[str, Any]:
    text = {"context_length": 77, "vocab_size": VOCABULARY, "width": TEXT_WIDTH, "heads": 4, "layers": 3}
    return {"embed_dim": 128, "vision_cfg": vision_cfg(kind), "text_cfg": text}


def preprocess_cfg(resize_mode: str) -> dict[str, Any]:
    return {"size": 64, "mean": list(data.MEAN), "std": list(data.STD), "interpolation": "bicubic",
            "resize_mode": resize_mode}  # fmt: skip


def bpe_file() -> Path:
    """`cache/bpe.txt.gz`: the header and first `MERGES` merges of open_clip's file; bytes do not vary."""
    from open_clip.tokenizer import default_bpe

    path = world.CACHE / "bpe.txt.gz"
    if not path.exists():
        full = gzip.decompress(Path(default_bpe()).read_bytes()).decode("utf-8")
        lines = full.split("\n")[: MERGES + 1]
        path.write_bytes(gzip.compress("\n".join(lines).encode("utf-8"), mtime=0))
    return path


def tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    made = SimpleTokenizer(bpe_path=str(bpe_file()))
    assert made.vocab_size == VOCABULARY, made.vocab_size
    return made


def network(kind: str) -> Any:
    from open_clip.model import CLIP

    return CLIP(**model_cfg(kind))


def start_words(net: Any, tok: Any) -> None:
    """Token embeddings from MiniLM, computed once."""
    path = world.CACHE / "clip_words.pt"
    if not path.exists():
        words = [tok.decoder[i].replace("</w>", "") for i in range(VOCABULARY)]
        torch.save(data.sentence_vectors(words, TEXT_WIDTH), path)
    with torch.no_grad():
        net.token_embedding.weight.copy_(0.05 * torch.load(path, weights_only=True))


def encode_text(net: Any, ids: torch.Tensor) -> torch.Tensor:
    """`net.encode_text(ids, normalize=True)` without the padding after the longest text; the same numbers."""
    ids = ids[:, : int(ids.argmax(1).max()) + 1]
    n = ids.shape[1]
    x = net.token_embedding(ids) + net.positional_embedding[:n]
    x = net.ln_final(net.transformer(x, attn_mask=net.attn_mask[:n, :n]))
    x = x[torch.arange(len(ids)), ids.argmax(1)] @ net.text_projection
    return torch.nn.functional.normalize(x, dim=-1)


def encode_pair(net: Any, x: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit features of pictures (0..1) and texts, towers in bfloat16: more than twice as fast in training."""
    pixels = data.normalised(x).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        image, text = net.encode_image(pixels), encode_text(net, ids)
    return torch.nn.functional.normalize(image.float(), dim=-1), torch.nn.functional.normalize(text.float(), dim=-1)


def write(folder: Path, net_state: dict[str, torch.Tensor], kind: str, resize_mode: str, name: str,
          note: str) -> None:  # fmt: skip
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": model_cfg(kind), "preprocess_cfg": preprocess_cfg(resize_mode)}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    halves = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in net_state.items()}
    save_file(halves, folder / "model.safetensors")
    (folder / "bpe.txt.gz").write_bytes(bpe_file().read_bytes())
    data.write_card(folder, name, note)
