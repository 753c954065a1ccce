"""The floor: an answer by someone who never read the chat, but knows what an answer looks like.

Every draw is uniform and seeded by (run seed, input id), so a row's answer never depends on its batch-mates:

- prompt and negative prompt: those of one training demonstration;
- model: over the whole catalog (`ranking`: five models in random order, headed by it);
- sampler: over SAMPLERS; steps: 1 to 60; CFG: 1 to 20 in halves;
- width and height, each by itself: SCALES times the usual short side of the training pictures, to multiples of 8.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from statistics import median_low

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.schema import Arguments, Demonstration, FreestyleInput, Plan
from chatgenbench.systems.declare import builtin
from chatgenbench.systems.training import require

#: Names that AUTOMATIC1111's web UI offers and Civitai records most.
SAMPLERS = (
    "Euler",
    "Euler a",
    "LMS",
    "Heun",
    "DPM2",
    "DPM2 a",
    "DPM++ 2M",
    "DPM++ 2M Karras",
    "DPM++ 2M SDE Karras",
    "DPM++ SDE Karras",
    "DDIM",
    "UniPC",
)
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)


@builtin("random", "a random training prompt, model and arguments: the floor")
class RandomPlan:
    """Draws each part of the plan by itself."""

    name = "random"
    revision = "1"

    def __init__(self, benchmark: Benchmark, seed: int) -> None:
        self._seed = seed

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        require(train, self.name)
        self._train = sorted(train, key=lambda d: d.id)
        self._models = sorted(catalog.records)
        side = median_low(min(d.plan.arguments.width, d.plan.arguments.height) for d in train)
        self._sides = sorted({max(8, round(side * scale / 8) * 8) for scale in SCALES})

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Plan]:
        for chat in inputs:
            yield self._draw(random.Random(f"{self._seed}:{chat.id}"))

    def _draw(self, rng: random.Random) -> Plan:
        words = rng.choice(self._train).plan
        ranking = rng.sample(self._models, min(5, len(self._models)))
        arguments = Arguments(
            sampler=rng.choice(SAMPLERS),
            steps=rng.randint(1, 60),
            cfg_scale=rng.randint(2, 40) / 2,
            width=rng.choice(self._sides),
            height=rng.choice(self._sides),
        )
        return Plan(
            prompt=words.prompt,
            negative_prompt=words.negative_prompt,
            model=ranking[0],
            arguments=arguments,
            ranking=tuple(ranking),
        )
