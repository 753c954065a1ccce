"""Prompts as A1111 reads them: weighted words, parts, and chunks of what a CLIP text encoder sees at once.

    (word)  1.1 times     ((word))  1.21 times     (word:1.3)  1.3 times     [word]  1/1.1 times
    \\( \\) \\[ \\] \\\\   the character itself; a backslash before anything else is left out
    BREAK                what follows starts a new chunk

Brackets that are never closed count to the end; those that were never opened are text.  A1111's prompt editing
(`[from:to:when]`) and alternation (`[a|b]`) change the prompt while a picture is drawn, which nobody does here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Tokens of a chunk beside its marks of begin and end.
CHUNK = 75
#: Chunks of one prompt at most: what follows is cut off.
MOST = 8
#: How far back from the end of a full chunk a comma may be for the cut to be made there.
BACKTRACK = 20
ROUND, SQUARE = 1.1, 1 / 1.1

_PIECE = re.compile(r"\\[()\[\]\\]|\\|[(\[]|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[)\]]|[^\\()\[\]:]+|:")
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_EDITING = re.compile(r"(?<!\\)\[[^\[\]]*[:|][^\[\]]*\]")

#: Text and what it counts.
Weighted = tuple[str, float]


@dataclass
class _Part:
    text: str
    weight: float = 1.0
    breaks: bool = False


@dataclass(frozen=True)
class Chunk:
    """Tokens that a text encoder sees at once, at most CHUNK, and what each counts."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]


def parse(prompt: str) -> list[list[Weighted]]:
    """The parts of a prompt between its BREAKs, each as pieces of text with weights; neighbours differ in weight."""
    parts: list[list[Weighted]] = [[]]
    for one in _weighted(prompt):
        if one.breaks:
            parts.append([])
        elif parts[-1] and parts[-1][-1][1] == one.weight:
            parts[-1][-1] = (parts[-1][-1][0] + one.text, one.weight)
        elif one.text:
            parts[-1].append((one.text, one.weight))
    return parts


def is_plain(prompt: str) -> bool:
    """Whether a prompt is nothing but text that counts once, as it is spelt."""
    return parse(prompt) in ([[]], [[(prompt, 1.0)]])


def edits(prompt: str) -> bool:
    """Whether a prompt asks for editing or alternation, which are drawn as text."""
    return _EDITING.search(prompt) is not None


def stresses(prompt: str) -> bool:
    """Whether a prompt surely means A1111's weights, rather than a remark in brackets."""
    return re.search(r"\([^()]*:\s*[\d.]+\s*\)|\(\([^()]*\)\)|\bBREAK\b", prompt) is not None


def _weighted(prompt: str) -> list[_Part]:
    found: list[_Part] = []
    rounds: list[int] = []
    squares: list[int] = []

    def times(factor: float, start: int) -> None:
        for part in found[start:]:
            part.weight *= factor

    for piece in _PIECE.finditer(prompt):
        text, number = piece[0], piece[1]
        if text[0] == "\\":
            found.append(_Part(text[1:]))
        elif text in "([":
            (rounds if text == "(" else squares).append(len(found))
        elif number is not None and rounds:
            times(float(number), rounds.pop())
        elif text == ")" and rounds:
            times(ROUND, rounds.pop())
        elif text == "]" and squares:
            times(SQUARE, squares.pop())
        else:
            found += _split(text)
    for start in rounds:
        times(ROUND, start)
    for start in squares:
        times(SQUARE, start)
    return found


def _split(text: str) -> list[_Part]:
    first, *others = _BREAK.split(text)
    return [_Part(first), *(part for one in others for part in (_Part("", breaks=True), _Part(one)))]


def chunks(
    prompt: str, tokenize: Callable[[str], Sequence[int]], comma: int, size: int = CHUNK, most: int = MOST
) -> list[Chunk]:
    """A prompt cut into at least one and at most `most` chunks.

    A part starts a new chunk; a full chunk is cut at its last comma if that is near, so that phrases stay whole.

    Args:
        tokenize: text -> token ids without marks of begin and end.
        comma: the token id of a comma that ends a word.
    """
    found: list[Chunk] = []
    for part in parse(prompt):
        tokens = [(token, weight) for text, weight in part for token in tokenize(text)]
        while len(tokens) > size:
            cut = _cut(tokens, comma, size)
            found.append(_chunk(tokens[:cut]))
            tokens = tokens[cut:]
        found.append(_chunk(tokens))
    return found[:most]


def _cut(tokens: Sequence[tuple[int, float]], comma: int, size: int) -> int:
    """Where to end a chunk of at most `size` tokens."""
    if tokens[size][0] == comma:
        return size
    last = max((at for at in range(size) if tokens[at][0] == comma), default=-1)
    return last + 1 if last >= 0 and size - last <= BACKTRACK else size


def _chunk(tokens: Sequence[tuple[int, float]]) -> Chunk:
    return Chunk(tuple(token for token, _ in tokens), tuple(weight for _, weight in tokens))
