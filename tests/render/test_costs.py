"""What drawing takes is learnt from timings: real ones of a run, and made-up ones whose law is known."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path

import pytest

from chatgenbench.benchmark import Benchmark
from chatgenbench.render import Pool, lease_requests, request_for
from chatgenbench.render.costs import Learned, call_features, fit
from chatgenbench.render.inline import InlineExecutor
from chatgenbench.render.timings import LARGE, Drawn, Loaded, Timings, device_name
from tests.render.conftest import PlanOf

FACTORS = (0.002, 3.0, 0.5)


def law(steps: int, guided: bool, pixels: int, pictures: int) -> float:
    return sum(f * x for f, x in zip(FACTORS, call_features(steps, guided, pixels, pictures), strict=True))


def test_a_law_is_found_again_through_noise_and_calls_that_took_ten_times_as_long() -> None:
    rng = random.Random(3)
    calls = [
        (rng.choice([10, 20, 30]), rng.random() < 0.8, rng.choice([512, 768, 1024]) ** 2, rng.randint(1, 16))
        for _ in range(200)
    ]
    seconds = [law(*c) * rng.uniform(0.95, 1.05) * (10 if rng.random() < 0.15 else 1) for c in calls]
    found = fit([call_features(*c) for c in calls], seconds)
    for call in [(25, True, 640 * 640, 8), (50, False, 1024 * 768, 1)]:
        assert found.seconds(call_features(*call)) == pytest.approx(law(*call), rel=0.1)
    assert found.timings == 200
    assert min(found.factors) >= 0


def test_one_timing_is_enough_to_begin_with() -> None:
    found = fit([call_features(20, True, 512 * 512, 4)], [6.0])
    assert found.seconds(call_features(20, True, 512 * 512, 4)) == pytest.approx(6.0)


def test_a_run_leaves_timings_from_which_the_next_one_is_estimated(
    benchmark: Benchmark, plan: PlanOf, pool: Pool
) -> None:
    plans = [plan(model, seed=at) for model in ("fox", "ink", "owl") for at in range(3)]
    requests = [request_for(one, benchmark, 0, "e")[0] for one in plans]
    device = device_name("cpu")
    before = Timings().read()
    list(InlineExecutor(benchmark, pool, 3).run(lease_requests(requests)))
    new = Timings().read()[len(before) :]
    loads = [(t.kind, t.bytes > 0) for t in new if isinstance(t, Loaded)]
    assert sorted(loads) == [("checkpoint", True), ("checkpoint", True), ("lora", True)]
    calls = [(t.family, t.steps, t.guided, t.pixels, t.pictures) for t in new if isinstance(t, Drawn)]
    assert calls == [("SD 1.5", 3, True, 32 * 32, 3)] * 3
    costs = Learned(benchmark, Timings(), device, lambda record: 1)
    assert not costs.empty
    fox, ink = (benchmark.catalog.get(name).sha256 for name in ("fox", "ink"))
    assert costs.drawing(requests[:3]) > 0
    assert costs.loading((fox, None), None) > 0
    assert costs.loading((fox, None), (fox, ink)) == 0
    assert costs.loading((fox, ink), (fox, None)) < costs.loading((fox, ink), None)
    other = Learned(benchmark, Timings(), "another device", lambda record: 1)
    assert other.empty


def test_a_damaged_file_of_timings_costs_its_broken_lines_and_a_large_one_its_older_half(tmp_path: Path) -> None:
    timings = Timings(tmp_path / "home" / "timings.jsonl")
    good = Loaded("cpu", "lora", "a" * 64, 10, 0.5)
    timings.add(good)
    with timings.path.open("a") as file:
        file.write('{"device":"cpu"}\nnot json\n{"device":"cpu","kind":"x","sha256":"","bytes":1,"seconds":-1}\n[]\n')
        file.write("[" * 100_000 + "\n")
        for wrong in ({"bytes": 10**400}, {"seconds": 1e-320}, {"kind": ["x"]}, {"sha256": {}}, {"device": None}):
            file.write(json.dumps(asdict(good) | wrong) + "\n")
    timings.add(good)
    assert timings.read() == [good, good]
    with timings.path.open("a") as file:
        file.write(" " * (LARGE - 200) + "\n")
    timings.add(good)
    assert timings.path.stat().st_size < LARGE
    assert timings.read()[-1] == good


def test_a_home_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    timings = Timings(tmp_path / "home" / "timings.jsonl")
    timings.add(Loaded("cpu", "lora", "a" * 64, 10, 0.5))
    assert timings.read() == []
