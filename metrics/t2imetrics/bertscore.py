"""BERTScore: greedy cosine matching of contextual token embeddings between two texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2imetrics._card import MetricCard, Weights
from t2imetrics._encoder import folder_or_bundled, read_encoder
from t2imetrics._scorer import (
    Floats,
    Ints,
    Scorer,
    Setting,
    batches,
    choose,
    finite,
    listed,
    require_texts,
    same_length,
)
from t2imetrics._weights import fetch_folder
from t2imetrics.errors import OptionError

if TYPE_CHECKING:
    import torch

MODEL, LAYER = "FacebookAI/roberta-large", 17
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "model.safetensors")
MEASURES = ("precision", "recall", "f1")
#: What unrelated English sentences score (bert-score 0.3.13, rescale_baseline/en/roberta-large.tsv, layer 17).
BASELINE = {"precision": 0.83150584, "recall": 0.8314941, "f1": 0.83122575}
#: Pairs whose embeddings are held in memory at once, in batches.
BLOCK = 16


@dataclass(frozen=True)
class _Source:
    folder: Path
    weights: Weights
    layer: int | None
    baseline: dict[str, float] | None


class BertScore(Scorer):
    """BERTScore of candidates against references, without idf weighting.

    Args:
        setting: weights, device, batch size.
        measure: `f1` (the usual BERTScore), `precision` or `recall`.
        layer: hidden layer, counted from 1; None takes the published one, or the last of another encoder.
        rescale: subtract the published baseline; None does so where a baseline exists.
    """

    card = MetricCard(
        name="bertscore",
        title="BERTScore",
        unit="F1 rescaled: 0 = unrelated English sentences, 1 = the same text",
        lower=-(1 + BASELINE["f1"]) / (1 - BASELINE["f1"]),
        upper=1.0,
        higher_is_better=True,
        reads="texts",
        text_limit=512,
        reduction="mean",
        failed_value=-1.0,
        source="Zhang et al., BERTScore, arXiv 1904.09675, section 3",
        weights=Weights(f"{MODEL}/model.safetensors"),
        note=f"f1, layer {LAYER}, rescaled, no idf",
    )

    def __init__(
        self, setting: Setting, measure: str = "f1", layer: int | None = None, rescale: bool | None = None
    ) -> None:
        self.measure = choose("measure", measure, MEASURES)
        source = _source(setting)
        self.setting, self.device, self.batch_size = setting, setting.torch_device(), setting.batch_size
        self.tokenizer, self.model = read_encoder(source.folder, source.weights)
        self.layer = _cut(self.model, source.layer if layer is None else layer)
        self.model.to(self.device)
        self.spaced = self.model.config.model_type in ("roberta", "gpt2")
        has_baseline = source.baseline is not None and self.layer == source.layer
        if rescale and not has_baseline:
            raise OptionError(f"no baseline is published for {source.weights.name}, layer {self.layer}")
        self.baseline = source.baseline if has_baseline and rescale is not False else None
        self.card = self._described(source.weights)

    def score(self, rows: Sequence[str], against: Sequence[str]) -> Floats:
        """Score candidates against references; shape (n,).

        A text without a token (nothing but space or invisible characters) on either side scores `card.failed_value`.
        """
        return self.score_all(rows, against)[self.measure]

    def score_all(self, candidates: Sequence[str], references: Sequence[str]) -> dict[str, Floats]:
        """`precision`, `recall` and `f1`, each of shape (n,)."""
        candidates, references = require_texts(listed(candidates)), require_texts(listed(references))
        n = same_length(candidates, references)
        values, failed = np.zeros((3, n)), np.ones(n, bool)
        order = sorted(range(n), key=lambda i: references[i])  # a reference that many rows share is encoded once
        for block in batches(order, BLOCK * self.batch_size):
            vectors = self._encode([candidates[i] for i in block] + [references[i] for i in block])
            for i in block:
                first, second = (vectors.get(text.strip()) for text in (candidates[i], references[i]))
                if first is not None and second is not None:
                    values[:, i], failed[i] = _match(first, second), False
        finite(self.card.name, values.sum(0))
        rescaled = (self._rescaled(measure, row) for measure, row in zip(MEASURES, values, strict=True))
        return {m: np.where(failed, self.card.failed_value, row) for m, row in zip(MEASURES, rescaled, strict=True)}

    def tokens(self, texts: Sequence[str]) -> Ints:
        texts = require_texts(listed(texts))
        return np.array([len(self.tokenizer(self._spell(text))["input_ids"]) for text in texts], np.int64)

    def _rescaled(self, measure: str, raw: Floats) -> Floats:
        if self.baseline is None:
            return raw
        return (raw - self.baseline[measure]) / (1 - self.baseline[measure])

    def _spell(self, text: str) -> str:
        """Byte-level vocabularies tell a word at the start from one after a space; the metric wants the latter."""
        return " " + text.strip() if self.spaced else text.strip()

    def _encode(self, texts: Sequence[str]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Unit-length embeddings (tokens, dim) of each different text with words, and which tokens (tokens,) count.

        Start and end tokens can be matched but do not count, those that somebody typed no more than the others.
        """
        import torch

        unique = sorted({text.strip() for text in texts} - {""}, key=len)
        ends = torch.tensor([self.tokenizer.cls_token_id, self.tokenizer.sep_token_id])
        vectors: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for batch in batches(unique, self.batch_size):
            spelt = [self._spell(text) for text in batch]
            limit = self.card.text_limit
            coded = self.tokenizer(spelt, truncation=True, max_length=limit, padding=True, return_tensors="pt")
            mask = coded["attention_mask"]
            with self.setting.running():
                hidden = self.model(coded["input_ids"].to(self.device), attention_mask=mask.to(self.device))[0]
            unit = torch.nn.functional.normalize(hidden.float(), dim=-1).cpu()
            counts = mask.bool() & ~torch.isin(coded["input_ids"], ends)
            for i, text in enumerate(batch):
                if counts[i].any():
                    length = int(mask[i].sum())
                    vectors[text] = unit[i, :length], counts[i, :length]
        return vectors

    def _described(self, weights: Weights) -> MetricCard:
        base = None if self.baseline is None else self.baseline[self.measure]
        named = {"f1": "F1"}.get(self.measure, self.measure)
        unit = f"{named} of cosines" if base is None else self.card.unit.replace("F1", named)
        return replace(
            self.card,
            unit=unit,
            lower=-1.0 if base is None else -(1 + base) / (1 - base),
            failed_value=0.0 if base is None else self.card.failed_value,
            text_limit=position_limit(self.tokenizer, self.model.config),
            weights=weights,
            note=f"{self.measure}, layer {self.layer}, {'not ' if base is None else ''}rescaled, no idf",
        )


def _match(
    candidate: tuple[torch.Tensor, torch.Tensor], reference: tuple[torch.Tensor, torch.Tensor]
) -> tuple[float, float, float]:
    """Precision, recall and F1 of unit vectors (tokens, dim), averaged over the tokens (tokens,) that count.

    F1, a harmonic mean, is 0 unless both are above 0.
    """
    if candidate is reference:
        return 1.0, 1.0, 1.0  # the same text is 1, not 1 within rounding
    cosine = candidate[0] @ reference[0].T
    precision = float(cosine.max(1).values[candidate[1]].mean())
    recall = float(cosine.max(0).values[reference[1]].mean())
    both = precision > 0 and recall > 0
    return precision, recall, 2 * precision * recall / (precision + recall) if both else 0.0


def _source(setting: Setting) -> _Source:
    if setting.weights == "published":
        folder, weights = fetch_folder(MODEL, FILES, "model.safetensors")
        return _Source(folder, weights, LAYER, BASELINE)
    return _Source(*folder_or_bundled(setting), None, None)


def _cut(model: Any, layer: int | None) -> int:
    """Drop the layers above `layer`, so that the model's output is that layer's; gives the layer's number."""
    layers = model.encoder.layer
    if layer is None:
        return len(layers)
    if not 1 <= layer <= len(layers):
        raise OptionError(f"layer must be 1 to {len(layers)}, got {layer}")
    model.encoder.layer = layers[:layer]
    return layer


def position_limit(tokenizer: Any, config: Any) -> int:
    """What both tokenizer and position table allow; RoBERTa's table starts two late."""
    offset = 2 if config.model_type == "roberta" else 0
    return min(int(tokenizer.model_max_length), int(config.max_position_embeddings) - offset)
