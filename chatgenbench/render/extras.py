"""What a checkpoint's record names beside its weights: a VAE of its own, and embeddings by the word that calls them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from chatgenbench.errors import BenchmarkError
from chatgenbench.render.resolver import Located
from chatgenbench.render.weights import weight_files

#: How the vectors of one text encoder are called in an embedding for SDXL, and which encoder reads them.
_ENCODERS = (("clip_l", "text_encoder", "tokenizer"), ("clip_g", "text_encoder_2", "tokenizer_2"))


def add_extras(pipeline: Any, located: Located, dtype: Any) -> None:
    """Put them into a freshly loaded pipeline.

    Raises:
        BenchmarkError: one that is not safetensors, or not made for this pipeline.
    """
    for name, path in located.extras.items():
        weight_files(path)
        if name == "vae":
            pipeline.vae = _vae(pipeline.vae, path, dtype)
        else:
            _add_embedding(pipeline, path, name.partition(":")[2])


def _vae(own: Any, path: Path, dtype: Any) -> Any:
    """The VAE in `path`, configured as the one that the checkpoint came with."""
    if path.is_dir():
        return type(own).from_pretrained(str(path), dtype=dtype, use_safetensors=True, local_files_only=True)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(dict(own.config), default=str))
        return type(own).from_single_file(str(path), config=folder, dtype=dtype, local_files_only=True)


def _add_embedding(pipeline: Any, path: Path, word: str) -> None:
    from safetensors.torch import load_file

    if not hasattr(pipeline, "load_textual_inversion"):
        raise BenchmarkError(f"the embedding '{word}' cannot be used: {type(pipeline).__name__} reads none")
    tensors = load_file(path)
    if "clip_l" not in tensors:
        pipeline.load_textual_inversion(str(path.parent), weight_name=path.name, token=word, local_files_only=True)
        return
    for key, encoder, tokenizer in _ENCODERS:
        if hasattr(pipeline, encoder):
            models = {"text_encoder": getattr(pipeline, encoder), "tokenizer": getattr(pipeline, tokenizer)}
            pipeline.load_textual_inversion(tensors[key], token=word, **models)
