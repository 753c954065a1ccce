"""What draws leases: the contract that every executor (inline, one process per GPU, a cluster) keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from chatgenbench.render.leases import Lease
from chatgenbench.schema import Failure


@dataclass(frozen=True)
class Picture:
    """One drawn request.  The PNG already lies in the pool under `digest`; `seconds` is its share of the batch."""

    digest: str
    image_sha256: str
    seconds: float


@dataclass(frozen=True)
class Undrawn:
    """One request that has no picture, and why."""

    digest: str
    failure: Failure


class Executor(Protocol):
    """Draws leases into the pool.

    `run` yields exactly one result per request, as soon as it is known, in any order.  A request that cannot be
    drawn is an `Undrawn` and never disturbs another.  A fault of the machine that would hit every further request
    (disk full, device lost) is raised as InfraError; what was yielded before stays valid.
    """

    def run(self, leases: Iterable[Lease]) -> Iterator[Picture | Undrawn]:
        """Draw every request of `leases`."""
        ...

    def close(self) -> None:
        """Free weights and workers.  The executor may not be used afterwards."""
        ...
