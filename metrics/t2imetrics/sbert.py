"""SBERT cosine: how alike two texts are as whole sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from t2imetrics._card import MetricCard, Weights
from t2imetrics._encoder import folder_or_bundled, read_encoder
from t2imetrics._scorer import Floats, Ints, Scorer, Setting, batches, finite, listed, require_texts, same_length
from t2imetrics._weights import fetch_folder, read_json
from t2imetrics.bertscore import position_limit
from t2imetrics.errors import WeightsError

if TYPE_CHECKING:
    import torch

MODEL, LIMIT = "sentence-transformers/all-mpnet-base-v2", 384
FILES = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt",
    "model.safetensors",
)  # fmt: skip
#: Texts whose embeddings are held in memory at once, in batches.
BLOCK = 64


class Sbert(Scorer):
    """Cosine of mean-pooled sentence embeddings of two texts.

    Args:
        setting: weights, device, batch size.
    """

    card = MetricCard(
        name="sbert",
        title="SBERT",
        unit="cosine",
        lower=-1.0,
        upper=1.0,
        higher_is_better=True,
        reads="texts",
        text_limit=LIMIT,
        reduction="mean",
        failed_value=0.0,
        source="Reimers and Gurevych, Sentence-BERT, arXiv 1908.10084, section 3 (mean pooling)",
        weights=Weights(f"{MODEL}/model.safetensors"),
        note="mean pooling over all tokens, cosine",
    )

    def __init__(self, setting: Setting) -> None:
        folder, weights, limit = _source(setting)
        self.setting, self.device = setting, setting.torch_device()
        self.tokenizer, self.model = read_encoder(folder, weights)
        self.model.to(self.device)
        self.ends = self.tokenizer.num_special_tokens_to_add()
        limits = [limit, position_limit(self.tokenizer, self.model.config)]
        self.card = replace(self.card, weights=weights, text_limit=min(found for found in limits if found))

    def score(self, rows: Sequence[str], against: Sequence[str]) -> Floats:
        """Score candidates against references; shape (n,).

        A text without a token (nothing but space or invisible characters) on either side scores `card.failed_value`.
        """
        rows, against = require_texts(listed(rows)), require_texts(listed(against))
        n = same_length(rows, against)
        values = np.full(n, self.card.failed_value)
        order = sorted(range(n), key=lambda i: against[i])  # a reference that many rows share is encoded once
        for block in batches(order, BLOCK * self.setting.batch_size):
            vectors = self._encode([rows[i] for i in block] + [against[i] for i in block])
            for i in block:
                first, second = (vectors.get(text.strip()) for text in (rows[i], against[i]))
                if first is not None and second is not None:
                    same = first is second  # the same text is 1, not 1 within rounding
                    values[i] = 1.0 if same else min(1.0, max(-1.0, float(first @ second)))
        return finite(self.card.name, values)

    def tokens(self, texts: Sequence[str]) -> Ints:
        return np.array(
            [len(self.tokenizer(text.strip())["input_ids"]) for text in require_texts(listed(texts))], np.int64
        )

    def _encode(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Unit-length embeddings (d,) of each different text with a token of its own."""
        import torch

        unique = sorted({text.strip() for text in texts} - {""}, key=len)
        vectors: dict[str, torch.Tensor] = {}
        for batch in batches(unique, self.setting.batch_size):
            coded = self.tokenizer(
                list(batch), truncation=True, max_length=self.card.text_limit, padding=True, return_tensors="pt"
            ).to(self.device)
            with self.setting.running():
                hidden = self.model(coded["input_ids"], attention_mask=coded["attention_mask"])[0]
            mask = coded["attention_mask"].unsqueeze(-1).float()
            mean = (hidden.float() * mask).sum(1) / mask.sum(1)
            unit = torch.nn.functional.normalize(mean, dim=-1).cpu()
            lengths = coded["attention_mask"].sum(1).tolist()
            vectors.update({text: unit[i] for i, text in enumerate(batch) if lengths[i] > self.ends})
        return vectors


def _stated_limit(folder: Path) -> int | None:
    """Tokens a folder of sentence-transformers says it reads; None where it says nothing.

    Raises:
        WeightsError: the folder states another pooling than the mean; its cosines would not be those it was made for.
    """
    pooling, reading = folder / "1_Pooling" / "config.json", folder / "sentence_bert_config.json"
    if pooling.is_file():
        about = read_json(pooling)
        if about.get("pooling_mode", "mean") != "mean" or not about.get("pooling_mode_mean_tokens", True):
            raise WeightsError(f"{pooling} asks for another pooling than the mean: sbert reads mean-pooled encoders")
    return read_json(reading).get("max_seq_length") if reading.is_file() else None


def _source(setting: Setting) -> tuple[Path, Weights, int | None]:
    """Folder, provenance and stated token limit of the encoder."""
    if setting.weights == "published":
        folder, weights = fetch_folder(MODEL, FILES, "model.safetensors")
        return folder, weights, LIMIT
    folder, weights = folder_or_bundled(setting)
    return folder, weights, _stated_limit(folder)
