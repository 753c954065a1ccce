"""What a build was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from chatgenbench.build.dedupe import DedupeLimits
from chatgenbench.build.filters import Limits
from chatgenbench.build.removals import Removals
from chatgenbench.build.split import SplitSettings


@dataclass(frozen=True)
class Settings:
    """Everything that decides which records stay, and no secret.  `removals` is what people asked to leave out."""

    source: Literal["civitai", "bundled"]
    limits: Limits = field(default_factory=Limits)
    dedupe: DedupeLimits = field(default_factory=DedupeLimits)
    split: SplitSettings = field(default_factory=SplitSettings)
    removals: Removals = field(default_factory=Removals)
