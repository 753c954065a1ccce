"""How the prompts of a request are read: its family decides, and its engine and its notes tell.

Stable Diffusion 1, 2 and XL read A1111's weights, and prompts of any length in chunks (see encoding.py).  Where that
draws other pixels than reading the prompt as one plain text, the request's engine says so: " prompts/1x2" is the
first version of this rule and two chunks.  All other requests, and the names of their pictures, stay as they were.

Rectified flows (SD 3, Flux) read the prompt as it is, up to 256 or 512 tokens of T5; so do models of no family.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError
from chatgenbench.render.clip_tokens import count_chunks
from chatgenbench.render.families import Family
from chatgenbench.render.prompts import CHUNK, MOST, edits, is_plain, stresses
from chatgenbench.render.weights import inside
from chatgenbench.schema import ModelRecord

#: Raised whenever the rule would draw other pixels.
RULE = 1


def reading(
    texts: Sequence[str], base: ModelRecord, family: Family | None, benchmark: Benchmark
) -> tuple[str, list[str]]:
    """What the engine of a request says more, and what its row is told.

    Args:
        texts: prompt and negative prompt.
        base: the checkpoint that draws.
        family: the base's.
    """
    if family is None or family.flow:
        notes = ["prompt weights read as text"] if any(map(stresses, texts)) else []
        limit, tokens = _tokens(texts, base, benchmark) if family is None else (0, 0)
        return "", notes + ([f"prompt cut to {limit} tokens"] if tokens > limit else [])
    count = max(map(count_chunks, texts))
    if count == 1 and all(map(is_plain, texts)):
        return "", []
    notes = ["prompt editing read as weights"] if any(map(edits, texts)) else []
    if count > MOST:
        notes.append(f"prompt cut to {MOST * CHUNK} tokens")
    return f" prompts/{RULE}x{min(count, MOST)}", notes


def is_encoded(engine: str) -> bool:
    """Whether a request with this engine is drawn from embeddings made by this rule."""
    return " prompts/" in engine


def _tokens(texts: Sequence[str], base: ModelRecord, benchmark: Benchmark) -> tuple[int, int]:
    """How many tokens the base reads, and how many the longest text has, marks of begin and end included.

    (0, 0) where the base's tokenizer isn't in the benchmark's folder.
    """
    try:
        tokenizer, limit = _tokenizer(inside(benchmark, base.files["diffusers"]) / "tokenizer")
    except (KeyError, BenchmarkError):
        return 0, 0
    return limit, 0 if tokenizer is None else max(len(tokenizer.encode(text).ids) for text in texts)


@lru_cache(maxsize=8)
def _tokenizer(folder: Path) -> tuple[Any, int]:
    from tokenizers import Tokenizer

    try:
        limit = int(json.loads((folder / "tokenizer_config.json").read_text("utf-8"))["model_max_length"])
        return Tokenizer.from_file(str(folder / "tokenizer.json")), limit
    except Exception:  # tokenizers raises plain Exception for files it cannot read
        return None, 0
