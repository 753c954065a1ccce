"""Checkpoints in one file: the configuration that diffusers wants beside them, without asking any hub for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from chatgenbench.errors import BenchmarkError, WeightsError
from chatgenbench.render.clip_tokens import vocabulary
from chatgenbench.render.families import SD2, Family, family_of, not_drawn, variant_of
from chatgenbench.render.header import HeaderError, read_header
from chatgenbench.schema import ModelRecord, digest_of

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

    from chatgenbench.render.resolver import Resolver

CONFIGS = Path(__file__).parent / "configs"
#: What prompts are padded with: OpenAI's CLIP was trained with the end mark, OpenCLIP's with what "!" is.
_PADS = {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"}


@contextmanager
def described(record: ModelRecord, path: Path, resolver: Resolver, dtype: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The configuration folder of a single file of a known family, and the parts that the file leaves out, loaded.

    Raises:
        BenchmarkError: the family isn't drawn, the file isn't safetensors, or a part can't be fetched.
    """
    family = family_of(record.base_model)
    if family is None:
        raise BenchmarkError(not_drawn(record.base_model))
    try:
        tensors = read_header(path).keys()
    except HeaderError as error:
        raise BenchmarkError(f"{path} is {error}") from None
    config = written(variant_of(family, record.base_model, tensors), family, resolver.fetching.root / "configs")
    absent = [part for part, heads in family.inside.items() if not any(name.startswith(heads) for name in tensors)]
    parts = [*family.outside, *absent]
    if not parts:
        yield config, {}
        return
    try:
        with resolver.folder(family.source, parts) as folder:
            yield config, _loaded(folder, parts, dtype)
    except WeightsError as error:
        what = ", ".join(parts)
        raise WeightsError(f"model '{record.id}' needs {what} of {family.source.repo}, and {error}") from None


def written(variant: str, family: Family, root: Path) -> Path:
    """A folder with the configuration of a variant and its CLIP tokenizers, written once for everybody."""
    about = json.loads((CONFIGS / f"{variant}.json").read_text("utf-8"))
    folder = root / f"{variant}-{digest_of(about)[:16]}"
    if folder.is_dir():
        return folder
    growing = root / f".{uuid4().hex}"
    for part, body in about.items():
        name = {"model_index": "model_index.json", "scheduler": "scheduler/scheduler_config.json"}
        target = growing / name.get(part, f"{part}/config.json")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(body))
    for part, value in about["model_index"].items():
        if isinstance(value, list) and value[1] == "CLIPTokenizer":
            pad = "!" if family.name == SD2 else _PADS[part]
            clip_tokenizer(pad).save_pretrained(str(growing / part))
    try:
        growing.rename(folder)
    except OSError:  # somebody else was first
        shutil.rmtree(growing)
    return folder


def clip_tokenizer(pad: str = "<|endoftext|>") -> CLIPTokenizer:
    """CLIP's own BPE, made from the vocabulary that open_clip carries."""
    from transformers import CLIPTokenizer

    vocab, merges = vocabulary()
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77, pad_token=pad)


def _loaded(folder: Path, parts: list[str], dtype: Any) -> dict[str, Any]:
    """Parts of a diffusers folder, by name."""
    import diffusers
    import transformers

    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    found = {}
    for part in parts:
        library, name = index[part]
        cls = getattr({"diffusers": diffusers, "transformers": transformers}[library], name)
        options = {} if part.startswith("tokenizer") else {"dtype": dtype, "use_safetensors": True}
        found[part] = cls.from_pretrained(str(folder / part), local_files_only=True, **options)
    return found
