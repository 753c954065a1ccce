"""Two ways to say how well a query fits a document: shared words (BM25) and sentence embeddings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from chatgenbench.systems.sentences import SentenceEncoder

Array = NDArray[np.float32]


class Matcher(Protocol):
    """Scores queries against the documents it was made of."""

    def scores(self, queries: Sequence[str]) -> Array:
        """(queries, documents), higher is nearer."""


class Lexical:
    """BM25 (Lucene's variant, k1 1.5, b 0.75; bm25s) over lower-case words without English stop words."""

    def __init__(self, documents: Sequence[str]) -> None:
        import bm25s

        logging.getLogger("bm25s").setLevel(logging.WARNING)  # its import turns debugging on
        self._count = len(documents)
        self._index: Any = None
        tokens = _words(documents)
        if any(tokens):  # an index without a single word cannot be made
            self._index = bm25s.BM25(method="lucene")
            self._index.index(tokens, show_progress=False)

    def scores(self, queries: Sequence[str]) -> Array:
        rows = [self._row(words) for words in _words(queries)]
        return np.stack(rows) if rows else np.zeros((0, self._count), np.float32)

    def _row(self, words: list[str]) -> Array:
        if self._index is None or not words:
            return np.zeros(self._count, np.float32)
        return np.asarray(self._index.get_scores(words), np.float32)


class Dense:
    """Cosine of all-MiniLM-L6-v2 embeddings, in -1..1."""

    def __init__(self, documents: Sequence[str]) -> None:
        self._vectors = _encoder().encode(documents)

    def scores(self, queries: Sequence[str]) -> Array:
        found: Array = (_embedded(tuple(queries)) @ self._vectors.T).numpy()
        return found


@lru_cache(maxsize=1)
def _encoder() -> SentenceEncoder:
    from chatgenbench.systems.sentences import SentenceEncoder

    return SentenceEncoder()


@lru_cache(maxsize=2)  # cards and demonstrations are asked the same batch of queries
def _embedded(queries: tuple[str, ...]) -> torch.Tensor:
    return _encoder().encode(queries)


def _words(texts: Sequence[str]) -> list[list[str]]:
    import bm25s

    found: list[list[str]] = bm25s.tokenize(list(texts), stopwords="en", return_ids=False, show_progress=False)
    return found
