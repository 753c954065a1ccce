"""ImageReward as the package `image-reward` computes it: its network, its preprocessing, its tokenizer, its `score`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from t2imetrics._card import MetricCard, Weights
from t2imetrics._scorer import Ints, Setting
from t2imetrics._weights import HubFile, fetch, find_folder, or_damaged, read_checkpoint, read_json, together
from t2imetrics.errors import WeightsError
from t2imetrics.imagereward import CHECKPOINT, VOCABULARY
from t2imetrics.imagereward import ImageReward as Own
from t2imetrics.reference._base import PackageScorer
from t2imetrics.reference._stubs import borrowed

if TYPE_CHECKING:
    from PIL import Image

State = dict[str, Any]
MED_CONFIG = HubFile(CHECKPOINT.repo, "med_config.json")
#: What the package's code fixes and no configuration can change.
LIMIT, VISION_EPS = 35, 1e-6
#: The places of the head's five layers among its dropouts.
HEAD = (0, 2, 4, 6, 7)
#: Names in our folders -> names in the package.
_RENAMED = (
    (r"^vision_model\.embeddings\.class_embedding$", "blip.visual_encoder.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding$", "blip.visual_encoder.pos_embed"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "blip.visual_encoder.patch_embed.proj."),
    (r"^vision_model\.post_layernorm\.", "blip.visual_encoder.norm."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.layer_norm([12])\.", r"blip.visual_encoder.blocks.\1.norm\2."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn\.qkv\.", r"blip.visual_encoder.blocks.\1.attn.qkv."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn\.projection\.", r"blip.visual_encoder.blocks.\1.attn.proj."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.mlp\.", r"blip.visual_encoder.blocks.\1.mlp."),
    (r"^text_encoder\.", "blip.text_encoder."),
)
#: Modules that are changed, and names of `config.json` under those of the package's vision network.
_PARTS = ("blip", "med", "vit", "blip_pretrain")
_VISION = {
    "img_size": "image_size",
    "patch_size": "patch_size",
    "embed_dim": "hidden_size",
    "depth": "num_hidden_layers",
    "num_heads": "num_attention_heads",
}
#: Entries of the package's network that the score does not depend on, or that hold no weights.
_OPTIONAL = re.compile(r"^blip\.(vision_proj|text_proj)\.|\.position_ids$")


class ImageReward(PackageScorer):
    """Standardised reward from `ImageReward.score` of the package.

    Args:
        setting: weights, device.
    """

    distribution, package = "image-reward", "ImageReward"
    card: MetricCard = Own.card

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        device = setting.torch_device()
        self.model, weights = _published() if setting.weights == "published" else _folder(setting)
        self.model.device = device  # the package keeps it beside the module's own
        self.model.to(device).eval().requires_grad_(False)
        note = f"backend reference: package {self.release}; float32; one row at a time"
        self.card = replace(self.card, text_limit=LIMIT, weights=weights, note=note)

    def package_score(self, picture: Image.Image | str, text: str) -> float:
        """`ImageReward.score`, standardised by the model's mean and deviation."""
        return float(self.model.score(text, picture))

    def tokens(self, texts: Sequence[str]) -> Ints:
        return np.array([len(self.model.blip.tokenizer(text).input_ids) for text in texts], np.int64)


def _published() -> tuple[Any, Weights]:
    path, weights = fetch(CHECKPOINT)
    (config, about), (vocabulary, words) = fetch(MED_CONFIG), fetch(VOCABULARY)
    model = build(config, vocabulary)
    state = read_checkpoint(path)
    return or_damaged(path, lambda: fill(model, state)), replace(weights, files=together(weights, about, words))


def _folder(setting: Setting) -> tuple[Any, Weights]:
    folder, weights = find_folder(setting.weights, "reward")
    path, config = folder / "model.safetensors", read_json(folder / "config.json")
    state = released_names(read_checkpoint(path))
    model = build_small(or_damaged(path, lambda: Sizes.of(config, state)), folder / "vocab.txt")
    model.mean, model.std = float(config["mean"]), float(config["std"])
    return or_damaged(path, lambda: fill(model, state)), weights


@dataclass(frozen=True)
class Sizes:
    """A network of other sizes than the released one.

    Args:
        vision: keyword arguments of the package's `VisionTransformer`.
        text: the text encoder's configuration, as `med_config.json` has it.
        head: the six widths of the head.
    """

    vision: dict[str, Any]
    text: dict[str, Any]
    head: tuple[int, ...]

    @classmethod
    def of(cls, config: dict[str, Any], state: State) -> Sizes:
        """The sizes a folder's `config.json` and weights (released names) have."""
        vision, text = config["vision"], {k: v for k, v in config["text"].items() if k != "encoder_hidden_size"}
        if int(config["max_length"]) != LIMIT or float(vision["layer_norm_eps"]) != VISION_EPS:
            raise WeightsError(f"the package image-reward has max_length {LIMIT}, layer_norm_eps {VISION_EPS} built in")
        renamed = {key: vision[name] for key, name in _VISION.items()}
        renamed["mlp_ratio"] = vision["intermediate_size"] / vision["hidden_size"]
        shapes = [state[f"mlp.layers.{place}.weight"].shape for place in HEAD]
        return cls(renamed, {**text, "add_cross_attention": True}, (shapes[0][1], *(shape[0] for shape in shapes)))


def build_small(sizes: Sizes, vocabulary: Path) -> Any:
    """The package's network in other sizes, without weights."""
    with TemporaryDirectory() as folder:
        med = Path(folder) / "med_config.json"
        med.write_text(json.dumps(sizes.text), "utf-8")
        return build(med, vocabulary, sizes)


def build(med_config: Path, vocabulary: Path, sizes: Sizes | None = None) -> Any:
    """The package's network without weights.

    Args:
        med_config: its text encoder's configuration file.
        vocabulary: the tokenizer's; the package would ask the hub for it by name.
        sizes: None for those of the package.
    """
    with borrowed(ImageReward.distribution, ImageReward.package) as module:
        package = module("ImageReward.ImageReward")
        blip, med, vit, pretrain = (module(f"ImageReward.models.BLIP.{name}") for name in _PARTS)
        _restore_bert(med.BertModel)
        blip.BertTokenizer = _tokenizer_class(vocabulary)
        if sizes is not None:
            width = sizes.vision["embed_dim"]
            pretrain.create_vit = lambda *_: (vit.VisionTransformer(**sizes.vision), width)
            package.MLP = _head_class(package.MLP, sizes.head)
        model = or_damaged(med_config, lambda: package.ImageReward(med_config=str(med_config)))
        if sizes is not None:
            model.preprocess = package._transform(sizes.vision["img_size"])
    wanted, got = model.blip.text_encoder.config.vocab_size, len(model.blip.tokenizer)
    if not wanted <= got <= wanted + 2:  # the package adds two tokens, which the released network has rows for
        raise WeightsError(f"{vocabulary} makes {got} tokens, the model reads {wanted}")
    return model


def fill(model: Any, state: State) -> Any:
    """Load released names into the package's network; it would pass over missing entries without a word."""
    missing = [key for key in model.load_state_dict(state, strict=False).missing_keys if not _OPTIONAL.search(key)]
    if missing:
        raise WeightsError(f"{len(missing)} entries are missing, the first is '{missing[0]}'")
    return model


def released_names(state: State) -> State:
    """A folder's state dict under the names of the released checkpoint."""
    head = sorted({int(key.split(".")[1]) for key in state if key.startswith("mlp.")})
    if len(head) != len(HEAD):
        raise WeightsError(f"the package's head has {len(HEAD)} layers, these weights {len(head)}")
    places = {f"mlp.{old}": f"mlp.layers.{new}" for old, new in zip(head, HEAD, strict=True)}
    renamed: State = {}
    for key, tensor in state.items():
        part, _, leaf = key.rpartition(".")
        name = f"{places[part]}.{leaf}" if part in places else key
        for pattern, released in _RENAMED:
            name = re.sub(pattern, released, name)
        renamed[name] = tensor
    return renamed


# --- what transformers no longer gives, on the private copy's own classes ------------------------------------------


def _restore_bert(model: Any) -> None:
    """Three things `PreTrainedModel` had; every head is kept, every picture token is seen."""
    model.all_tied_weights_keys = {}
    model.get_head_mask = lambda _self, _mask, layers: [None] * layers
    model.invert_attention_mask = lambda _self, mask: (1.0 - mask[:, None, None, :].float()) * -1e4


def _tokenizer_class(vocabulary: Path) -> Any:
    """BERT's uncased tokenizer from a file: transformers gives an empty one when the hub cannot be reached."""
    from transformers import BertTokenizer

    class FromFile(BertTokenizer):  # type: ignore[misc]  # transformers is not read by the type checker
        @classmethod
        def from_pretrained(cls, *_: Any, **__: Any) -> Any:
            return cls(vocab=str(vocabulary))

        @property
        def additional_special_tokens_ids(self) -> list[int]:
            return [int(self.convert_tokens_to_ids("[ENC]"))]

    return FromFile


def _head_class(original: Any, widths: Sequence[int]) -> Any:
    """The package's head with other widths, its dropouts in their places."""
    from torch import nn

    def make(_: int) -> Any:
        mlp = original(widths[0])
        layers: list[nn.Module] = [nn.Dropout() for _ in range(HEAD[-1] + 1)]
        for place, wide, narrow in zip(HEAD, widths, widths[1:], strict=False):
            layers[place] = nn.Linear(wide, narrow)
        mlp.layers = nn.Sequential(*layers)
        return mlp

    return make
