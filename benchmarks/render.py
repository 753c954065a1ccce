"""The render engine against the loops that people write, on the same plans, machine and run.

    python benchmarks/render.py --rows 500                  # all ways, taking turns
    python benchmarks/render.py --overhead --rows 300       # the engine against bare batched calls, lease by lease
    python benchmarks/render.py --full-size sd15,sdxl --checkpoints 20 --device cuda   # real sizes, random weights
    python benchmarks/render.py --full-size sd15,sdxl --checkpoints 4 --tiny --rows 24 # the same path on a CPU, small

Ways, each a process of its own with one CPU thread:
- naive: for each row load its checkpoint (and LoRA), draw one picture, go on
- by model: sort by model, load each once, draw one picture at a time
- bare: diffusers calls in the batches that the engine makes, everything loaded once, PNGs written; no checks, no pool
- inline: `chatgenbench.render.draw` in one process
- local: the same with two processes

They take turns of `--turn` seconds (stopped and continued by signals), the one that has drawn least first.  Seconds are
those of a way's own turns, imports included; CPU seconds, user and system time of its processes, are what other work on
the machine disturbs least.  Rows are shuffled demonstrations of the miniature; no two ask for the same picture.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.quiet import quiet
from chatgenbench.render import Pool, draw, lease_requests, request_for
from chatgenbench.render.timings import Drawn, Loaded, Timings
from chatgenbench.schema import ModelRecord, Plan, RenderRequest

Rows = list[tuple[str, Plan]]


@dataclass
class Told:
    """What a way says of itself; `busy` is the share of the render stage inside pipeline calls, where it is timed."""

    loads: int
    bytes: int
    busy: float | None = None


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

    def __init__(self, benchmark: Benchmark, device: str = "cpu") -> None:
        self.benchmark, self.device, self.loads, self.bytes = benchmark, device, 0, 0

    def pipeline(self, record: ModelRecord) -> Any:
        """The base of a record, with its LoRA if it is one."""
        import diffusers
        import torch

        base = self.benchmark.catalog.base_of(record)
        dtype = torch.float16 if self.device.startswith("cuda") else torch.float32
        options: dict[str, Any] = {"dtype": dtype, "local_files_only": True, "use_safetensors": True}
        path = self._read(base)
        if json.loads((path / "model_index.json").read_text())["_class_name"] == "StableDiffusionPipeline":
            options["safety_checker"] = None
        pipe = diffusers.DiffusionPipeline.from_pretrained(str(path), **options).to(self.device)
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


class Bare(Plain):
    """Leases in order, every base and LoRA loaded once."""

    def __init__(self, benchmark: Benchmark, device: str = "cpu") -> None:
        super().__init__(benchmark, device)
        self.records = {(record.type, record.sha256): record for record in benchmark.catalog}
        self.pipes: dict[str, Any] = {}
        self.adapters: set[str] = set()

    def lease(self, requests: tuple[RenderRequest, ...], folder: Path, batch_size: int) -> None:
        shared = requests[0]
        if shared.checkpoint not in self.pipes:
            self.pipes.clear()
            self.adapters.clear()
            self.pipes[shared.checkpoint] = self.pipeline(self.records["checkpoint", shared.checkpoint])
        pipe = self.pipes[shared.checkpoint]
        if shared.lora is not None:
            if shared.lora not in self.adapters:
                self.put_on(pipe, self.records["lora", shared.lora])
                self.adapters.add(shared.lora)
            pipe.enable_lora()
            pipe.set_adapters([shared.lora[:16]], [shared.lora_weight])
        elif self.adapters:
            pipe.disable_lora()
        for start in range(0, len(requests), batch_size):
            self.draw(pipe, list(requests[start : start + batch_size]), folder)


@dataclass(frozen=True)
class Job:
    benchmark: Benchmark
    rows: Rows
    folder: Path
    batch_size: int
    device: str

    def requests(self) -> list[RenderRequest]:
        return [request_for(plan, self.benchmark, 0, "e")[0] for _, plan in self.rows]


def naive(job: Job) -> Told:
    plain = Plain(job.benchmark, job.device)
    for (_, plan), request in zip(job.rows, job.requests(), strict=True):
        plain.draw(plain.pipeline(job.benchmark.catalog.get(plan.model)), [request], job.folder)
    return Told(plain.loads, plain.bytes)


def by_model(job: Job) -> Told:
    plain = Plain(job.benchmark, job.device)
    pairs = sorted(zip(job.rows, job.requests(), strict=True), key=lambda pair: pair[0][1].model)
    for model, group in groupby(pairs, key=lambda pair: pair[0][1].model):
        pipe = plain.pipeline(job.benchmark.catalog.get(model))
        for _, request in group:
            plain.draw(pipe, [request], job.folder)
    return Told(plain.loads, plain.bytes)


def bare(job: Job) -> Told:
    plain = Bare(job.benchmark, job.device)
    for lease in lease_requests(job.requests()):
        plain.lease(lease.requests, job.folder, job.batch_size)
    return Told(plain.loads, plain.bytes)


def engine(workers: int) -> Callable[[Job], Told]:
    """`draw` with as many processes (0: none beside this one)."""

    def way(job: Job) -> Told:
        from chatgenbench.render.inline import InlineExecutor
        from chatgenbench.render.local import LocalExecutor

        pool = Pool(job.folder)
        executor: Any = (
            LocalExecutor(job.benchmark, pool, job.batch_size, (job.device,) * workers)
            if workers
            else InlineExecutor(job.benchmark, pool, job.batch_size, job.device)
        )
        started = time.perf_counter()
        drawn = list(draw(job.rows, job.benchmark, pool, seed_of=lambda _: 0, device=job.device, executor=executor))
        seconds = time.perf_counter() - started
        assert all(row.picture for row in drawn), [row.reason for row in drawn if not row.picture][:3]
        executor.close()
        timings = Timings().read()
        loads = [timing for timing in timings if isinstance(timing, Loaded)]
        busy = sum(timing.seconds for timing in timings if isinstance(timing, Drawn)) / seconds / max(1, workers)
        return Told(len(loads), sum(load.bytes for load in loads), busy)

    return way


WAYS: dict[str, Callable[[Job], Told]] = {
    "naive": naive, "by model": by_model, "bare": bare, "inline": engine(0), "local": engine(2),
}  # fmt: skip


def child(way: str, benchmark: str, rows: int, batch_size: int, device: str, folder: Path) -> None:
    """Do one way in `folder` and print its figures as one line of JSON."""
    os.environ["CHATGENBENCH_HOME"] = str(folder / "home")
    loaded = load_benchmark(benchmark)
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    with quiet():
        told = WAYS[way](Job(loaded, rows_of(loaded, rows), pictures, batch_size, device))
    count = drawn_in(folder)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    print(json.dumps({**vars(told), "pictures": count, "peak": peak / 1024, "cpu": cpu, "gpu": gpu_peak(device)}))


def drawn_in(folder: Path) -> int:
    return sum(1 for _ in folder.glob("pictures/**/*.png"))


def gpu_peak(device: str) -> float | None:
    """MB at most on the GPU in this process."""
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.max_memory_allocated(device) / 1e6


@dataclass
class Turn:
    """One way's process and the seconds that it has had."""

    way: str
    folder: Path
    process: subprocess.Popen[str]
    seconds: float = 0.0
    told: dict[str, Any] = field(default_factory=dict)


def take_turns(ways: list[str], arguments: list[str], turn: float, root: Path) -> list[Turn]:
    """Run all ways, only one of them at a time, `turn` seconds each (0: to its end), who has drawn least first."""
    waiting = []
    done = []
    for way in ways:
        folder = root / way.replace(" ", "-")
        command = [sys.executable, __file__, "--way", way, "--folder", str(folder), *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
        os.killpg(process.pid, signal.SIGSTOP)
        waiting.append(Turn(way, folder, process))
    try:
        while waiting:
            now = min(waiting, key=lambda one: (drawn_in(one.folder), one.seconds))
            waiting.remove(now)
            os.killpg(now.process.pid, signal.SIGCONT)
            started = time.perf_counter()
            try:
                now.process.wait(turn or None)
            except subprocess.TimeoutExpired:
                os.killpg(now.process.pid, signal.SIGSTOP)
                waiting.append(now)
            else:
                assert now.process.stdout is not None
                now.told = json.loads(now.process.stdout.read().splitlines()[-1])
                done.append(now)
            now.seconds += time.perf_counter() - started
    finally:
        for left in waiting:
            os.killpg(left.process.pid, signal.SIGKILL)
    return sorted(done, key=lambda one: ways.index(one.way))


def table(turns: list[Turn], rows: int) -> str:
    first = turns[0]
    lines = [
        f"| way | seconds | CPU seconds | pictures/s | against {first.way} (wall) | (CPU) | loads | MB loaded "
        "| peak memory of a process, MB | in pipeline calls |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in turns:
        told = one.told
        assert told["pictures"] == rows, (one.way, told)
        busy = "" if told["busy"] is None else f"{told['busy']:.0%}"
        lines.append(
            f"| {one.way} | {one.seconds:.1f} | {told['cpu']:.1f} | {rows / one.seconds:.2f} "
            f"| {first.seconds / one.seconds:.2f}x | {first.told['cpu'] / told['cpu']:.2f}x | {told['loads']} "
            f"| {told['bytes'] / 1e6:,.0f} | {told['peak']:,.0f} | {busy} |"
        )
    return "\n".join(lines)


def overhead(rows: int, batch_size: int) -> str:
    """The engine and bare calls take each lease in turn, in one process; ratios over all leases with loads."""
    import numpy as np

    from chatgenbench.render.inline import InlineExecutor

    benchmark = load_benchmark("miniature")
    asked = rows_of(benchmark, rows)
    requests = {request_for(plan, benchmark, 0, "e")[0].digest: (name, plan) for name, plan in asked}
    leases = lease_requests(request_for(plan, benchmark, 0, "e")[0] for _, plan in asked)
    with tempfile.TemporaryDirectory() as folder, quiet():
        os.environ["CHATGENBENCH_HOME"] = f"{folder}/home"
        Bare(benchmark).lease(leases[-1].requests[:1], Path(folder), 1)  # imports and first calls are nobody's
        plain, pool = Bare(benchmark), Pool(f"{folder}/pool")
        executor = InlineExecutor(benchmark, pool, batch_size)

        def by_engine(part: Rows) -> None:
            drawn = list(draw(part, benchmark, pool, seed_of=lambda _: 0, executor=executor))
            assert all(row.picture for row in drawn)

        spent = []
        for at, lease in enumerate(leases):
            part = [requests[request.digest] for request in lease.requests]
            ways = [partial(plain.lease, lease.requests, Path(folder), batch_size), partial(by_engine, part)]
            times: dict[int, tuple[float, float]] = {}
            for which in (0, 1) if at % 2 else (1, 0):
                wall, cpu = time.perf_counter(), time.process_time()
                ways[which]()
                times[which] = (time.perf_counter() - wall, time.process_time() - cpu)
            spent.append((*times[0], *times[1]))
        timings = Timings().read()
    values = np.array(spent)
    picks = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    lines = []
    for name, base, own in (("wall", 0, 2), ("CPU", 1, 3)):
        ratio = values[:, own].sum() / values[:, base].sum() - 1
        low, high = np.quantile(values[picks, own].sum(1) / values[picks, base].sum(1) - 1, [0.025, 0.975])
        lines.append(
            f"{name}: bare {values[:, base].sum():.1f} s, engine {values[:, own].sum():.1f} s, overhead {ratio:+.1%} "
            f"[{low:+.1%}, {high:+.1%}] over {len(values)} leases"
        )
    calls = sum(timing.seconds for timing in timings if isinstance(timing, Drawn))
    loads = sum(timing.seconds for timing in timings if isinstance(timing, Loaded))
    rest = values[:, 2].sum() - calls - loads
    lines.append(f"engine, wall: {calls:.1f} s in pipeline calls, {loads:.1f} s in loads, all else {rest:.1f} s, "
                 f"{rest / calls:.1%} of the calls")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--ways", default="naive,by model,bare,inline,local")
    parser.add_argument("--turn", type=float, default=10.0, help="seconds of a turn; 0: one way after the other")
    parser.add_argument("--overhead", action="store_true", help="only the engine against bare calls")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full-size", help="architectures with random weights, comma-separated: sd15,sdxl")
    parser.add_argument("--checkpoints", type=int, default=20, help="how many are made for --full-size")
    parser.add_argument("--tiny", action="store_true", help="narrow layers instead of real sizes, for a CPU")
    parser.add_argument("--benchmark", default="miniature")
    parser.add_argument("--folder", type=Path, default=Path("render-benchmark"), help="where --way draws")
    parser.add_argument("--way", choices=tuple(WAYS), help="one way only, in this process")
    asked = parser.parse_args()
    if asked.way:
        child(asked.way, asked.benchmark, asked.rows, asked.batch_size, asked.device, asked.folder)
        return
    print(f"{asked.rows} rows, batch {asked.batch_size}, {asked.device}, {os.cpu_count()} CPU cores, "
          f"load average {os.getloadavg()[0]:.0f}\n", flush=True)  # fmt: skip
    if asked.overhead:
        print(overhead(asked.rows, asked.batch_size))
        return
    with tempfile.TemporaryDirectory() as folder:
        if asked.full_size:
            from full_size import build

            asked.benchmark = str(build(Path(folder), asked.full_size.split(","), asked.checkpoints, asked.tiny))
        arguments = ["--benchmark", asked.benchmark, "--rows", str(asked.rows), "--device", asked.device]
        turns = take_turns(
            asked.ways.split(","), [*arguments, "--batch-size", str(asked.batch_size)], asked.turn, Path(folder)
        )
    print(table(turns, asked.rows))


if __name__ == "__main__":
    main()
