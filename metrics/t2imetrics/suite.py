"""Many picture metrics in one pass: each picture is decoded once, each tensor and each tower's features made once."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from t2imetrics._batch import Batch, How, prepared
from t2imetrics._registry import load
from t2imetrics._scorer import (
    Floats,
    PictureScorer,
    Precision,
    Scorer,
    batches,
    column,
    finite,
    listed,
    require_texts,
    same_length,
)
from t2imetrics.errors import InputError, OptionError
from t2imetrics.fid import Distance, Fid


@dataclass(frozen=True)
class Part:
    """One batch's results.

    Attributes:
        first: row of its first picture.
        values: per-row metrics, (n,) each.
        features: FID's features (n, d) of the pictures and of those they are compared with; None without FID.
    """

    first: int
    values: dict[str, Floats]
    features: tuple[Floats, Floats] | None


class Suite:
    """Picture metrics that are scored together and share networks, pixels and features.

    Args:
        names: picture metrics of `t2imetrics.list()`, e.g. `("clipscore", "imagereward", "fid")`.
        weights, device, batch_size, workers, precision: as for `t2imetrics.load`.
        options: name -> that metric's options, e.g. `{"clipscore": {"convention": "cosine"}}`.

    Raises:
        OptionError: a metric that does not read pictures, or options of a metric that is not in the suite.
    """

    def __init__(
        self,
        names: Sequence[str],
        weights: str | Path = "published",
        device: str = "auto",
        *,
        batch_size: int = 32,
        workers: int = 2,
        precision: Precision = "float32",
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        given = dict(options or {})
        if stray := sorted(given.keys() - set(names)):
            raise OptionError(f"options for '{stray[0]}', which is not in the suite")
        shelf: dict[Any, Any] = {}
        self.scorers = {
            name: load(
                name, weights, device, batch_size=batch_size, workers=workers, precision=precision, shelf=shelf,
                **given.get(name, {}),
            )
            for name in dict.fromkeys(names)
        }  # fmt: skip
        self.batch_size, self.workers = batch_size, workers
        for name, scorer in self.scorers.items():
            if not isinstance(scorer, PictureScorer | Fid):
                raise OptionError(f"metric '{name}' reads no pictures: load it on its own")

    def only(self, names: Sequence[str]) -> Suite:
        """A suite of some of these metrics, with the networks that are loaded already."""
        part = copy.copy(self)
        part.scorers = {name: scorer for name, scorer in self.scorers.items() if name in names}
        return part

    def score(
        self, images: Sequence[Any], texts: Sequence[str] | None = None, gold: Sequence[Any] | None = None
    ) -> dict[str, Floats]:
        """Every metric of the suite: (n,) each, (1,) for a set metric.

        Args:
            images: n pictures (paths, bytes, file objects or PIL images).
            texts: n texts; needed by metrics that read picture and text.
            gold: n pictures to compare with; needed by picture-to-picture metrics and FID.

        Raises:
            InputError: a list that a metric needs is missing or has another length.
            ImageError: a picture that cannot be opened; the message names the row.
        """
        values: dict[str, list[Floats]] = {name: [np.empty(0)] for name in self.scorers}
        distance = Distance()
        for part in self.parts(images, texts, gold):
            for name, rows in part.values.items():
                values[name].append(rows)
            if part.features is not None:
                distance.update(*part.features)
        found = {name: np.concatenate(parts) for name, parts in values.items()}
        return found | {name: np.array([distance.compute()]) for name, s in self.scorers.items() if isinstance(s, Fid)}

    def parts(
        self, images: Sequence[Any], texts: Sequence[str] | None = None, gold: Sequence[Any] | None = None
    ) -> Iterator[Part]:
        """What `score` is put together from, batch by batch and in order; memory does not grow with the rows."""
        images = listed(images)
        texts, gold = (None if rows is None else listed(rows) for rows in (texts, gold))
        self._require(images, texts, gold)
        nothing = repeat(None, -(-len(images) // self.batch_size))
        words = nothing if texts is None else batches(texts, self.batch_size)
        drawn = prepared(images, self.batch_size, self._hows(), self.workers)
        for (first, batch), text, other in zip(drawn, words, self._others(gold, len(images)), strict=True):
            values: dict[str, Floats] = {}
            for name, scorer in self.scorers.items():
                if isinstance(scorer, PictureScorer):
                    against = other if scorer.card.reads == "images+images" else text
                    values[name] = column(name, scorer.rows(batch, against), len(batch), first)
            yield Part(first, values, self._features(first, batch, other))

    def _features(self, first: int, batch: Batch, other: Any) -> tuple[Floats, Floats] | None:
        for name, scorer in self.scorers.items():
            if isinstance(scorer, Fid):
                return finite(name, scorer.take(batch), first), finite(name, scorer.take(other), first)
        return None

    def _require(self, images: Sequence[Any], texts: Sequence[str] | None, gold: Sequence[Any] | None) -> None:
        """Every list that is given has a row for each picture, whether or not a metric asks for it."""
        for given in (texts, gold):
            if given is not None:
                same_length(images, given)
        for name, scorer in self.scorers.items():
            if scorer.card.reads == "images+text":
                if texts is None:
                    raise InputError(f"metric '{name}' needs texts")
                require_texts(texts)
            elif gold is None and self._compares(scorer):
                raise InputError(f"metric '{name}' needs gold")

    def _others(self, gold: Sequence[Any] | None, n: int) -> Iterator[Any]:
        """Batches of the pictures to compare `n` with, prepared for those metrics that do."""
        hows = self._hows(comparing=True)
        if gold is None or not hows:
            return repeat(None, -(-n // self.batch_size))
        return (batch for _, batch in prepared(gold, self.batch_size, hows, self.workers))

    def _hows(self, comparing: bool = False) -> tuple[How, ...]:
        """Every preprocessing the metrics ask for, once; only those of comparing metrics if so asked."""
        asking = [s for s in self.scorers.values() if not comparing or self._compares(s)]
        return tuple(dict.fromkeys(how for s in asking if isinstance(s, PictureScorer | Fid) for how in s.hows))

    @staticmethod
    def _compares(scorer: Scorer) -> bool:
        return isinstance(scorer, Fid) or scorer.card.reads == "images+images"
