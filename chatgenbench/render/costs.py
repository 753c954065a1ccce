"""What drawing and loading will take: fitted to the timings of this machine.

Only order and estimates depend on it.  How leases are cut into batches does not, so neither does any pixel.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Protocol

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError, RenderError
from chatgenbench.render.files import Files
from chatgenbench.render.samplers import resolve
from chatgenbench.render.timings import Drawn, Loaded, Timings, device_name
from chatgenbench.render.weights import by_key
from chatgenbench.schema import ModelRecord, RenderRequest

if TYPE_CHECKING:
    import numpy as np

#: (sha256 of the base, sha256 of the LoRA on it or None)
Weights = tuple[str, str | None]

#: Schedulers that call the network twice a step.
TWICE = frozenset(
    {
        "HeunDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "DPMSolverSDEScheduler",
    }
)
#: Newest timings of a kind that a fit looks at; a machine changes.
RECENT = 400
#: Rounds of reweighting that turn least squares into nearly least absolute deviations.
ROUNDS = 8


class Costs(Protocol):
    """Seconds, or any unit as long as it is the same for all."""

    def drawing(self, requests: Sequence[RenderRequest]) -> float:
        """One pipeline call."""
        ...

    def loading(self, weights: Weights, held: Weights | None) -> float:
        """From `held` (None: nothing) to `weights`."""
        ...


class Even:
    """Nothing is known: every batch takes one unit, and so does every base; LoRAs are free."""

    def drawing(self, requests: Sequence[RenderRequest]) -> float:
        return 1.0

    def loading(self, weights: Weights, held: Weights | None) -> float:
        return 0.0 if held is not None and held[0] == weights[0] else 1.0


@dataclass(frozen=True)
class Fit:
    """seconds = factors . features, and how many timings it stands on."""

    factors: tuple[float, ...]
    timings: int

    def seconds(self, features: Sequence[float]) -> float:
        return sum(factor * feature for factor, feature in zip(self.factors, features, strict=True))


def fit(features: Sequence[Sequence[float]], seconds: Sequence[float]) -> Fit:
    """Non-negative factors with nearly the least sum of absolute relative errors; some wild timings do no harm.

    Least squares with factors >= 0 (Lawson and Hanson), each timing divided by itself so that long calls do not drown
    short ones, reweighted by the inverse of its residual (iteratively reweighted least squares).
    """
    import numpy as np
    from scipy.optimize import nnls

    target = np.asarray(seconds, np.float64)
    rows = np.asarray(features, np.float64) / target[:, None]
    weights = np.ones(len(target))
    factors: np.ndarray = np.zeros(rows.shape[1])
    for _ in range(ROUNDS):
        root = np.sqrt(weights)
        factors, _ = nnls(rows * root[:, None], root)
        weights = 1.0 / np.maximum(np.abs(rows @ factors - 1.0), 0.01)
    return Fit(tuple(float(factor) for factor in factors), len(target))


def call_features(steps: int, guided: bool, pixels: int, pictures: int) -> tuple[float, float, float]:
    """What a call's time is made of: each step as such, each megapixel of each step, each megapixel decoded."""
    area = pictures * pixels / 1e6
    return float(steps), steps * area * (2 if guided else 1), area


def network_calls(request: RenderRequest) -> int:
    """How often the network is called for one picture, both halves of guidance counted as one."""
    try:
        twice = resolve(request.sampler).scheduler in TWICE
    except RenderError:
        twice = False
    return request.steps * (2 if twice else 1)


def features_of(requests: Sequence[RenderRequest]) -> tuple[float, float, float]:
    """`call_features` of one batch."""
    one = requests[0]
    return call_features(network_calls(one), one.cfg_scale > 1, one.width * one.height, len(requests))


class Learned:
    """Costs as `timings` of `device` say; what they say nothing of is filled from the nearest that they do.

    Args:
        benchmark: whose catalog the requests' weights are from.
        timings: of this machine.
        device: as `timings.device_name` spells it.
        bytes_of: size of a record's files; BenchmarkError where it isn't known.
    """

    def __init__(
        self, benchmark: Benchmark, timings: Timings, device: str, bytes_of: Callable[[ModelRecord], int]
    ) -> None:
        self._records = by_key(benchmark)
        self._bytes_of = bytes_of
        known = [timing for timing in timings.read() if timing.device == device]
        self.families = _fit_calls(timing for timing in known if isinstance(timing, Drawn))
        self.loads, self._own = _fit_loads([timing for timing in known if isinstance(timing, Loaded)])
        self._seconds: dict[tuple[str, str], float] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing was ever drawn or nothing loaded on this device."""
        return not self.families or not self.loads

    def family(self, request: RenderRequest) -> str:
        """The `base_model` that draws a request; "" where the catalog has none."""
        record = self._records.get(("checkpoint", request.checkpoint))
        return record.base_model if record else ""

    def drawing(self, requests: Sequence[RenderRequest]) -> float:
        features = features_of(requests)
        own = self.families.get(self.family(requests[0]))
        if own is not None:
            return own.seconds(features)
        return median(fit.seconds(features) for fit in self.families.values()) if self.families else 1.0

    def loading(self, weights: Weights, held: Weights | None) -> float:
        base, lora = weights
        cold = held is None or held[0] != base
        seconds = self.load("checkpoint", base) if cold else 0.0
        return seconds + (self.load("lora", lora) if lora and (cold or held != weights) else 0.0)

    def load(self, kind: str, sha256: str) -> float:
        """Seconds to load one record: the median of its own loads, or what its size says."""
        if (kind, sha256) not in self._seconds:
            self._seconds[kind, sha256] = self._load(kind, sha256)
        return self._seconds[kind, sha256]

    def _load(self, kind: str, sha256: str) -> float:
        if sha256 in self._own:
            return median(self._own[sha256])
        record, known = self._records.get((kind, sha256)), self.loads.get(kind)
        if known is None or record is None:
            return 1.0 if kind == "checkpoint" else 0.0
        try:
            return known.seconds((1.0, self._bytes_of(record) / 1e9))
        except (BenchmarkError, OSError):
            return known.seconds((1.0, 0.0))


def known_costs(benchmark: Benchmark, device: str) -> Costs:
    """What this machine's timings say of a device ("cpu", "cuda", "cuda:N"); even costs where they say nothing."""
    try:
        name = device_name(device)
    except (RuntimeError, AssertionError):  # a cluster's kind of device that this machine does not have
        return Even()
    learned = Learned(benchmark, Timings(), name, Files(benchmark).size)
    return Even() if learned.empty else learned


def _fit_calls(timings: Iterable[Drawn]) -> dict[str, Fit]:
    by_family: dict[str, list[Drawn]] = defaultdict(list)
    for timing in timings:
        by_family[timing.family].append(timing)
    return {
        family: fit(
            [call_features(t.steps, t.guided, t.pixels, t.pictures) for t in recent], [t.seconds for t in recent]
        )
        for family, drawn in by_family.items()
        if (recent := drawn[-RECENT:])
    }


def _fit_loads(timings: Sequence[Loaded]) -> tuple[dict[str, Fit], dict[str, list[float]]]:
    by_kind: dict[str, list[Loaded]] = defaultdict(list)
    own: dict[str, list[float]] = defaultdict(list)
    for timing in timings:
        by_kind[timing.kind].append(timing)
        own[timing.sha256].append(timing.seconds)
    fits = {
        kind: fit([(1.0, t.bytes / 1e9) for t in loaded[-RECENT:]], [t.seconds for t in loaded[-RECENT:]])
        for kind, loaded in by_kind.items()
    }
    return fits, {sha256: seconds[-9:] for sha256, seconds in own.items()}
