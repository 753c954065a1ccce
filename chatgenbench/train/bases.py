"""Base models that a recipe may make itself: `tiny`, a fresh one of a few hundred thousand weights, for tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from chatgenbench.quiet import quiet

TINY = "tiny"
WORDS = 2000


def prepared(spec: str, out: Path, texts: Sequence[str]) -> str:
    """What `lm.load` can be given: `spec` itself, or the fresh model in `out/base` for `tiny`."""
    if spec != TINY:
        return spec
    folder = out / "base"
    if not folder.is_dir():
        draft = out / "work" / "base"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        with quiet():
            _make(draft, texts)
        os.replace(draft, folder)
    return str(folder)


def _make(folder: Path, texts: Sequence[str]) -> None:
    """A Llama of 64 dimensions and 2 layers with a byte-pair vocabulary of `texts`, always from the same seed."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ByteLevelBPETokenizer()
    words.train_from_iterator(texts, vocab_size=WORDS, min_frequency=1, special_tokens=["<end>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words._tokenizer, eos_token="<end>", pad_token="<end>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=1024, tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
