"""What may be said of a system beside its name: where its language model is, what it costs, how long one waits."""

from __future__ import annotations

from dataclasses import dataclass

from chatgenbench.systems.costs import Prices


@dataclass(frozen=True)
class Options:
    """Options of systems that are reached over a wire.

    `timeout` is seconds for one batch of answers; `budget` US dollars that the language model of one run may cost;
    `shortlist` and `demonstrations` are how many models and plans of others a language model is shown; `images` says
    whether it is sent the reference pictures; `max_tokens` bounds its answer, thoughts included.
    """

    llm_base_url: str | None = None
    prices: Prices = Prices()  # noqa: RUF009  (frozen)
    budget: float | None = None
    timeout: float = 120.0
    temperature: float = 0.0
    shortlist: int = 12
    demonstrations: int = 4
    images: bool = True
    max_tokens: int = 1024
