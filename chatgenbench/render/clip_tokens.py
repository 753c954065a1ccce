"""CLIP's own vocabulary, by which every SD 1, SD 2 and SDXL reads; no torch needed."""

from __future__ import annotations

import gzip
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chatgenbench.errors import BenchmarkError
from chatgenbench.render.prompts import CHUNK, MOST, chunks

#: The vocabulary that open_clip carries, and how many of its merges CLIP uses.
_FILE, _MERGES = "bpe_simple_vocab_16e6.txt.gz", 49152 - 256 - 2
#: How CLIP tells words apart before it merges letters.
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@lru_cache(maxsize=4096)
def count_chunks(prompt: str) -> int:
    """Chunks of a prompt, at least 1; MOST + 1 for one that will be cut."""
    if len(prompt.encode()) <= CHUNK and "BREAK" not in prompt:  # no token is shorter than a byte
        return 1
    return len(chunks(prompt, tokenize, _tokenizer().token_to_id(",</w>"), most=MOST + 1))


def tokenize(text: str) -> list[int]:
    """Token ids without marks of begin and end."""
    ids: list[int] = _tokenizer().encode(text, add_special_tokens=False).ids
    return ids


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """CLIP's own tokens with their ids, and the merges that make them; from the copy that open_clip carries.

    Raises:
        BenchmarkError: open_clip is not installed.
    """
    spec = find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise BenchmarkError("open_clip, which carries the vocabulary that prompts are read with, is not installed")
    with gzip.open(Path(spec.origin).parent / _FILE, "rt", encoding="utf-8") as file:
        merges = [(one, two) for one, two in map(str.split, file.read().split("\n")[1 : _MERGES + 1])]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = range(256 - len(printable))
    letters = [chr(code) for code in (*printable, *(256 + at for at in spare))]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    return {token: at for at, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}, merges


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    vocab, merges = vocabulary()
    found = Tokenizer(models.BPE(vocab=vocab, merges=merges, end_of_word_suffix="</w>"))
    found.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    found.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])  # fmt: skip
    return found
