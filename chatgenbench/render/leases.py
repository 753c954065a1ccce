"""Group render requests so that every checkpoint loads once and pictures are drawn in batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from chatgenbench.schema import RenderRequest


@dataclass(frozen=True)
class Lease:
    """Requests that one pipeline call could draw together: the unit a worker takes.

    They share weights, LoRA weight, sampler, steps, CFG scale, size, clip skip and engine; prompts, negative prompts
    and seeds differ.
    """

    requests: tuple[RenderRequest, ...]

    @property
    def shared(self) -> RenderRequest:
        """Any one of the requests, to read what all of them share."""
        return self.requests[0]


@dataclass(frozen=True)
class Loads:
    """What a list of leases costs: pictures, checkpoints read from disk, LoRAs put on them."""

    pictures: int
    checkpoints: int
    loras: int


def lease_requests(requests: Iterable[RenderRequest], limit: int = 256) -> list[Lease]:
    """Unique requests as leases of at most `limit` pictures.

    The order depends on the set of requests only: by checkpoint, then LoRA (none first), then LoRA weight, size
    and sampling arguments; so a worker that goes through them in order loads each base once.
    """
    unique = {request.digest: request for request in requests}
    ordered = sorted(unique.values(), key=lambda r: (*_shape(r), r.digest))
    leases = []
    for _, group in groupby(ordered, key=_shape):
        members = tuple(group)
        leases += [Lease(members[start : start + limit]) for start in range(0, len(members), limit)]
    return leases


def loads(leases: Sequence[Lease]) -> Loads:
    """Count what drawing `leases` in order loads, with room for one base and its LoRAs at a time."""
    shared = [(lease.shared.checkpoint, lease.shared.lora) for lease in leases]
    pictures = sum(len(lease.requests) for lease in leases)
    return Loads(pictures, len({base for base, _ in shared}), len({pair for pair in shared if pair[1] is not None}))


def _shape(request: RenderRequest) -> tuple[Any, ...]:
    """Sort key of everything that the requests of one lease share."""
    return (
        request.checkpoint,
        request.lora or "",
        request.lora_weight,
        request.width,
        request.height,
        request.sampler,
        request.steps,
        request.cfg_scale,
        request.clip_skip or 0,
        request.engine,  # tells prompts of one length from those of another
    )
