"""The classes behind `torchmetric.as_torchmetric`.  Imports torch and torchmetrics."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torchmetrics import Metric

from t2imetrics._card import MetricCard, Reads
from t2imetrics._scorer import Floats, Scorer, listed
from t2imetrics._tensors import pictures
from t2imetrics.errors import InputError, OptionError
from t2imetrics.fid import Fid, Moments, fid_of


class Held:
    """Keeps a scorer out of copies: a metric that is cloned shares its networks with the clone."""

    def __init__(self, scorer: Any) -> None:
        self.scorer = scorer

    def __deepcopy__(self, memo: dict[int, Any]) -> Held:
        return self


class Adapted(Metric):
    """What all share: the scorer, and a state that says whose numbers these are.

    Attributes:
        identity: digest of the card, uint8 (8,), the same in every process.  `MetricCollection` lets metrics whose
            states were equal after the first batch share them from then on; two metrics that both scored 0 there
            would become one.  This state keeps them apart.
    """

    is_differentiable = False
    full_state_update = False
    identity: torch.Tensor

    def __init__(self, held: Held, **options: Any) -> None:
        super().__init__(**options)
        self.held = held
        digest = hashlib.sha256(repr(self.card).encode()).digest()
        self.add_state("identity", torch.tensor(list(digest[:8]), dtype=torch.uint8), "max")

    @property
    def scorer(self) -> Any:
        """The metric that was adapted."""
        return self.held.scorer

    @property
    def card(self) -> MetricCard:
        """Its card."""
        card: MetricCard = self.scorer.card
        return card

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch and return its own value; a batch that raises leaves everything as it was."""
        before = dict(self.__dict__)  # torchmetrics replaces states, it does not change them in place
        try:
            return super().forward(*args, **kwargs)
        except BaseException:
            self.__dict__.update(before)
            raise

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the states of another process's metric (or its `metric_state`); the same metric and weights only."""
        state = incoming_state.metric_state if isinstance(incoming_state, Metric) else incoming_state
        other = state.get("identity") if isinstance(state, dict) else None
        if not (isinstance(other, torch.Tensor) and torch.equal(other.to(self.identity), self.identity)):
            raise OptionError(f"only states of '{self.card.name}' with the same options and weights can be merged")
        super().merge_state(state)
        self._computed = None  # torchmetrics 1.9 would go on returning the value before the merge
        self._update_count += 1

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Figure and axes with the value, or with `val`, within the card's range; needs matplotlib."""
        return self._plot(val, ax)

    def __reduce__(self) -> Any:
        return _blank, (self.held,), self.__getstate__()


class MeanOfRows(Adapted):
    """Mean of what `scorer.score` gives; takes the same two lists.

    Attributes:
        total: sum of the rows, float64.
        n: how many rows, int64.
    """

    total: torch.Tensor
    n: torch.Tensor

    def __init__(self, held: Held, **options: Any) -> None:
        super().__init__(held, **options)
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), "sum")
        self.add_state("n", torch.tensor(0), "sum")

    def update(self, rows: Sequence[Any], against: Sequence[Any]) -> None:
        """Score rows and add them; see `Scorer.score`."""
        self._add(self.scorer.score(listed(rows), listed(against)))

    def compute(self) -> torch.Tensor:
        """The mean; NaN of no rows."""
        return self.total / self.n

    def _add(self, values: Floats) -> None:
        if not np.isfinite(values).all():
            raise InputError(f"metric '{self.card.name}' gave values that are not numbers, which cannot be averaged")
        self.total = self.total + math.fsum(values)
        self.n = self.n + len(values)


class MeanOfPicturesAndTexts(MeanOfRows):
    """Mean over pairs of picture and text."""

    def update(self, images: Any, texts: Sequence[str]) -> None:
        """Score `images` (see `as_torchmetric`) against `texts` and add the rows."""
        self._add(self.scorer.score(pictures(images), listed(texts)))


class MeanOfPictures(MeanOfRows):
    """Mean over pictures."""

    def update(self, images: Any) -> None:  # type: ignore[override]
        """Score `images` (see `as_torchmetric`) and add the rows."""
        self._add(self.scorer.score(pictures(images), None))


class MeanOfPairs(MeanOfRows):
    """Mean over pairs of pictures."""

    def update(self, images: Any, gold: Any) -> None:
        """Score `images` against `gold` (see `as_torchmetric`) and add the rows."""
        self._add(self.scorer.score(pictures(images), pictures(gold)))


class DistanceOfSets(Adapted):
    """FID of everything seen.

    Attributes:
        real_n, real_total, real_outer: the `Moments` of the real pictures, shapes (), (d,), (d, d).
        drawn_n, drawn_total, drawn_outer: those of the others.
    """

    SIDES: ClassVar[tuple[str, str]] = ("real", "drawn")

    def __init__(self, held: Held, **options: Any) -> None:
        super().__init__(held, **options)
        d = self.scorer.width
        for side in self.SIDES:
            self.add_state(f"{side}_n", torch.tensor(0), "sum")
            self.add_state(f"{side}_total", torch.zeros(d, dtype=torch.float64), "sum")
            self.add_state(f"{side}_outer", torch.zeros((d, d), dtype=torch.float64), "sum")

    def update(self, images: Any, real: bool) -> None:
        """Add pictures (see `as_torchmetric`) to the real side or to the other."""
        if not isinstance(real, bool):
            raise InputError(f"real is True or False, got {type(real).__name__}")
        side = self.SIDES[0] if real else self.SIDES[1]
        seen = Moments.of(self.scorer.features(pictures(images)))
        for name, more in (("n", seen.n), ("total", seen.total), ("outer", seen.outer)):
            old = getattr(self, f"{side}_{name}")
            setattr(self, f"{side}_{name}", old + torch.as_tensor(more).to(old))

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Add pictures; a batch is one side of a distance, so its own value is NaN."""
        self.update(*args, **kwargs)
        value = torch.tensor(float("nan"), dtype=torch.float64, device=self.device)
        self._forward_cache: Any = value
        return value

    def compute(self) -> torch.Tensor:
        """The distance; InputError unless both sides have at least two pictures.

        Processes add up in another order than one alone; that moves the distance by 1e-9 of its value, or 1e-8 while
        there are fewer pictures than features.
        """
        real, drawn = (self._moments(side) for side in self.SIDES)
        if min(real.n, drawn.n) < 2:
            raise InputError(f"at least 2 pictures on each side are needed, got {real.n} real and {drawn.n} drawn")
        return torch.tensor(fid_of(drawn, real), dtype=torch.float64, device=self.device)

    def _moments(self, side: str) -> Moments:
        total, outer = (getattr(self, f"{side}_{name}").double().cpu().numpy() for name in ("total", "outer"))
        return Moments(int(getattr(self, f"{side}_n")), total, outer)


BY_READS: dict[Reads, type[MeanOfRows]] = {
    "images+text": MeanOfPicturesAndTexts,
    "images": MeanOfPictures,
    "images+images": MeanOfPairs,
}
_CLASSES: dict[str, type[Adapted]] = {}


def adapt(scorer: Scorer, **options: Any) -> Adapted:
    """See `torchmetric.as_torchmetric`."""
    return _class(scorer)(Held(scorer), **options)


def _class(scorer: Scorer) -> type[Adapted]:
    """A class for the card: torchmetrics reads direction and bounds from the class, and names metrics after it."""
    card = scorer.card
    if card.reduction != "mean" and not isinstance(scorer, Fid):
        raise OptionError(f"metric '{card.name}' is one number for a whole run, which cannot be added up from batches")
    base = DistanceOfSets if isinstance(scorer, Fid) else BY_READS.get(card.reads, MeanOfRows)
    about = {
        "higher_is_better": card.higher_is_better,
        "plot_lower_bound": card.lower if np.isfinite(card.lower) else None,
        "plot_upper_bound": card.upper if np.isfinite(card.upper) else None,
        "__module__": __name__,
        "__doc__": f"{card.title}: {card.unit}.",
    }
    return _CLASSES.setdefault(f"{base.__name__} {card}", type(card.name, (base,), about))


def _blank(held: Held) -> Adapted:
    """A metric without state, for pickle and copy to fill."""
    kind = _class(held.scorer)
    return kind.__new__(kind)
