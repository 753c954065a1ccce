"""The benchmark at the paper's size, 14,564 plans over 6,807 models, on 1, 8 and 64 GPUs: with the program's own leases
and backlog, and a clock that only jumps.

    python benchmarks/simulate_render.py                       # assumed costs of a GPU, see below
    python benchmarks/simulate_render.py --timings ~/.cache/chatgenbench/timings.jsonl   # timed on the miniature

How often each model is asked for is not published.  Assumed: every model once, and the remaining plans by a Zipf law
(weight 1/rank**0.8), so that a few models have hundreds of plans and most have one or two.  Assumed likewise: 60 % of
the models are LoRAs, each on one of 12 default bases, the others checkpoints of their own; half of all are SD 1.5 (512
x 512 to 512 x 768), half SDXL (1024 x 1024 to 832 x 1216); samplers, steps and CFG scales drawn from the paper's
published examples.  Costs are inputs: seconds per step and megapixel, per step, per load, per GB read.
With `--timings` they are those of a miniature run, and so are the sizes of the pictures.

Orders compared: `naive`, rows in random order dealt out to the GPUs in turn, each loading its model and drawing one
picture; `sorted`, rows sorted by model and cut into equal runs of rows, loaded once a run, one picture at a time;
`backlog`, what the program does.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chatgenbench.render.costs import Weights, call_features, features_of, fit
from chatgenbench.render.leases import lease_requests
from chatgenbench.render.simulate import Simulated, simulate
from chatgenbench.render.timings import Drawn, Loaded, Timings
from chatgenbench.schema import RenderRequest

PLANS, MODELS = 14_564, 6_807
SAMPLERS = (
    ("DPM++ 2M Karras", 28, 7.0), ("Euler a", 20, 9.0), ("Euler a", 30, 7.0), ("DPM++ SDE Karras", 60, 7.0),
    ("DPM++ 2M SDE Karras", 30, 7.0), ("DPM2 a Karras", 50, 7.0), ("Euler", 15, 7.0), ("DPM++ 2S a Karras", 42, 4.0),
)  # fmt: skip
SIDES = {"sd15": ((512, 512), (512, 768), (600, 600)), "sdxl": ((1024, 1024), (832, 1216), (896, 1344))}
#: What a miniature run was timed with; its costs say nothing of larger pictures.
MINIATURE = dict.fromkeys(SIDES, ((64, 64), (80, 64), (64, 80)))
BYTES = {"sd15": 2.1e9, "sdxl": 6.9e9, "lora": 0.15e9}


def name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Given:
    """Costs by family: (seconds a step, a step and megapixel with both halves of guidance counted, a megapixel)."""

    calls: dict[str, tuple[float, ...]]
    load: dict[str, float]
    family: dict[str, str]

    def drawing(self, requests: Sequence[RenderRequest]) -> float:
        factors = self.calls[self.family[requests[0].checkpoint]]
        return sum(f * x for f, x in zip(factors, features_of(requests), strict=True))

    def loading(self, weights: Weights, held: Weights | None) -> float:
        base, lora = weights
        cold = held is None or held[0] != base
        return (self.load[self.family[base]] if cold else 0.0) + (
            self.load["lora"] if lora and (cold or weights != held) else 0.0
        )


def plans(seed: int, sides: dict[str, tuple[tuple[int, int], ...]]) -> tuple[list[RenderRequest], dict[str, str]]:
    """The rows, and the family of each base."""
    rng = random.Random(seed)
    family: dict[str, str] = {}
    defaults = {kind: [name(f"default {kind} {at}") for at in range(6)] for kind in SIDES}
    for kind, bases in defaults.items():
        family |= dict.fromkeys(bases, kind)
    models = []
    for at in range(MODELS):
        kind = "sd15" if at % 2 else "sdxl"
        if rng.random() < 0.6:
            models.append((rng.choice(defaults[kind]), name(f"lora {at}"), kind))
        else:
            family[name(f"base {at}")] = kind
            models.append((name(f"base {at}"), None, kind))
    weights = [1 / (rank + 1) ** 0.8 for rank in range(MODELS)]
    picks = [*range(MODELS), *rng.choices(range(MODELS), weights, k=PLANS - MODELS)]
    rng.shuffle(picks)
    rows = []
    for at, pick in enumerate(picks):
        base, lora, kind = models[pick]
        (sampler, steps, cfg), (width, height) = rng.choice(SAMPLERS), rng.choice(sides[kind])
        rows.append(RenderRequest(
            prompt=f"row {at}", negative_prompt="", checkpoint=base, lora=lora, sampler=sampler, steps=steps,
            cfg_scale=cfg, width=width, height=height, seed=at, engine="simulated",
        ))  # fmt: skip
    return rows, family


def dealt(shares: list[list[RenderRequest]], costs: Given, fetch: Fetch, forget: bool) -> Simulated:
    """Every worker goes through its own rows in order, one picture a call; nothing is fetched ahead.

    With `forget` every row loads its model again.
    """
    drawing = loading = waiting = longest = 0.0
    bases = loras = 0
    for share in shares:
        held: Weights | None = None
        spent = 0.0
        for request in share:
            wanted = (request.checkpoint, request.lora)
            wait, load, draw = fetch(wanted, held), costs.loading(wanted, held), costs.drawing([request])
            bases += held is None or held[0] != wanted[0]
            loras += wanted[1] is not None and held != wanted
            drawing, loading, waiting, spent = (
                drawing + draw,
                loading + load,
                waiting + wait,
                spent + wait + load + draw,
            )
            held = None if forget else wanted
        longest = max(longest, spent)
    return Simulated(len(shares), longest, drawing, loading, waiting, bases, loras)


@dataclass
class Fetch:
    """Seconds to read (or download) files at `speed` bytes a second; a worker that holds them reads nothing."""

    speed: float
    family: dict[str, str]

    def __call__(self, weights: Weights, held: Weights | None) -> float:
        base, lora = weights
        cold = held is None or held[0] != base
        size = BYTES[self.family[base]] if cold else 0.0
        return (size + (BYTES["lora"] if lora and (cold or weights != held) else 0.0)) / self.speed


def learned(path: Path, family: dict[str, str]) -> tuple[Given, str]:
    """Costs of the newest device in a file of timings, every family drawn with those of its only or largest one."""
    timings = Timings(path).read()
    device = timings[-1].device
    drawn = [t for t in timings if isinstance(t, Drawn) and t.device == device]
    loaded = [t for t in timings if isinstance(t, Loaded) and t.device == device]
    calls = fit(
        [call_features(t.steps, t.guided, t.pixels, t.pictures) for t in drawn], [t.seconds for t in drawn]
    ).factors
    load = {}
    for kind in ("checkpoint", "lora"):
        seconds = sorted(t.seconds for t in loaded if t.kind == kind)
        load[kind] = seconds[len(seconds) // 2]
    given = Given(
        {"sd15": calls, "sdxl": calls}, {**dict.fromkeys(SIDES, load["checkpoint"]), "lora": load["lora"]}, family
    )
    return given, f"{len(drawn)} calls and {len(loaded)} loads timed on {device}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--timings", type=Path, help="costs from this file instead of the assumed ones")
    parser.add_argument("--sd15", type=float, nargs=3, default=[0.012, 0.06, 0.15], metavar=("STEP", "MP", "DECODE"))
    parser.add_argument("--sdxl", type=float, nargs=3, default=[0.02, 0.05, 0.25], metavar=("STEP", "MP", "DECODE"))
    parser.add_argument("--load", type=float, nargs=3, default=[2.0, 5.0, 0.7], metavar=("SD15", "SDXL", "LORA"))
    parser.add_argument("--speed", type=float, default=1.0, help="GB/s at which files are read or fetched")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rows, family = plans(asked.seed, MINIATURE if asked.timings else SIDES)
    costs, basis = Given(
        {"sd15": tuple(asked.sd15), "sdxl": tuple(asked.sdxl)},
        dict(zip(("sd15", "sdxl", "lora"), asked.load, strict=True)), family,
    ), "assumed, given by flags; measured on no GPU"  # fmt: skip
    if asked.timings:
        costs, basis = learned(asked.timings, family)
    fetch = Fetch(asked.speed * 1e9, family)
    leases = lease_requests(rows)
    used = {(r.checkpoint, r.lora) for r in rows}
    print(f"{len(rows):,} plans, {len(used):,} models on {len({base for base, _ in used}):,} bases, "
          f"{len(leases):,} leases, batch {asked.batch_size}\ncosts: {basis}: {costs.calls}, loads {costs.load}, "
          f"{asked.speed:g} GB/s\n")  # fmt: skip
    print("| GPUs | order | hours | base loads | LoRA loads | device busy | against naive | scheduled in, s |")
    print("|---|---|---|---|---|---|---|---|")
    for gpus in asked.gpus:
        shuffled = [rows[at::gpus] for at in range(gpus)]
        by_model = sorted(rows, key=lambda r: (r.checkpoint, r.lora or ""))
        size = -(-len(rows) // gpus)
        runs = [by_model[at : at + size] for at in range(0, len(rows), size)]
        first = dealt(shuffled, costs, fetch, forget=True)
        second = dealt(runs, costs, fetch, forget=False)
        started = time.perf_counter()
        third = simulate(leases, asked.batch_size, gpus, costs, fetch)
        took = time.perf_counter() - started
        outcomes = {"naive": first, "sorted": second, "backlog": third}
        for order, found in outcomes.items():
            ratio, own = first.seconds / found.seconds, f"{took:.1f}" if found is third else ""
            print(
                f"| {gpus} | {order} | {found.seconds / 3600:.2f} | {found.bases:,} | {found.loras:,} "
                f"| {found.busy:.0%} | {ratio:.2f}x | {own} |", flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
