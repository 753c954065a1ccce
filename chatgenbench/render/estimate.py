"""What drawing a run would cost, told before anything heavy starts.  No torch needed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import BenchmarkError
from chatgenbench.render.checkpoints import dtype_name
from chatgenbench.render.drawing import SeedOf, ask
from chatgenbench.render.leases import lease_requests, loads
from chatgenbench.render.pool import Pool
from chatgenbench.render.requests import engine_fingerprint
from chatgenbench.render.weights import inside, locate, parameters_in, weight_files, weights_key
from chatgenbench.schema import ModelRecord, Plan, RenderRequest

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
        undrawable: rows that will fail (unknown model or sampler, too large).
        unique: different pictures among the rest.
        in_pool: of these, already in the pool.
        checkpoints, loras: loads from disk.
        weight_bytes: size of the files to be read.
        disk_bytes: size of the new pictures.
        peak_memory_bytes: on the drawing device (on a CPU: of this process).
    """

    rows: int
    undrawable: int
    unique: int
    in_pool: int
    checkpoints: int
    loras: int
    weight_bytes: int
    disk_bytes: int
    peak_memory_bytes: int
    basis: dict[str, str]


def plan_estimate(
    rows: Iterable[tuple[str, Plan]],
    benchmark: Benchmark,
    pool: Pool,
    *,
    seed_of: SeedOf,
    batch_size: int = 4,
    device: str = "cpu",
) -> RenderEstimate:
    """What `draw` with the same arguments would do and need.

    Raises:
        BenchmarkError: weights that the run needs are missing or unreadable.
    """
    listed = list(rows)
    asked = ask(listed, benchmark, seed_of, engine_fingerprint(device, dtype_name(device)))
    missing = [request for digest, request in asked.requests.items() if not pool.has(digest)]
    needed = loads(lease_requests(missing))
    records = _records(missing, benchmark)
    disk, disk_basis = _disk(missing, pool, set(asked.requests) - {request.digest for request in missing})
    peak, peak_basis = _peak(missing, benchmark, batch_size, dtype_name(device))
    return RenderEstimate(
        rows=len(listed),
        undrawable=len(asked.failed),
        unique=len(asked.requests),
        in_pool=len(asked.requests) - len(missing),
        checkpoints=needed.checkpoints,
        loras=needed.loras,
        weight_bytes=sum(_file_bytes(record, benchmark) for record in records),
        disk_bytes=disk,
        peak_memory_bytes=peak,
        basis={
            "unique": "requests after removing duplicates; the same request always gives the same picture",
            "checkpoints": "each base once, in the order of drawing, if one base fits in memory",
            "weight_bytes": "sizes of the catalog's files",
            "disk_bytes": disk_basis,
            "peak_memory_bytes": peak_basis,
        },
    )


def _records(requests: Iterable[RenderRequest], benchmark: Benchmark) -> list[ModelRecord]:
    used = {("checkpoint", r.checkpoint) for r in requests} | {("lora", r.lora) for r in requests if r.lora}
    return [record for record in benchmark.catalog if (record.type, weights_key(record)) in used]


def _file_bytes(record: ModelRecord, benchmark: Benchmark) -> int:
    return sum(file.stat().st_size for file in weight_files(locate(record, benchmark)[1]))


def _disk(missing: list[RenderRequest], pool: Pool, drawn: Collection[str]) -> tuple[int, str]:
    pixels = sum(request.width * request.height for request in missing)
    sample = [pool.path(digest) for digest in islice(sorted(drawn), 50)]
    sizes = [(path.stat().st_size, _pixels(path)) for path in sample]
    area = sum(size[1] for size in sizes)
    if not area:
        return round(pixels * PNG_BYTES), f"{PNG_BYTES:g} bytes a pixel, as of noisy PNG; none in the pool to measure"
    rate = sum(size[0] for size in sizes) / area
    return round(pixels * rate), f"{rate:.2f} bytes a pixel, measured on {len(sizes)} pictures of the pool"


def _pixels(path: Path) -> int:
    """Width times height from a PNG header, 0 for anything else."""
    with path.open("rb") as file:
        head = file.read(24)
    if head[:8] != b"\x89PNG\r\n\x1a\n":
        return 0
    return int.from_bytes(head[16:20], "big") * int.from_bytes(head[20:24], "big")


def _peak(missing: list[RenderRequest], benchmark: Benchmark, batch_size: int, dtype: str) -> tuple[int, str]:
    if not missing:
        return 0, "nothing to draw"
    itemsize = 2 if dtype == "float16" else 4
    weights = maps = 0
    for base in _records(missing, benchmark):
        if base.type == "checkpoint":
            own = [request for request in missing if request.checkpoint == weights_key(base)]
            parts = _records(own, benchmark)
            weights = max(weights, sum(parameters_in(locate(part, benchmark)[1]) for part in parts) * itemsize)
            channels = _decoder_channels(base, benchmark)
            area = max(request.width * request.height for request in own)
            batch = min(batch_size, len(own))
            maps = max(maps, area * batch * channels * DECODER_MAPS * itemsize)
    runtime = RUNTIME_BYTES if dtype == "float32" else 0
    basis = (
        f"largest base with its LoRAs in {dtype} ({weights:,} bytes) + {DECODER_MAPS} full-size decoder maps "
        f"of a batch ({maps:,}) + {runtime:,} for the libraries"
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
