"""One small benchmark and three runs of it, written once for all report tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from chatgenbench.benchmark import Benchmark
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.render.pool import Pool
from chatgenbench.schema import Failure, Item, Outcome, Plan
from tests.report import report_world as world


@dataclass(frozen=True)
class World:
    """A benchmark, its pool, and finished runs by name: oracle, weak (with failures), hostile."""

    root: Path
    benchmark: Benchmark
    pool: Pool
    runs: dict[str, RunFolder]


def weak(item: Item, gold: Plan) -> Plan | Failure:
    """Fails on one item, is refused on another, and writes another plan for the rest."""
    if item.id == "i0-single":
        return Failure(reason="answer is not JSON")
    if item.id == "i1-single":
        return Failure(outcome=Outcome.BLOCKED, reason="refused by the endpoint")
    arguments = gold.arguments.model_copy(update={"steps": 99, "sampler": "DPM adaptive"})
    return gold.model_copy(update={"prompt": "something else, clean style", "arguments": arguments})


def hostile(item: Item, gold: Plan) -> Plan | Failure:
    """Every text a system controls holds markup."""
    if item.id == "i0-single":
        return Failure(reason=world.HOSTILE)
    return gold.model_copy(update={"prompt": world.HOSTILE, "negative_prompt": world.HOSTILE, "model": world.HOSTILE})


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("reports")
    benchmark = world.write_benchmark(root / "benchmark")
    pool = Pool(root / "pool")
    approximated = {"approximated": lambda plan: "DPM adaptive -> DPM++ 2M" if plan.arguments.steps == 99 else None}
    runs = {
        "oracle": world.write_run(root / "out" / "oracle", benchmark, pool, limit=10),
        "weak": world.write_run(root / "out" / "weak", benchmark, pool, "weak", weak, 10, 1, **approximated),
        "hostile": world.write_run(root / "out" / "hostile", benchmark, pool, "<b>evil</b>", hostile, 10, 2),
    }
    return World(root, benchmark, pool, runs)
