"""HPSv2 as the package `hpsv2` computes it: its network, its preprocessing, its tokenizer, its `score`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2imetrics._card import MetricCard, Weights
from t2imetrics._scorer import Ints, Setting, choose
from t2imetrics._weights import HubFile, fetch, find_folder, or_damaged, read_checkpoint, read_json
from t2imetrics.errors import OptionError, WeightsError
from t2imetrics.hpsv2 import CHECKPOINTS, REPOSITORY
from t2imetrics.hpsv2 import Hpsv2 as Own
from t2imetrics.reference._base import PackageScorer
from t2imetrics.reference._stubs import borrowed

if TYPE_CHECKING:
    from PIL import Image

#: The one architecture the package's `score` builds; a folder's configuration is put in its place.
ARCHITECTURE = "ViT-H-14"
CONTEXT = 77


class Hpsv2(PackageScorer):
    """Cosine x 100 from `hpsv2.img_score.score`.

    The package reads its 2 GB checkpoint at every call; here it is read once, and the per-row code, which is the
    package's, finds the weights in place.  On a GPU that code multiplies in float16.

    Args:
        setting: weights, device.
        version: published checkpoint, `2.1` or `2.0`.
        antialias: must be True; the package resizes as the installed torchvision does (>= 0.17: with antialias).
    """

    distribution, package = "hpsv2", "hpsv2"
    card: MetricCard = Own.card

    def __init__(self, setting: Setting, version: str = "2.1", antialias: bool = True) -> None:
        super().__init__(setting)
        choose("version", version, list(CHECKPOINTS))
        if not antialias:
            raise OptionError("backend 'reference' resizes as the package does: leave antialias at True")
        device = str(setting.torch_device())
        if setting.weights == "published":
            path, weights = fetch(HubFile(REPOSITORY, CHECKPOINTS[version]))
            folder, note = None, f"version {version}"
        else:
            folder, weights = find_folder(setting.weights, "hps")
            path, note = folder / "model.safetensors", "not a published version"
        self.scr, self.tokenizer = _load(path, folder, device)
        self._set_card(weights, note)

    def _set_card(self, weights: Weights, note: str) -> None:
        self.size = _size(self.scr.model_dict["model"])
        note = f"backend reference: package {self.release}; {note}; one row at a time"
        self.card = replace(self.card, text_limit=CONTEXT, weights=weights, note=note)

    def package_score(self, picture: Image.Image | str, text: str) -> float:
        """`hpsv2.img_score.score` x 100."""
        return 100.0 * float(self.scr.score(picture, text, cp=_nothing())[0])

    def fit(self, image: Image.Image) -> Image.Image:
        """Black around a picture whose longest side is already right: the package pads only what it has resized."""
        from PIL import Image

        width, height = image.size
        if max(width, height) != self.size or width == height:
            return image
        square = Image.new("RGB", (self.size, self.size))
        square.paste(image, ((self.size - width) // 2, (self.size - height) // 2))
        return square

    def tokens(self, texts: Sequence[str]) -> Ints:
        return np.array([len(self.tokenizer.encode(text)) + 2 for text in texts], np.int64)


def _load(path: Path, folder: Path | None, device: str) -> tuple[Any, Any]:
    """The package's module `img_score` with these weights in its model, and the tokenizer it uses."""
    config = {} if folder is None else read_json(folder / "open_clip_config.json")
    with borrowed(Hpsv2.distribution, Hpsv2.package) as module:
        scr, words = module("hpsv2.img_score"), module("hpsv2.src.open_clip.tokenizer")
        factory = module("hpsv2.src.open_clip.factory")
        if folder is not None:
            factory._MODEL_CONFIGS[ARCHITECTURE] = config.get("model_cfg")
            words._tokenizer = or_damaged(folder, lambda: words.SimpleTokenizer(str(folder / "bpe.txt.gz")))
        scr.create_model_and_transforms = _without_download(scr.create_model_and_transforms, config)
        scr.device, scr.root_path = device, "."  # the package would make a folder in the user's home
        or_damaged(path, scr.initialize_model)
    model, state = scr.model_dict["model"], read_checkpoint(path)
    _agree(model, words._tokenizer)
    or_damaged(path, lambda: model.load_state_dict(state if folder else state["state_dict"]))
    model.load_state_dict = lambda _: None  # `score` calls it at every row
    return scr, words._tokenizer


def _without_download(create: Any, config: dict[str, Any]) -> Any:
    """The package's factory, but without the 4 GB of weights that `score` overwrites at once."""
    about = config.get("preprocess_cfg", {})

    def make(name: str, _: str, **options: Any) -> Any:
        options.update(image_mean=about.get("mean"), image_std=about.get("std"))
        return create(name, None, **options)

    return make


def _agree(model: Any, tokenizer: Any) -> None:
    """The package's `tokenize` has no settings: the text tower must read what it gives."""
    if len(model.positional_embedding) != CONTEXT:
        raise WeightsError(f"the package hpsv2 reads {CONTEXT} tokens, these weights {len(model.positional_embedding)}")
    if tokenizer.vocab_size != model.vocab_size:
        raise WeightsError(f"the tokenizer has {tokenizer.vocab_size} tokens, the model {model.vocab_size}")


def _nothing() -> io.BytesIO:
    """A checkpoint without entries, for a function that insists on reading one."""
    import torch

    file = io.BytesIO()
    torch.save({"state_dict": {}}, file)
    file.seek(0)
    return file


def _size(model: Any) -> int:
    size = model.visual.image_size
    return int(size[0] if isinstance(size, (tuple, list)) else size)
