from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.errors import BenchmarkError, RenderError
from chatgenbench.render import engine_fingerprint, request_for
from tests.render import tiny
from tests.render.conftest import PlanOf


def test_a_lora_plan_names_both_weights(benchmark: Benchmark, plan: PlanOf) -> None:
    request, note = request_for(plan("ink", lora_weight=0.5), benchmark, 9, "e")
    assert request.checkpoint == benchmark.catalog.get("fox").sha256
    assert request.lora == benchmark.catalog.get("ink").sha256
    assert request.lora_weight == 0.5
    assert note is None


def test_a_plans_own_seed_wins_even_when_it_is_zero(benchmark: Benchmark, plan: PlanOf) -> None:
    assert request_for(plan(seed=0), benchmark, 9, "e")[0].seed == 0
    assert request_for(plan(seed=None), benchmark, 9, "e")[0].seed == 9


def test_what_cannot_change_pixels_does_not_change_the_digest(benchmark: Benchmark, plan: PlanOf) -> None:
    plain = request_for(plan(), benchmark, 9, "e")[0].digest
    assert request_for(plan(clip_skip=1), benchmark, 9, "e")[0].digest == plain
    assert request_for(plan(lora_weight=0.3), benchmark, 9, "e")[0].digest == plain
    assert request_for(plan(sampler="euler_ancestral", width=39), benchmark, 9, "e")[0].digest == plain
    assert request_for(plan(clip_skip=2), benchmark, 9, "e")[0].digest != plain
    assert request_for(plan(), benchmark, 9, "another engine")[0].digest != plain


def test_everything_approximated_is_noted(benchmark: Benchmark, plan: PlanOf) -> None:
    wished = plan(sampler="DPM++ 2S a Karras", width=70, height=65, cfg_scale=0.5)
    request, note = request_for(wished, benchmark, 9, "e")
    assert (request.width, request.height) == (64, 64)
    assert note == (
        "DPM++ 2S a Karras: drawn with DPM++ SDE; size 70x65 drawn as 64x64; CFG scale 0.5 drawn without guidance"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "foxx"}, "unknown model 'foxx': did you mean 'fox'"),
        ({"model": "../../etc/passwd"}, "unknown model '../../etc/passwd'"),
        ({"model": "models/fox"}, "unknown model 'models/fox'"),
        ({"sampler": "Eular a"}, "unknown sampler 'Eular a': did you mean .*'Euler a'"),
        ({"steps": 151}, "151 steps are more than the 150"),
        ({"width": 4096, "height": 2048}, "4096x2048 is more than the 4,194,304 pixels"),
    ],
)
def test_what_cannot_be_drawn_says_why(
    change: dict[str, object], message: str, benchmark: Benchmark, plan: PlanOf
) -> None:
    with pytest.raises(RenderError, match=message):
        request_for(plan(**change), benchmark, 9, "e")


def test_a_lora_on_a_lora_is_the_catalogs_fault(tmp_path: Path, benchmark: Benchmark, plan: PlanOf) -> None:
    records = [record.model_dump(mode="json") for record in benchmark.catalog]
    next(r for r in records if r["id"] == "ink")["base"] = "wax"
    broken = load_benchmark(str(tiny.write_benchmark(tmp_path, json.loads(json.dumps(records)))))
    with pytest.raises(BenchmarkError, match="the base 'wax' of LoRA 'ink' is not a checkpoint"):
        request_for(plan("ink"), broken, 9, "e")


def test_the_fingerprint_names_what_decides_pixels_but_not_the_gpus_number() -> None:
    assert engine_fingerprint("cuda:1", "float16") == engine_fingerprint("cuda:0", "float16")
    assert engine_fingerprint("cuda", "float16") != engine_fingerprint("cpu", "float32")
    assert all(f"{name}/" in engine_fingerprint("cpu", "float32") for name in ("torch", "diffusers", "peft"))
