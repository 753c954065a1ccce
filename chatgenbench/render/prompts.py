"""Prompts as A1111 reads them: weighted words, parts, and chunks of what a CLIP text encoder sees at once.

    (word)  1.1 times     ((word))  1.21 times     (word:1.3)  1.3 times     [word]  1/1.1 times
    \\( \\) \\[ \\] \\\\   the character itself; a backslash before anything else is left out
    BREAK                what follows starts a new chunk

Brackets that are never closed count to the end; those that were never opened are text.  A1111's prompt editing
(`[from:to:when]`) and alternation (`[a|b]`) change the prompt while a picture is drawn, which nobody does here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

#: Tokens of a chunk beside its marks of begin and end.
CHUNK = 75
#: Chunks of one prompt at most: what follows is cut off.
MOST = 8
#: How far back from the end of a full chunk a comma may be for the cut to be made there.
BACKTRACK = 20
ROUND, SQUARE = 1.1, 1 / 1.1

# What a system answers is matched here: "*+" and "++" never try less, so no text takes more than one look at it.
_PIECE = re.compile(r"\\[()\[\]\\]|\\|[(\[]|:\s*+([+-]?(?:\d++(?:\.\d*+)?|\.\d++))\s*+\)|[)\]]|[^\\()\[\]:]+|:")
_BREAK = re.compile(r"\bBREAK\b")
_EDITING = re.compile(r"(?<!\\)\[[^\[\]:|]*+[:|][^\[\]]*+\]")

#: Text and what it counts.
Weighted = tuple[str, float]


@dataclass(frozen=True)
class Chunk:
    """Tokens that a text encoder sees at once, at most CHUNK, and what each counts."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]


def parse(prompt: str) -> list[list[Weighted]]:
    """The parts of a prompt between its BREAKs, each as pieces of text with weights; neighbours differ in weight."""
    parts: list[list[Weighted]] = [[]]
    for text, weight in _weighted(prompt):
        if text is None:
            parts.append([])
        elif parts[-1] and parts[-1][-1][1] == weight:
            parts[-1][-1] = (parts[-1][-1][0] + text, weight)
        elif text:
            parts[-1].append((text, weight))
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


def _weighted(prompt: str) -> Iterator[tuple[str | None, float]]:
    """Pieces of text with what each counts; None stands for BREAK."""
    found: list[str | None] = []
    times: list[tuple[int, int, float]] = []  # from, to, factor of a bracket, in the order in which they close
    rounds: list[int] = []
    squares: list[int] = []
    for piece in _PIECE.finditer(prompt):
        text, number = piece[0], piece[1]
        if text[0] == "\\":
            found.append(text[1:])
        elif text in "([":
            (rounds if text == "(" else squares).append(len(found))
        elif number is not None and rounds:
            times.append((rounds.pop(), len(found), float(number)))
        elif text == ")" and rounds:
            times.append((rounds.pop(), len(found), ROUND))
        elif text == "]" and squares:
            times.append((squares.pop(), len(found), SQUARE))
        else:
            found += _split(text)
    times += [(start, len(found), ROUND) for start in rounds]
    times += [(start, len(found), SQUARE) for start in squares]
    return zip(found, _products(len(found), times), strict=True)


def _products(count: int, times: Sequence[tuple[int, int, float]]) -> list[float]:
    """What each of `count` pieces is multiplied by; factor after factor, as another order would round otherwise."""
    if not times:
        return [1.0] * count
    import numpy as np

    found = np.ones(count)
    with np.errstate(over="ignore", invalid="ignore"):  # the picture of such a prompt has no numbers, and says so
        for start, end, factor in times:
            found[start:end] *= factor
    return [float(value) for value in found]


def _split(text: str) -> list[str | None]:
    """A piece at its BREAKs, which take the space around them along."""
    first, *others = _BREAK.split(text)
    if not others:
        return [text]
    *middle, last = others
    found: list[str | None] = [first.rstrip()]
    for one in (*(part.strip() for part in middle), last.lstrip()):
        found += [None, one]
    return found


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
