"""The two towers of a CLIP model: load, tokenise, embed in batches.  Imports torch; import it lazily."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch

from t2imetrics._batch import Batch, How
from t2imetrics._card import Weights
from t2imetrics._images import CLIP_MEAN, CLIP_STD
from t2imetrics._scorer import Floats, Ints, Setting, batches, listed, require_texts
from t2imetrics._weights import (
    OFFLINE_HINT,
    HubFile,
    adopt,
    fetch,
    find_folder,
    or_damaged,
    read_checkpoint,
    read_json,
    require_finite,
)
from t2imetrics.errors import WeightsError, shorten

#: Texts that are read at once on an accelerator; on a processor they are read one by one, which takes no longer.
ABREAST = 16
#: Texts whose features are kept between batches: prompts repeat, and memory stays flat.
REMEMBERED = 4096
#: How a network's metric fits a picture into its square, under open_clip's names.
RESIZE_MODES = {"clip": "shortest", "hps": "longest"}


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
        require_finite(weights, model)
        self.tokenizer, self.size, self.mean, self.std = tokenizer, size, tuple(mean), tuple(std)
        self.weights, self.setting = weights, setting
        self._texts: OrderedDict[str, torch.Tensor] = OrderedDict()

    @property
    def text_limit(self) -> int:
        """Tokens the text tower reads, start and end included."""
        return int(self.tokenizer.context_length)

    def tokens(self, texts: Sequence[str]) -> Ints:
        """Tokens before truncation, start and end included, shape (n,)."""
        return np.array([len(self.tokenizer.encode(text)) + 2 for text in require_texts(listed(texts))], np.int64)

    def image_features(self, batch: Batch, how: How) -> torch.Tensor:
        """Projected features as the model gives them, not normalised; float32 (n, dim) on the CPU, once a batch."""
        return batch.once((id(self), how), lambda: self._embed(batch.pixels(how)))

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Projected features, each different text once, not normalised; float32 (n, dim) on the CPU.

        The network always sees the same number of texts: in another number the last bits of a text's features differ,
        and which texts are remembered, and so missing here, depends on what was scored before.
        """
        found = {text: self._texts[text] for text in texts if text in self._texts}
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        width = 1 if self.device.type == "cpu" else ABREAST
        for batch in batches(missing, width):
            full = [*batch, *[batch[-1]] * (width - len(batch))]
            found.update(zip(batch, self._read(full), strict=False))
        self._remember(found)
        return torch.stack([found[text] for text in texts])

    def cosine(self, batch: Batch, texts: Sequence[str], how: How) -> Floats:
        """Cosine of each picture with its text; float64 (n,)."""
        return cosine(self.image_features(batch, how), self.embed_texts(texts))

    def _embed(self, pixels: torch.Tensor) -> torch.Tensor:
        with self.setting.running():
            features: torch.Tensor = self.model.encode_image(pixels.to(self.device))
        return features.float().cpu()

    def _read(self, texts: Sequence[str]) -> torch.Tensor:
        with self.setting.running():
            features: torch.Tensor = self.model.encode_text(self.tokenizer(list(texts)).to(self.device))
        return features.float().cpu()

    def _remember(self, found: dict[str, torch.Tensor]) -> None:
        for text, features in found.items():
            self._texts[text] = features.clone()  # a row of its own, not a view that holds its whole batch
            self._texts.move_to_end(text)
        while len(self._texts) > REMEMBERED:
            self._texts.popitem(last=False)


def cosine(first: torch.Tensor, second: torch.Tensor) -> Floats:
    """Row by row cosine of (n, d) and (n, d), float64 (n,) within -1..1.

    Taken in float64: in float32 its last digits would depend on how many rows are beside it.
    """
    normal = torch.nn.functional.normalize
    values: Floats = (normal(first.double()) * normal(second.double())).sum(-1).clamp(-1, 1).numpy()
    return values


def load_folder(setting: Setting, part: str) -> Towers:
    """Towers from `open_clip_config.json`, `model.safetensors` and `bpe.txt.gz`."""
    return setting.shared(("folder", part), lambda: _load_folder(setting, part))


def _load_folder(setting: Setting, part: str) -> Towers:
    folder, weights = find_folder(setting.weights, part)
    config = read_json(folder / "open_clip_config.json")
    model, tokenizer = or_damaged(folder, lambda: _from_folder(folder, config))
    mean, std = _preparation(folder / "open_clip_config.json", config, part, _size(model))
    return Towers(model, tokenizer, _size(model), mean, std, weights, setting)


def _preparation(path: Path, config: dict[str, Any], part: str, size: int) -> tuple[Any, Any]:
    """Mean and deviation of the three channels; WeightsError where another preparation is asked for than is done."""
    about = config.get("preprocess_cfg", {})
    if not isinstance(about, dict):
        raise WeightsError(f"{path}: preprocess_cfg must be an object, got {shorten(repr(about), 40)}")
    done = {"size": (size, [size, size]), "interpolation": ("bicubic",), "resize_mode": (RESIZE_MODES[part],)}
    for key, allowed in done.items():
        if about.get(key, allowed[0]) not in allowed:
            asked = shorten(json.dumps(about[key]), 40)
            raise WeightsError(f"{path}: preprocess_cfg asks for {key} {asked}, this metric does {allowed[0]}")
    mean, std = about.get("mean", CLIP_MEAN), about.get("std", CLIP_STD)
    for key, found in (("mean", mean), ("std", std)):
        numbers = isinstance(found, list | tuple) and all(type(value) in (int, float) for value in found)
        if not (numbers and len(found) == 3 and np.isfinite(found).all() and (key == "mean" or min(found) > 0)):
            raise WeightsError(f"{path}: {key} must be three numbers, got {shorten(repr(found), 40)}")
    return mean, std


def _from_folder(folder: Path, config: dict[str, Any]) -> tuple[Any, Any]:
    model = open_clip.model.CLIP(**config["model_cfg"])
    model.load_state_dict(read_checkpoint(folder / "model.safetensors"))
    tokenizer = open_clip.SimpleTokenizer(str(folder / "bpe.txt.gz"), context_length=model.context_length)
    if tokenizer.vocab_size != model.vocab_size:
        raise ValueError(f"the tokenizer has {tokenizer.vocab_size} tokens, the model {model.vocab_size}")
    return model, tokenizer


def load_tagged(setting: Setting, architecture: str, tag: str) -> Towers:
    """Towers that open_clip itself knows by architecture and tag, e.g. `ViT-L-14-quickgelu`, `openai`."""
    return setting.shared((architecture, tag), lambda: _load_tagged(setting, architecture, tag))


def _load_tagged(setting: Setting, architecture: str, tag: str) -> Towers:
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    label = f"open_clip {architecture} {tag}"
    try:
        path = Path(download_pretrained(get_pretrained_cfg(architecture, tag)))
    except Exception as error:  # the hub client and urllib share no base class
        raise WeightsError(f"cannot fetch {label}: {shorten(error, 120)} ({OFFLINE_HINT})") from None
    weights = adopt(label, path)

    def read() -> Any:
        model = _bare(architecture)
        open_clip.load_checkpoint(model, str(path))
        return model

    return _published(or_damaged(path, read), architecture, weights, setting)


def load_published(setting: Setting, architecture: str, file: HubFile, key: str) -> Towers:
    """Towers of an open_clip architecture with a hub checkpoint whose entry `key` is the state dict."""
    return setting.shared((architecture, file), lambda: _load_published(setting, architecture, file, key))


def _load_published(setting: Setting, architecture: str, file: HubFile, key: str) -> Towers:
    path, weights = fetch(file)

    def read() -> Any:
        model = _bare(architecture)
        model.load_state_dict(read_checkpoint(path)[key])
        return model

    return _published(or_damaged(path, read), architecture, weights, setting)


def _bare(architecture: str) -> Any:
    """The network without weights; open_clip's warning that it has none is true for a moment only."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        return open_clip.create_model(architecture, load_weights=False)
    finally:
        logging.root.setLevel(level)


def _published(model: Any, architecture: str, weights: Weights, setting: Setting) -> Towers:
    tokenizer = open_clip.get_tokenizer(architecture)
    return Towers(model, tokenizer, _size(model), CLIP_MEAN, CLIP_STD, weights, setting)


def _size(model: Any) -> int:
    size = model.visual.image_size
    return int(size[0] if isinstance(size, (tuple, list)) else size)
