"""What drawing a run would cost, told before anything heavy starts.  No torch needed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError, shorten
from chatgenbench.render.checkpoints import LIMIT, dtype_name
from chatgenbench.render.costs import Costs, Even, Learned
from chatgenbench.render.drawing import SeedOf, ask
from chatgenbench.render.files import Files
from chatgenbench.render.leases import lease_requests
from chatgenbench.render.pool import Pool
from chatgenbench.render.requests import engine_fingerprint
from chatgenbench.render.simulate import Simulated, simulate
from chatgenbench.render.timings import Timings, device_name
from chatgenbench.render.weights import by_key, inside
from chatgenbench.schema import ModelRecord, Plan, RenderRequest

#: What `weights.by_key` gives.
Known = Mapping[tuple[str, str], ModelRecord]

#: Bytes per pixel of a PNG when the pool has none to measure: noisy RGB hardly compresses.
PNG_BYTES = 2.0
#: A Python process with torch and diffusers imported, measured at 0.84 GB.
RUNTIME_BYTES = 850_000_000
#: Full-size feature maps alive at once in the last block of the image decoder (input, normalised, output).
DECODER_MAPS = 3
#: Width of that block where the model's config isn't readable: Stable Diffusion's.
DECODER_CHANNELS = 128


@dataclass(frozen=True)
class RenderEstimate:
    """Counts, bytes, and for every estimated number the basis it stands on (field name -> text).

    Attributes:
        rows: rows asked for.
        undrawable: rows that will fail (unknown model or sampler, too large, weights that cannot be used).
        unusable: model -> what is wrong with its weights, as far as that is seen without reading them whole.
        unique: different pictures among the rest.
        in_pool: of these, already in the pool.
        checkpoints, loras: loads from disk, of all processes and runs together.
        fetched: models that are not on this machine yet.
        fetch_bytes: what they download, as far as it is known.
        weight_bytes: size of the files to be read, each once.
        disk_bytes: size of the new pictures.
        peak_memory_bytes: at most, of one process on the drawing device (on a CPU: of the process).
        seconds: of drawing and loading, from the first load to the last picture; None where too little is known.
    """

    rows: int
    undrawable: int
    unusable: Mapping[str, str]
    unique: int
    in_pool: int
    checkpoints: int
    loras: int
    fetched: int
    fetch_bytes: int
    weight_bytes: int
    disk_bytes: int
    peak_memory_bytes: int
    seconds: float | None
    basis: dict[str, str]


def plan_estimate(
    runs: Sequence[Iterable[tuple[str, Plan]]],
    benchmark: Benchmark,
    pool: Pool,
    *,
    seed_of: SeedOf,
    batch_size: int = 4,
    device: str = "cpu",
    workers: int = 1,
) -> RenderEstimate:
    """What `draw` with the same arguments would do and need, for runs that are drawn one after the other.

    Args:
        runs: (item id, plan) of the rows of each run; a later one finds the pictures of an earlier one in the pool.
        workers: drawing processes.
    """
    listed = [list(rows) for rows in runs]
    engine = engine_fingerprint(device, dtype_name(device))
    asked = ask((row for rows in listed for row in rows), benchmark, seed_of, engine)
    there = pool.present(asked.requests)
    files, known = Files(benchmark), by_key(benchmark)
    waiting = [request for digest, request in asked.requests.items() if digest not in there]
    unusable = _unusable(waiting, known, files)
    missing = [request for request in waiting if not unusable.keys() & {record.id for record in _of(request, known)}]
    lost = {request.digest for request in waiting} - {request.digest for request in missing}
    schedule, seconds, times = _schedule(
        listed, missing, benchmark, files, seed_of, engine, batch_size, device, workers
    )
    records = _records(missing, known)
    away = [record for record in records if files.is_away(record)]
    disk, disk_basis = _disk(missing, pool, there)
    peak, peak_basis = _peak(missing, benchmark, known, files, batch_size, dtype_name(device))
    untold = sum(files.to_fetch(record) is None for record in away)
    several = f"{workers} processes" if workers > 1 else "one process"
    return RenderEstimate(
        rows=sum(map(len, listed)),
        undrawable=len(asked.failed) + sum(len(asked.items[digest]) for digest in lost),
        unusable=unusable,
        unique=len(asked.requests) - len(lost),
        in_pool=len(there),
        checkpoints=sum(part.bases for part in schedule),
        loras=sum(part.loras for part in schedule),
        fetched=len(away),
        fetch_bytes=sum(files.to_fetch(record) or 0 for record in away),
        weight_bytes=sum(files.size(record) for record in records),
        disk_bytes=disk,
        peak_memory_bytes=peak,
        seconds=seconds,
        basis={
            "unique": "requests after removing duplicates; the same request always gives the same picture",
            "checkpoints": f"the schedule of {several}, simulated: each base once unless helping is worth another load",
            "fetch_bytes": "sizes that the catalog states"
            + (f"; {untold} models have none, and come on top" * (untold > 0)),
            "weight_bytes": "sizes of the catalog's files",
            "disk_bytes": disk_basis,
            "peak_memory_bytes": peak_basis + (f"; for each of {workers} processes" if workers > 1 else ""),
            "seconds": times,
        },
    )


def _schedule(
    runs: Sequence[Sequence[tuple[str, Plan]]], missing: Sequence[RenderRequest], benchmark: Benchmark, files: Files,
    seed_of: SeedOf, engine: str, batch_size: int, device: str, workers: int,
) -> tuple[list[Simulated], float | None, str]:  # fmt: skip
    """The simulated schedule of each run, the seconds of all, and what they stand on."""
    learned = Learned(benchmark, Timings(), device_name(device), files.size)
    costs: Costs = Even() if learned.empty else learned
    waiting = {request.digest for request in missing}
    schedule = []
    for rows in runs:
        own = ask(rows, benchmark, seed_of, engine).requests
        leases = lease_requests(own[digest] for digest in own if digest in waiting)
        waiting -= set(own)
        if leases:
            schedule.append(simulate(leases, batch_size, workers, costs))
    unknown = sorted({learned.family(request) for request in missing} - set(learned.families))
    if not missing:
        return schedule, 0.0, "nothing to draw"
    if unknown or learned.empty:
        of = f" of {', '.join(unknown)}" if unknown and learned.families else ""
        return schedule, None, f"no timing yet{of} on this device: unknown, draw a few first (--limit 8)"
    calls = sum(learned.families[family].timings for family in {learned.family(request) for request in missing})
    loads = sum(known.timings for known in learned.loads.values())
    basis = (
        f"measured on this machine ({device_name(device)}): {calls} calls and {loads} loads; "
        "without downloads, start-up and scoring"
    )
    return schedule, sum(part.seconds for part in schedule), basis


def _of(request: RenderRequest, known: Known) -> list[ModelRecord]:
    """The records that a request is drawn with."""
    keys = [("checkpoint", request.checkpoint), *([("lora", request.lora)] if request.lora else [])]
    return [known[key] for key in keys if key in known]


def _records(requests: Iterable[RenderRequest], known: Known) -> list[ModelRecord]:
    """The records that requests are drawn with, each once, by id."""
    used = {record.id: record for request in requests for record in _of(request, known)}
    return [used[name] for name in sorted(used)]


def _unusable(requests: Iterable[RenderRequest], known: Known, files: Files) -> dict[str, str]:
    found = {}
    for record in _records(requests, known):
        try:
            files.values(record)
        except (BenchmarkError, OSError) as error:
            found[record.id] = shorten(str(error), 160)
    return found


def _disk(missing: list[RenderRequest], pool: Pool, drawn: Collection[str]) -> tuple[int, str]:
    pixels = sum(request.width * request.height for request in missing)
    sizes = [(len(data), _pixels(data)) for _, data in pool.datas(islice(sorted(drawn), 50))]
    area = sum(size[1] for size in sizes)
    if not area:
        return round(pixels * PNG_BYTES), f"{PNG_BYTES:g} bytes a pixel, as of noisy PNG; none in the pool to measure"
    rate = sum(size[0] for size in sizes) / area
    return round(pixels * rate), f"{rate:.2f} bytes a pixel, measured on {len(sizes)} pictures of the pool"


def _pixels(data: bytes) -> int:
    """Width times height from a PNG header, 0 for anything else."""
    head = data[:24]
    if head[:8] != b"\x89PNG\r\n\x1a\n":
        return 0
    return int.from_bytes(head[16:20], "big") * int.from_bytes(head[20:24], "big")


def _peak(
    missing: list[RenderRequest], benchmark: Benchmark, known: Known, files: Files, batch_size: int, dtype: str
) -> tuple[int, str]:
    """What the shelf keeps warm at most: everything, or what its limit leaves, or else one base with one LoRA."""
    if not missing:
        return 0, "nothing to draw"
    itemsize = 2 if dtype == "float16" else 4
    by_base: dict[str, list[RenderRequest]] = defaultdict(list)
    for request in missing:
        by_base[request.checkpoint].append(request)
    every = least = maps = 0
    for own in by_base.values():
        base, *loras = sorted(_records(own, known), key=lambda record: record.type)
        sizes = [files.values(lora) * itemsize for lora in loras]
        alone = files.values(base) * itemsize * (2 if loras else 1)  # its own tensors are kept while a LoRA is in them
        every += alone + sum(sizes)
        least = max(least, alone + max(sizes, default=0))
        area = max(request.width * request.height for request in own)
        batch = min(batch_size, len(own))
        maps = max(maps, area * batch * _decoder_channels(base, benchmark) * DECODER_MAPS * itemsize)
    weights = min(every, max(least, LIMIT))
    runtime = RUNTIME_BYTES if dtype == "float32" else 0
    kept = "all weights that are drawn with" if weights == every else "weights that are kept warm at most"
    basis = (
        f"{kept}, bases with LoRAs twice, in {dtype} ({weights:,} bytes) + {DECODER_MAPS} full-size "
        f"decoder maps of a batch ({maps:,}) + {runtime:,} for the libraries"
    )
    return weights + maps + runtime, basis


def _decoder_channels(record: ModelRecord, benchmark: Benchmark) -> int:
    """Channels of the decoder's last block, from the VAE's config."""
    folder = record.files.get("diffusers") or record.files.get("config")
    try:
        config = json.loads((inside(benchmark, folder or "") / "vae" / "config.json").read_text("utf-8"))
        return int(config["block_out_channels"][0])
    except (OSError, ValueError, KeyError, IndexError, TypeError, BenchmarkError):
        return DECODER_CHANNELS
