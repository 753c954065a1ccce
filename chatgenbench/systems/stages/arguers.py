"""Arguers: settings that people of the training split used, for everything, for a model, or for a like prompt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.schema import Arguments, Demonstration, Failure
from chatgenbench.systems.stages.declare import stage
from chatgenbench.systems.stages.protocol import Draft
from chatgenbench.systems.training import common_arguments, require


@stage("popular-args", "arguer", "the most frequent training setting, whatever the model")
class PopularArguments:
    """One setting for all."""

    revision = "1"

    def __init__(self, argument: str | None, benchmark: Benchmark, seed: int) -> None:
        pass

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        require(train, "popular-args")
        self._arguments = common_arguments(train)

    def argue(self, drafts: Sequence[Draft]) -> list[Arguments | Failure]:
        return [self._arguments for _ in drafts]


@stage("model-args", "arguer", "the chosen model's most frequent training setting")
class ModelArguments:
    """A model that nobody in train used takes the setting of its base model's family, and without any, of all."""

    revision = "1"

    def __init__(self, argument: str | None, benchmark: Benchmark, seed: int) -> None:
        pass

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        require(train, "model-args")
        by_model: dict[str, list[Demonstration]] = defaultdict(list)
        by_family: dict[str, list[Demonstration]] = defaultdict(list)
        for demonstration in train:
            record = catalog.get(demonstration.plan.model)
            by_model[record.id].append(demonstration)
            by_family[record.base_model].append(demonstration)
        self._of_model = {model: common_arguments(those) for model, those in by_model.items()}
        self._of_family = {family: common_arguments(those) for family, those in by_family.items()}
        self._of_all = common_arguments(train)
        self._catalog = catalog

    def argue(self, drafts: Sequence[Draft]) -> list[Arguments | Failure]:
        return [self._for(draft.ranking[0]) for draft in drafts]

    def _for(self, model: str) -> Arguments:
        if model in self._of_model:
            return self._of_model[model]
        return self._of_family.get(self._catalog.get(model).base_model, self._of_all)


@stage("nearest-args", "arguer", "the setting of the chosen model's training prompt nearest to the prompt")
class NearestArguments(ModelArguments):
    """Falls back as `model-args` does for a model that nobody in train used."""

    revision = "1+all-MiniLM-L6-v2"

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        from chatgenbench.systems.ranking.text import Dense

        super().prepare(catalog, train)
        self._shown = sorted(train, key=lambda d: d.id)
        self._own: dict[str, list[int]] = defaultdict(list)
        for at, demonstration in enumerate(self._shown):
            self._own[catalog.get(demonstration.plan.model).id].append(at)
        self._prompts = Dense([d.plan.prompt for d in self._shown])

    def argue(self, drafts: Sequence[Draft]) -> list[Arguments | Failure]:
        scores = self._prompts.scores([draft.words.prompt for draft in drafts])
        return [self._nearest(draft.ranking[0], row) for draft, row in zip(drafts, scores, strict=True)]

    def _nearest(self, model: str, scores: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Arguments:
        own = self._own.get(model)
        if not own:
            return self._for(model)
        best = self._shown[max(own, key=lambda at: (scores[at], -at))]
        keys = set(Arguments.model_fields) - {"seed"}
        return Arguments.model_validate(best.plan.arguments.model_dump(include=keys))
