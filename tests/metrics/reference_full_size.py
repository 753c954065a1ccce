"""Parity at the released sizes: seeded random weights in the published layout, our code against the packages.

    python -m tests.metrics.reference_full_size imagereward
    python -m tests.metrics.reference_full_size hpsv2

Not a test: minutes of work, up to 10 GB of memory and 2 GB of disk.  Needs `make reference`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import t2imetrics
import torch
from t2imetrics import Weights, _clip, imagereward
from t2imetrics.reference import hpsv2 as package_hps
from t2imetrics.reference import imagereward as package_ir

from tests.metrics import small_weights as small
from tests.metrics.pictures import real_pairs

#: `med_config.json` of the released model: BERT-base with cross-attention.
TEXT = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "layer_norm_eps": 1e-12, "vocab_size": 30524, "max_position_embeddings": 512, "add_cross_attention": True,
}  # fmt: skip
EVERY = 8


def filled(model: Any) -> dict[str, Any]:
    """State of the network with seeded uniform numbers of unit gain."""
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            values = torch.rand(p.shape, generator=stream) - 0.5
            p.copy_(values * 0.1 + 1 if p.ndim < 2 else values * (12 / max(1, p[0].numel())) ** 0.5)
    state: dict[str, Any] = model.state_dict()
    return state


def write_imagereward(folder: Path) -> None:
    (folder / "vocab.txt").write_bytes(small.bert_vocabulary().read_bytes())
    (folder / "med_config.json").write_text(json.dumps(TEXT))
    model = package_ir.build(folder / "med_config.json", folder / "vocab.txt")
    torch.save(filled(model), folder / "ImageReward.pt")


def write_hpsv2(folder: Path) -> None:
    import open_clip

    state = filled(open_clip.create_model("ViT-H-14", load_weights=False))
    torch.save({"state_dict": {name: p.half() for name, p in state.items()}}, folder / "HPS_v2.1_compressed.pt")


def main(name: str) -> None:
    with TemporaryDirectory() as home:
        folder = Path(home)
        {"imagereward": write_imagereward, "hpsv2": write_hpsv2}[name](folder)
        for module in (imagereward, _clip, package_ir, package_hps):
            module.fetch = lambda file: (folder / file.name, Weights("random numbers"))
        pictures, texts = zip(*real_pairs(folder / "pairs")[::EVERY], strict=True)
        own = t2imetrics.load(name, device="cpu", batch_size=4).score(pictures, texts)
        package = t2imetrics.load(name, device="cpu", backend="reference").score(pictures, texts)
    worst = np.abs(own - package).max()
    print(f"{name}: {len(own)} pairs, {own.min():.3f} to {own.max():.3f}, max |difference| {worst:.1e}")


if __name__ == "__main__":
    main(sys.argv[1])
