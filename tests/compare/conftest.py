"""Small worlds of two runs, written once for all tests of this folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chatgenbench.benchmark import Benchmark
from chatgenbench.compare import Match, match
from chatgenbench.evaluate.run import RunFolder
from chatgenbench.render.pool import Pool
from chatgenbench.schema import Failure, Item, Outcome, Plan
from tests.report import report_world as world


@dataclass(frozen=True)
class Duel:
    """A benchmark and two finished runs of it."""

    benchmark: Benchmark
    pool: Pool
    a: Path
    b: Path

    def match(self) -> Match:
        return match((self.a, self.b))


def settle(folder: RunFolder, benchmark: Benchmark, pool: Pool, **identity: Any) -> Path:
    """Let a made-up run say where its benchmark and its pictures are, as a real one does."""
    manifest = folder.read_manifest()
    manifest["settings"]["benchmark"] = str(benchmark.root)
    manifest["identity"] |= identity
    folder.manifest.write_text(json.dumps(manifest | {"pool": str(pool.root)}))
    return folder.path


def weak(item: Item, gold: Plan) -> Plan | Failure:
    """Fails on one item, is refused on another, and writes another plan for the rest."""
    if item.id == "i0-single":
        return Failure(reason=world.HOSTILE)
    if item.id == "i1-single":
        return Failure(outcome=Outcome.BLOCKED, reason="refused by the endpoint")
    arguments = gold.arguments.model_copy(update={"steps": 99, "sampler": "DPM adaptive"})
    return gold.model_copy(update={"prompt": world.HOSTILE, "model": "secretModel_v9", "arguments": arguments})


def make_duel(root: Path, pairs: int = 6, chat: str = "draw me thing") -> Duel:
    benchmark, pool = world.write_benchmark(root / "benchmark", pairs, chat), Pool(root / "pool")
    a = world.write_run(root / "oracle", benchmark, pool)
    b = world.write_run(root / "weak", benchmark, pool, "weak", weak, seed=1)
    return Duel(benchmark, pool, settle(a, benchmark, pool), settle(b, benchmark, pool, seed=0))


@pytest.fixture(scope="session")
def duel(tmp_path_factory: pytest.TempPathFactory) -> Duel:
    """12 items of 6 demonstrations; two rows of B failed."""
    return make_duel(tmp_path_factory.mktemp("duel"))


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Duel:
    """80 items of 40 demonstrations, whose chats are hostile."""
    return make_duel(tmp_path_factory.mktemp("large"), 40, world.HOSTILE)
