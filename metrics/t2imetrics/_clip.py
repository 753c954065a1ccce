"""The two towers of a CLIP model: load, tokenise, embed in batches.  Imports torch; import it lazily."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image

from t2imetrics._card import Weights
from t2imetrics._images import CLIP_MEAN, CLIP_STD, open_rgb
from t2imetrics._scorer import Floats, Ints, Setting, batches, same_length
from t2imetrics._weights import (
    OFFLINE_HINT,
    HubFile,
    adopt,
    fetch,
    find_folder,
    or_damaged,
    read_checkpoint,
    read_json,
)
from t2imetrics.errors import WeightsError, shorten

#: (picture, size, mean, std) -> float32 (3, size, size)
Preprocess = Callable[[Image.Image, int, Any, Any], torch.Tensor]


class Towers:
    """An open_clip model with its tokenizer, in float32.

    Args:
        model: an `open_clip.CLIP` (or custom-text) model with its weights.
        tokenizer: the `open_clip.SimpleTokenizer` it was trained with.
        size, mean, std: its picture size in pixels and its normalisation.
        weights: provenance.
        setting: device and batch size.
    """

    def __init__(
        self, model: Any, tokenizer: Any, size: int, mean: Any, std: Any, weights: Weights, setting: Setting
    ) -> None:
        self.device = setting.torch_device()
        self.model = model.float().eval().requires_grad_(False).to(self.device)
        self.tokenizer, self.size, self.mean, self.std = tokenizer, size, mean, std
        self.weights, self.batch_size = weights, setting.batch_size

    @property
    def text_limit(self) -> int:
        """Tokens the text tower reads, start and end included."""
        return int(self.tokenizer.context_length)

    def tokens(self, texts: Sequence[str]) -> Ints:
        """Tokens before truncation, start and end included, shape (n,)."""
        return np.array([len(self.tokenizer.encode(text)) + 2 for text in texts], np.int64)

    @torch.inference_mode()
    def embed_images(self, pictures: Sequence[Any], preprocess: Preprocess) -> torch.Tensor:
        """Projected features as the model gives them, not normalised; float32 (n, dim) on the CPU."""
        done = [torch.empty(0, self._width())]
        row = 0
        for batch in batches(pictures, self.batch_size):
            opened = [open_rgb(picture, row + i) for i, picture in enumerate(batch)]
            row += len(batch)
            pixels = torch.stack([preprocess(image, self.size, self.mean, self.std) for image in opened])
            done.append(self.model.encode_image(pixels.to(self.device)).float().cpu())
        return torch.cat(done)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Projected features, each different text once, not normalised; float32 (n, dim) on the CPU."""
        unique = list(dict.fromkeys(texts))
        done = [torch.empty(0, self._width())]
        for batch in batches(unique, self.batch_size):
            done.append(self.model.encode_text(self.tokenizer(list(batch)).to(self.device)).float().cpu())
        place = {text: i for i, text in enumerate(unique)}
        return torch.cat(done)[[place[text] for text in texts]]

    def cosine(self, pictures: Sequence[Any], texts: Sequence[str], preprocess: Preprocess) -> Floats:
        """Cosine of each picture with its text, normalised and multiplied in float32; float64 (n,)."""
        same_length(pictures, texts)
        normal = torch.nn.functional.normalize
        images, words = normal(self.embed_images(pictures, preprocess)), normal(self.embed_texts(texts))
        return (images * words).sum(-1).numpy().astype(np.float64)

    def _width(self) -> int:
        return int(self.model.visual.output_dim)


def load_folder(setting: Setting, part: str) -> Towers:
    """Towers from `open_clip_config.json`, `model.safetensors` and `bpe.txt.gz`."""
    folder, weights = find_folder(setting.weights, part)
    config = read_json(folder / "open_clip_config.json")
    model, tokenizer = or_damaged(folder, lambda: _from_folder(folder, config))
    about = config.get("preprocess_cfg", {})
    mean, std = about.get("mean", CLIP_MEAN), about.get("std", CLIP_STD)
    return Towers(model, tokenizer, _size(model), mean, std, weights, setting)


def _from_folder(folder: Path, config: dict[str, Any]) -> tuple[Any, Any]:
    model = open_clip.model.CLIP(**config["model_cfg"])
    model.load_state_dict(read_checkpoint(folder / "model.safetensors"))
    tokenizer = open_clip.SimpleTokenizer(str(folder / "bpe.txt.gz"), context_length=model.context_length)
    if tokenizer.vocab_size != model.vocab_size:
        raise ValueError(f"the tokenizer has {tokenizer.vocab_size} tokens, the model {model.vocab_size}")
    return model, tokenizer


def load_tagged(setting: Setting, architecture: str, tag: str) -> Towers:
    """Towers that open_clip itself knows by architecture and tag, e.g. `ViT-L-14-quickgelu`, `openai`."""
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    label = f"open_clip {architecture} {tag}"
    try:
        path = Path(download_pretrained(get_pretrained_cfg(architecture, tag)))
    except Exception as error:  # the hub client and urllib share no base class
        raise WeightsError(f"cannot fetch {label}: {shorten(error, 120)} ({OFFLINE_HINT})") from None
    weights = adopt(label, path)
    model = open_clip.create_model(architecture, load_weights=False)
    or_damaged(path, lambda: open_clip.load_checkpoint(model, str(path)))
    return _published(model, architecture, weights, setting)


def load_published(setting: Setting, architecture: str, file: HubFile, key: str) -> Towers:
    """Towers of an open_clip architecture with a hub checkpoint whose entry `key` is the state dict."""
    path, weights = fetch(file)
    state = read_checkpoint(path)
    model = open_clip.create_model(architecture, load_weights=False)
    or_damaged(path, lambda: model.load_state_dict(state[key]))
    return _published(model, architecture, weights, setting)


def _published(model: Any, architecture: str, weights: Weights, setting: Setting) -> Towers:
    tokenizer = open_clip.get_tokenizer(architecture)
    return Towers(model, tokenizer, _size(model), CLIP_MEAN, CLIP_STD, weights, setting)


def _size(model: Any) -> int:
    size = model.visual.image_size
    return int(size[0] if isinstance(size, (tuple, list)) else size)
