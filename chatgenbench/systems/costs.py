"""What an answer cost: counted by whoever answered, priced by whoever pays."""

from __future__ import annotations

from dataclasses import dataclass

from chatgenbench.schema import Costs


@dataclass(frozen=True)
class Prices:
    """US dollars per million tokens read and written, and per hour of the machine that answers; None: not stated.

    Nothing here has a default: prices change, and differ between those who pay.
    """

    tokens_in: float | None = None
    tokens_out: float | None = None
    device_hour: float | None = None

    def of(self, costs: Costs) -> float | None:
        """US dollars for one answer: as told by the system, else by these prices; None if a part is not known."""
        if costs.usd is not None:
            return costs.usd
        parts: list[float | None] = []
        if self.tokens_in is not None or self.tokens_out is not None:
            parts += [_times(costs.prompt_tokens, self.tokens_in, 1e6)]
            parts += [_times(costs.completion_tokens, self.tokens_out, 1e6)]
        if self.device_hour is not None and costs.device_seconds is not None:
            parts += [_times(costs.device_seconds, self.device_hour, 3600)]
        known = [part for part in parts if part is not None]
        return sum(known) if parts and len(known) == len(parts) else None


def _times(count: float | None, price: float | None, unit: float) -> float | None:
    return None if count is None or price is None else count * price / unit
