"""The render engine against the loops that people write, on the same plans, machine and run.

    python benchmarks/render.py --rows 500

Ways, each in a process of its own, all with one thread per process and the batch size of `--batch-size`:

- naive: for each row load its checkpoint (and LoRA), draw one picture, go on
- by model: sort by model, load each once, draw one picture at a time
- bare: diffusers calls in the batches that the engine makes, everything loaded once, PNGs written; no checks, no pool
- inline: `chatgenbench.render.draw` in one process
- local: the same with two processes

Seconds are those of the whole process, imports included.  The rows are demonstrations of the miniature, shuffled; no
two ask for the same picture, so that nothing is won by sharing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.render import Pool, draw, lease_requests, request_for
from chatgenbench.schema import ModelRecord, Plan, RenderRequest

WAYS = ("naive", "by model", "bare", "inline", "local")
Rows = list[tuple[str, Plan]]


def rows_of(benchmark: Benchmark, count: int) -> Rows:
    """`count` demonstrations' plans in random order; beyond their number, again with other seeds."""
    plans = [demonstration.plan for demonstration in benchmark.demonstrations.values()]
    random.Random(0).shuffle(plans)
    found = []
    for at in range(count):
        plan = plans[at % len(plans)]
        seeded = plan.arguments.model_copy(update={"seed": at})
        found.append((f"row-{at}", plan.model_copy(update={"arguments": seeded})))
    return found


class Plain:
    """Diffusers as its documentation shows it; counts loads and bytes read."""

    def __init__(self, benchmark: Benchmark) -> None:
        self.benchmark, self.loads, self.bytes = benchmark, 0, 0

    def pipeline(self, record: ModelRecord) -> Any:
        """The base of a record, with its LoRA if it is one."""
        import diffusers
        import torch

        base = self.benchmark.catalog.base_of(record)
        options = {"dtype": torch.float32, "local_files_only": True, "use_safetensors": True}
        path = self._read(base)
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(str(path), safety_checker=None, **options)
        pipe.set_progress_bar_config(disable=True)
        if record.type == "lora":
            self.put_on(pipe, record)
        return pipe

    def put_on(self, pipe: Any, record: ModelRecord) -> None:
        path = self._read(record)
        pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=record.sha256[:16])

    def draw(self, pipe: Any, requests: list[RenderRequest], folder: Path) -> None:
        import torch

        from chatgenbench.render.samplers import resolve
        from chatgenbench.render.schedulers import scheduler_for

        first = requests[0]
        config = pipe.__dict__.setdefault("_first_scheduler", dict(pipe.scheduler.config))
        pipe.scheduler = scheduler_for(resolve(first.sampler), config, [request.seed for request in requests])
        with torch.inference_mode():
            images = pipe(
                prompt=[request.prompt for request in requests],
                negative_prompt=[request.negative_prompt for request in requests],
                num_inference_steps=first.steps, guidance_scale=first.cfg_scale,
                width=first.width, height=first.height,
                generator=[torch.Generator("cpu").manual_seed(request.seed) for request in requests],
            ).images  # fmt: skip
        for request, image in zip(requests, images, strict=True):
            image.save(folder / f"{request.digest}.png")

    def _read(self, record: ModelRecord) -> Path:
        from chatgenbench.render.weights import locate, weight_files

        _, path = locate(record, self.benchmark)
        self.loads += 1
        self.bytes += sum(file.stat().st_size for file in weight_files(path))
        return path


def naive(benchmark: Benchmark, rows: Rows, folder: Path, batch_size: int) -> tuple[int, int]:
    plain = Plain(benchmark)
    for _, plan in rows:
        pipe = plain.pipeline(benchmark.catalog.get(plan.model))
        plain.draw(pipe, [request_for(plan, benchmark, 0, "e")[0]], folder)
    return plain.loads, plain.bytes


def by_model(benchmark: Benchmark, rows: Rows, folder: Path, batch_size: int) -> tuple[int, int]:
    plain = Plain(benchmark)
    for model, group in groupby(sorted(rows, key=lambda row: row[1].model), key=lambda row: row[1].model):
        pipe = plain.pipeline(benchmark.catalog.get(model))
        for _, plan in group:
            plain.draw(pipe, [request_for(plan, benchmark, 0, "e")[0]], folder)
    return plain.loads, plain.bytes


def bare(benchmark: Benchmark, rows: Rows, folder: Path, batch_size: int) -> tuple[int, int]:
    plain = Plain(benchmark)
    records = {(record.type, record.sha256): record for record in benchmark.catalog}
    requests = [request_for(plan, benchmark, 0, "e")[0] for _, plan in rows]
    pipes: dict[str, Any] = {}
    adapters: dict[str, set[str]] = {}
    for lease in lease_requests(requests):
        shared = lease.shared
        if shared.checkpoint not in pipes:
            pipes = {shared.checkpoint: plain.pipeline(records["checkpoint", shared.checkpoint])}
            adapters = {shared.checkpoint: set()}
        pipe, known = pipes[shared.checkpoint], adapters[shared.checkpoint]
        if shared.lora is not None:
            if shared.lora not in known:
                plain.put_on(pipe, records["lora", shared.lora])
                known.add(shared.lora)
            pipe.enable_lora()
            pipe.set_adapters([shared.lora[:16]], [shared.lora_weight])
        elif known:
            pipe.disable_lora()
        for start in range(0, len(lease.requests), batch_size):
            plain.draw(pipe, list(lease.requests[start : start + batch_size]), folder)
    return plain.loads, plain.bytes


def engine(workers: int) -> Callable[[Benchmark, Rows, Path, int], tuple[int, int]]:
    """`draw` with as many processes (0: none beside this one)."""

    def way(benchmark: Benchmark, rows: Rows, folder: Path, batch_size: int) -> tuple[int, int]:
        from chatgenbench.render.inline import InlineExecutor
        from chatgenbench.render.local import LocalExecutor

        pool = Pool(folder)
        executor: Any = (
            LocalExecutor(benchmark, pool, batch_size, ("cpu",) * workers)
            if workers
            else InlineExecutor(benchmark, pool, batch_size)
        )
        drawn = list(draw(rows, benchmark, pool, seed_of=lambda _: 0, executor=executor))
        assert all(row.picture for row in drawn), [row.reason for row in drawn if not row.picture][:3]
        loads = executor.loaded if workers else executor.shelf.loaded
        executor.close()
        return loads, 0

    return way


FUNCTIONS: dict[str, Callable[[Benchmark, Rows, Path, int], tuple[int, int]]] = {
    "naive": naive, "by model": by_model, "bare": bare, "inline": engine(0), "local": engine(2),
}  # fmt: skip


def child(way: str, rows: int, batch_size: int) -> None:
    """Do one way and print its figures as one line of JSON."""
    benchmark = load_benchmark("miniature")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        loads, read = FUNCTIONS[way](benchmark, rows_of(benchmark, rows), Path(folder), batch_size)
        inner = time.perf_counter() - started
        pictures = sum(1 for _ in _pngs(Path(folder)))
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"loads": loads, "bytes": read, "pictures": pictures, "inner": inner, "peak": peak / 1024}))


def _pngs(folder: Path) -> Iterator[Path]:
    return folder.rglob("*.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--way", choices=WAYS, help="one way only, in this process")
    asked = parser.parse_args()
    if asked.way:
        child(asked.way, asked.rows, asked.batch_size)
        return
    print(f"{asked.rows} rows, batch {asked.batch_size}, one thread a process, {os.cpu_count()} CPU cores\n")
    print("| way | seconds | pictures/s | against naive | loads | MB read | peak memory of a process, MB |")
    print("|---|---|---|---|---|---|---|")
    first = 0.0
    inner: dict[str, float] = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--way", way, "--rows", str(asked.rows)]
        started = time.perf_counter()
        done = subprocess.run(
            [*command, "--batch-size", str(asked.batch_size)], check=True, capture_output=True, text=True
        )
        seconds = time.perf_counter() - started
        told = json.loads(done.stdout.splitlines()[-1])
        assert told["pictures"] == asked.rows, (way, told)
        first, inner[way] = first or seconds, told["inner"]
        print(
            f"| {way} | {seconds:.1f} | {asked.rows / seconds:.2f} | {first / seconds:.2f}x | {told['loads']} "
            f"| {told['bytes'] / 1e6:.0f} | {told['peak']:.0f} |",
            flush=True,
        )
    print(
        f"\nInline over bare diffusers calls: {inner['inline'] / inner['bare'] - 1:+.1%} (after imports of the first)"
    )


if __name__ == "__main__":
    main()
