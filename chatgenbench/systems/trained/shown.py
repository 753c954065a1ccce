"""Arguments by example: which demonstrations of a model are shown, and what its people usually set."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chatgenbench.benchmark import Catalog
from chatgenbench.schema import Arguments, Demonstration
from chatgenbench.systems.training import common_arguments, most_common

_WORD = re.compile(r"\w+")


class Examples:
    """The training demonstrations by model."""

    def __init__(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        self._of: dict[str, list[Demonstration]] = {}
        for one in sorted(train, key=lambda d: d.id):
            self._of.setdefault(catalog.get(one.plan.model).id, []).append(one)
        self.samplers = {one.plan.arguments.sampler for one in train}
        self.popular = most_common(model for model, own in self._of.items() for _ in own)
        self.usual = common_arguments(self._of[self.popular])
        self._usual = {model: common_arguments(own) for model, own in self._of.items()}

    def usual_of(self, model: str) -> Arguments:
        """The model's most common setting; of a model nobody used, the popular model's."""
        return self._usual.get(model, self.usual)

    def nearest(self, model: str, prompt: str, count: int) -> list[Demonstration]:
        """The model's demonstrations whose prompts share most words with `prompt`, the nearest one last."""
        words = set(_WORD.findall(prompt.lower()))

        def shared(one: Demonstration) -> float:
            own = set(_WORD.findall(one.plan.prompt.lower()))
            return len(words & own) / (len(words | own) or 1)

        found = sorted(self._of.get(model, ()), key=lambda d: (-shared(d), d.id))[:count]
        return found[::-1]
