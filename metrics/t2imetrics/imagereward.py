"""ImageReward: a reward model of human preference on BLIP."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2imetrics._card import MetricCard, Weights
from t2imetrics._images import CentreCrop
from t2imetrics._scorer import Floats, Ints, PictureScorer, Setting, listed, require_texts
from t2imetrics._weights import (
    HubFile,
    fetch,
    find_folder,
    or_damaged,
    read_checkpoint,
    read_json,
    require_finite,
    together,
)
from t2imetrics.errors import WeightsError, shorten

if TYPE_CHECKING:
    import torch

CHECKPOINT = HubFile("THUDM/ImageReward", "ImageReward.pt")
#: The vocabulary of bert-base-uncased (30,522 lines); digest measured on a copy that another package ships.
VOCABULARY = HubFile(
    "google-bert/bert-base-uncased", "vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
)


class ImageReward(PictureScorer):
    """Standardised reward (r - mean) / std of the head on the first text token.

    Args:
        setting: weights, device, batch size.
    """

    card = MetricCard(
        name="imagereward",
        title="ImageReward",
        unit="reward, standardised by the released mean and deviation",
        lower=float("-inf"),
        upper=float("inf"),
        higher_is_better=True,
        reads="images+text",
        text_limit=35,
        reduction="mean",
        failed_value=-2.5,
        source="Xu et al., ImageReward, arXiv 2304.05977, the reward model",
        weights=Weights(f"{CHECKPOINT.repo}/{CHECKPOINT.name}"),
        note="preprocessing A; first token; float32",
        text="gold",
    )

    def __init__(self, setting: Setting) -> None:
        config, vocabulary, weights, self.model = _load(setting)
        self.config, self.device, self.setting = config, setting.torch_device(), setting
        require_finite(weights, self.model)
        self.model.to(self.device)
        self.how = CentreCrop(int(config["vision"]["image_size"]))
        self.hows = (self.how,)
        self.limit = int(config["max_length"])
        self.tokenizer = _tokenizer(vocabulary, int(config["text"]["vocab_size"]))
        self.card = replace(self.card, text_limit=self.limit, weights=weights)

    def rows(self, batch: Any, against: Sequence[str]) -> Floats:
        """Values of one batch, shape (n,), standardised reward."""
        ids, mask = self._encode(against)
        with self.setting.running():
            reward = self.model(batch.pixels(self.how).to(self.device), ids, mask)
        raw: Floats = reward.double().cpu().numpy()
        return (raw - float(self.config["mean"])) / float(self.config["std"])

    def tokens(self, texts: Sequence[str]) -> Ints:
        return np.array([len(self.tokenizer.encode(text).ids) for text in require_texts(listed(texts))], np.int64)

    def _encode(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask (n, t), padded to the longest text; padding to the limit, as released, changes nothing."""
        import torch

        coded = [self.tokenizer.encode(text).ids for text in texts]
        cut = [ids if len(ids) <= self.limit else [*ids[: self.limit - 1], ids[-1]] for ids in coded]
        ids, mask = np.zeros((2, len(cut), max(map(len, cut))), np.int64)
        for row, found in enumerate(cut):
            ids[row, : len(found)], mask[row, : len(found)] = found, 1
        return torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)


def _load(setting: Setting) -> tuple[dict[str, Any], Path, Weights, Any]:
    from t2imetrics import _blip

    if setting.weights == "published":
        config = _blip.PUBLISHED
        path, weights = fetch(CHECKPOINT)
        vocabulary, words = fetch(VOCABULARY)
        weights = replace(weights, files=together(weights, words))
        state = or_damaged(path, lambda: _blip.convert(read_checkpoint(path)))
    else:
        folder, weights = find_folder(setting.weights, "reward")
        config, vocabulary, path = read_json(folder / "config.json"), folder / "vocab.txt", folder / "model.safetensors"
        _require_numbers(folder / "config.json", config)
        state = read_checkpoint(path)
    return config, vocabulary, weights, or_damaged(path, lambda: _blip.RewardModel(config, state))


def _require_numbers(path: Path, config: dict[str, Any]) -> None:
    """WeightsError unless the configuration states how a reward is standardised and how much of a text is read."""
    for key in ("mean", "std", "max_length"):
        value: Any = config.get(key)
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or (key != "mean" and value <= 0):
            raise WeightsError(f"{path}: '{key}' must be a number, got {shorten(repr(value), 40)}")
    for part in ("vision", "text"):
        if not isinstance(config.get(part), dict):
            raise WeightsError(f"{path}: '{part}' must be an object of BLIP's settings")
    most = config["text"].get("max_position_embeddings", 512)
    if not isinstance(most, int) or not 2 <= config["max_length"] <= most:
        raise WeightsError(
            f"{path}: max_length {config['max_length']} is not in 2 to {most}, the positions of the text"
        )


def _tokenizer(vocabulary: Path, vocab_size: int) -> Any:
    """BERT's uncased WordPiece with [CLS] and [SEP]; refuses a vocabulary the model cannot have been trained with."""
    from tokenizers import BertWordPieceTokenizer

    tokenizer = or_damaged(vocabulary, lambda: BertWordPieceTokenizer(str(vocabulary), lowercase=True))
    size = tokenizer.get_vocab_size()
    if not vocab_size - 2 <= size <= vocab_size:  # the released model has two ids more, which no text uses
        raise WeightsError(f"{vocabulary} has {size} tokens, the model reads {vocab_size}")
    if tokenizer.token_to_id("[PAD]") != 0:
        raise WeightsError(f"{vocabulary}: [PAD] must be token 0")
    return tokenizer
