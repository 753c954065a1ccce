"""Records per second and peak memory of the builder's passes (parse, filter, dedupe, split) by number of records.

    python benchmarks/build.py                                  # 10,000 and 100,000 records
    python benchmarks/build.py --sizes 10000 100000 1000000     # the last takes about 20 minutes and 6 GB of disk

Pictures are described as the hub's API does: real prompts (GEMRec's, MIT; templates of the AI Horde, CC0) whose tags
are mixed anew, with metadata of A1111, Civitai's generator and ComfyUI.  A part is damaged, a part repeats or slightly
changes an earlier one, perceptual hashes of repeated ones lie near each other, models are as unequal as a hub's.  They
are written to a file first, which is not measured.  Each size is worked through in a process of its own, so that its
peak memory is its own, and every pass reads and writes JSON lines as `chatgenbench build` does.  Downloads are not
part of it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GEMREC = ROOT / "tests/data/civitai/MAPS-research__GEMRec/promptsets/promptset_v3.csv"
HORDE = ROOT / "chatgenbench/build/bundled_data/styles.json"
SUBJECTS = ROOT / "chatgenbench/build/bundled_data/subjects.txt"
PASSES = ("parse", "filter", "dedupe", "split", "leaks")
#: Models of the hub, a third of them LoRAs; uploaders.
MODELS, CREATORS = 6_000, 200_000
SAMPLERS = ("Euler a", "DPM++ 2M Karras", "DPM++ SDE Karras", "Euler", "DDIM", "UniPC", "DPM++ 2M SDE Karras")
BASES = ("SD 1.5", "SDXL 1.0", "Pony", "Illustrious", "Flux.1 D")
#: Records that repeat an earlier one, or change one tag of it.
REPEATED, CHANGED = 0.04, 0.08


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--folder", type=Path, help="where the files go (a temporary folder by default)")
    parser.add_argument("--worker", choices=("make", "build"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker == "make":
        make(options.folder, options.sizes[0])
    elif options.worker == "build":
        print(json.dumps(build(options.folder)))
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    found: dict[int, Any] = {}
    for size in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            start("make", size, folder)
            found[size] = json.loads(start("build", size, folder).splitlines()[-1])
        print(f"{size:,} records: {found[size]}", file=sys.stderr)
    print("| records | " + " | ".join(f"{name}/s" for name in PASSES) + " | all but leaks/s | peak memory, MB | cost |")
    print("|---" * (len(PASSES) + 4) + "|")
    first = None
    for size, one in found.items():
        seconds = sum(one["seconds"][name] for name in PASSES[:-1])
        cost = seconds / size
        first = first or cost
        rates = " | ".join(f"{one['seen'][name] / one['seconds'][name]:,.0f}" for name in PASSES)
        print(f"| {size:,} | {rates} | {size / seconds:,.0f} | {one['memory']:,.0f} | {cost / first:.2f}x |")
    for size, one in found.items():
        print(f"\n{size:,}: kept {one['kept']}; splits {one['splits']}; leaks {one['leaks']}")


def start(worker: str, size: int, folder: str) -> str:
    """Run one worker in a process of its own; returns what it printed."""
    command = [sys.executable, __file__, "--worker", worker, "--sizes", str(size), "--folder", folder]
    environment = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{worker} of {size} records failed")
    return done.stdout


# --- what the hub would have answered -------------------------------------------------------------------------------


def make(folder: Path, size: int) -> None:
    """Write `models.jsonl` and `images.jsonl`."""
    with (folder / "models.jsonl").open("w") as file:
        for number in range(MODELS):
            file.write(json.dumps(model(number)) + "\n")
    tags, negatives = texts()
    with (folder / "images.jsonl").open("w") as file:
        for number in range(size):
            file.write(json.dumps(image(number, tags, negatives)) + "\n")


def texts() -> tuple[list[str], list[str]]:
    """Tags of real prompts, and real negative prompts."""
    with GEMREC.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    styles = [style for style in json.loads(HORDE.read_text("utf-8")).values() if isinstance(style, dict)]
    prompts = [row["prompt"] for row in rows]
    prompts += [str(style.get("prompt", "")).partition("###")[0].replace("{np}", "") for style in styles]
    prompts += SUBJECTS.read_text("utf-8").splitlines()
    tags = {tag.strip() for prompt in prompts for tag in re.split(r"[,.\n]", re.sub(r"\{[^{}]*\}", "", prompt))}
    words = sorted({word for prompt in prompts for word in re.findall(r"[a-z]{3,}", prompt.lower())})
    # two words that never met make a tag nobody wrote: without them a million prompts would share a few thousand tags
    rng = random.Random(1)
    mixed = [f"{one} {rng.choice(words)}" for one in words * 20]
    negatives = {row["negativePrompt"] for row in rows if row["negativePrompt"].strip()}
    return sorted(tag for tag in tags if 2 < len(tag) < 90) * 6 + mixed, sorted(negatives)


def model(number: int) -> dict[str, Any]:
    """A body of `/models`: a checkpoint or a LoRA with one version."""
    lora = number % 3 == 2
    sha256 = hashlib.sha256(f"weights {number}".encode()).hexdigest().upper()
    file = {
        "id": number, "name": f"model{number}.safetensors", "type": "Model", "sizeKB": 2_000_000.5, "primary": True,
        "metadata": {"format": "SafeTensor", "size": "pruned", "fp": "fp16"},
        "hashes": {"SHA256": sha256, "AutoV2": sha256[:10], "AutoV1": sha256[20:28]},
        "pickleScanResult": "Success", "virusScanResult": "Success",
    }  # fmt: skip
    version = {
        "id": 500_000 + number, "name": f"v{number % 5}", "baseModel": BASES[number // 3 % len(BASES)], "files": [file],
        "trainedWords": [f"trigger{number}"] if lora else [], "availability": "Public", "description": None,
        "stats": {"downloadCount": 1_000_000 // (number + 1)}, "publishedAt": "2025-01-01T00:00:00.000Z",
    }  # fmt: skip
    return {
        "id": 100_000 + number, "name": f"Model {number}", "type": "LORA" if lora else "Checkpoint", "nsfw": False,
        "nsfwLevel": 31, "minor": False, "poi": number % 97 == 96, "sfwOnly": False, "availability": "Public",
        "description": f"<p>Model number {number}</p>", "allowNoCredit": True, "allowDerivatives": True,
        "allowCommercialUse": ["Image", "RentCivit"], "allowDifferentLicense": True, "tags": ["style"],
        "stats": {"downloadCount": 1_000_000 // (number + 1)}, "modelVersions": [version],
    }  # fmt: skip


def chance(number: int, purpose: str) -> random.Random:
    """What is random about one record for one purpose; the same whatever was asked before."""
    return random.Random(f"{purpose}:{number}")


def origin(number: int) -> tuple[int, bool]:
    """Which record this one repeats (itself: none), and whether a tag is changed."""
    rng = chance(number, "origin")
    drawn = rng.random()
    if number > 10 and drawn < REPEATED + CHANGED:
        return number - rng.randint(1, min(number, 2_000)), drawn >= REPEATED
    return number, False


def prompt(number: int, tags: list[str]) -> str:
    before, changed = origin(number)
    rng = chance(before, "prompt")
    chosen = rng.choices(tags, k=rng.randint(6, 24))
    if changed:
        chosen[chance(number, "change").randrange(len(chosen))] = "a wholly different thing"
    return ", ".join((["masterpiece", "best quality"] if rng.random() < 0.4 else []) + chosen)


def image(number: int, tags: list[str], negatives: list[str]) -> dict[str, Any]:
    """A body of `/images`."""
    rng = chance(number, "image")
    meta = None if rng.random() < 0.02 else metadata(number, tags, negatives, rng)
    # most of what people repeat is their own
    who = chance(origin(number)[0] if rng.random() < 0.8 else number, "creator")
    return {
        "id": 10_000_000 + number, "url": f"https://image.example/{number}/original=true/{number}.jpeg",
        "hash": "U5EVf-~q00IU", "width": 832, "height": 1216, "nsfwLevel": "None", "type": "image", "nsfw": False,
        "browsingLevel": 1 if rng.random() < 0.95 else 2, "createdAt": "2025-01-01T00:00:00.000Z", "postId": number,
        "stats": {"likeCount": int(rng.paretovariate(1)) % 5000, "heartCount": 1, "laughCount": 0, "cryCount": 0},
        "meta": meta, "username": f"user{int(CREATORS * who.random() ** 2)}", "baseModel": None,
    }  # fmt: skip


def metadata(number: int, tags: list[str], negatives: list[str], rng: random.Random) -> dict[str, Any]:
    used = min(int(rng.paretovariate(0.6)) - 1, 10**9) % MODELS
    lora = used % 3 == 2
    sha256 = hashlib.sha256(f"weights {used}".encode()).hexdigest()
    text = prompt(number, tags) + (f", <lora:model{used}:0.8>" if lora else "")
    base = used - 1 if lora else used
    shared = {
        "prompt": text, "negativePrompt": rng.choice(negatives), "seed": rng.randrange(2**32),
        "steps": rng.choice((20, 25, 30, 40)), "cfgScale": rng.choice((4, 5.5, 7, 7.5)),
        "sampler": rng.choice(SAMPLERS) if rng.random() < 0.99 else "Nobody's sampler",
    }  # fmt: skip
    kind = rng.random()
    if kind < 0.6:  # A1111, as the hub reads it
        resources = [{"name": f"model{base}", "type": "model", "hash": sha_of(base)[:10]}]
        resources += [{"name": f"model{used}", "type": "lora", "weight": 0.8, "hash": sha256[:10]}] if lora else []
        return {
            **shared, "Size": "832x1216", "Model": f"model{base}", "Model hash": sha_of(base)[:10], "Version": "v1.9.4",
            "resources": resources, "hashes": {"model": sha_of(base)[:10]}, "Hires upscale": "1.5",
        }  # fmt: skip
    versions = [{"type": "checkpoint", "modelVersionId": 500_000 + base}]
    versions += [{"type": "lora", "weight": 0.8, "modelVersionId": 500_000 + used}] if lora else []
    if kind < 0.95 or lora:  # the hub's own generator
        return {**shared, "width": 832, "height": 1216, "clipSkip": 2, "civitaiResources": versions}
    return {"comfy": json.dumps({"prompt": graph(shared, base), "workflow": {}})}


def sha_of(number: int) -> str:
    return hashlib.sha256(f"weights {number}".encode()).hexdigest()


def graph(given: dict[str, Any], base: int) -> dict[str, Any]:
    """The plain text-to-image graph of ComfyUI."""
    sampling = {"seed": given["seed"], "steps": given["steps"], "cfg": given["cfgScale"], "denoise": 1.0}
    names = {"sampler_name": "dpmpp_2m", "scheduler": "karras"}
    links = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
    return {
        "3": {"class_type": "KSampler", "inputs": {**sampling, **names, **links}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": f"model{base}.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 832, "height": 1216, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": given["prompt"], "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": given["negativePrompt"], "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
    }


# --- the passes -----------------------------------------------------------------------------------------------------


def build(folder: Path) -> dict[str, Any]:
    """All passes over the files of `folder`: seconds, records seen and kept, peak memory."""
    from chatgenbench.build import leaks
    from chatgenbench.build.records import Record
    from chatgenbench.build.workspace import read_lines

    seconds: dict[str, float] = {}
    passes: dict[str, Callable[[Path], dict[str, Any]]] = {
        "parse": parse, "filter": filter_records, "dedupe": dedupe_records, "split": split_records
    }  # fmt: skip
    counts = {}
    for name, work in passes.items():
        began = time.perf_counter()
        counts[name] = work(folder)
        seconds[name] = time.perf_counter() - began
        print(f"{name}: {seconds[name]:.1f} s, {counts[name]}", file=sys.stderr)
    began = time.perf_counter()
    with (folder / "splits.txt").open() as names:
        rows = (leaks.row(record, next(names).strip()) for record in read_lines(folder / "split.jsonl", Record))
        report = leaks.report(rows, folder=folder)
    seconds["leaks"] = time.perf_counter() - began
    seen = {name: one["seen"] for name, one in counts.items()} | {"leaks": counts["split"]["kept"]}
    return {
        "seconds": seconds, "seen": seen, "kept": {name: one["kept"] for name, one in counts.items()},
        "dropped": {name: one["dropped"] for name, one in counts.items()}, "splits": report["rows"],
        "leaks": report["leaks"], "memory": peak_memory(),
    }  # fmt: skip


def lines(path: Path) -> Iterator[dict[str, Any]]:
    import orjson

    with path.open("rb") as file:
        yield from map(orjson.loads, file)


def parse(folder: Path) -> dict[str, Any]:
    from chatgenbench.build.catalog import to_record
    from chatgenbench.build.funnel import Count
    from chatgenbench.build.workspace import write_lines

    count, names = Count(), hub(folder)
    images = (to_record(body, names, keyed, count) for body in lines(folder / "images.jsonl"))
    write_lines(folder / "parse.jsonl", count.through(images))
    return count.as_json()


def hub(folder: Path) -> Any:
    from chatgenbench.build.catalog import Hub
    from chatgenbench.build.funnel import Count

    return Hub(lines(folder / "models.jsonl"), Count())


def keyed(name: str) -> str:
    return hashlib.blake2b(name.encode(), key=b"benchmark", digest_size=16).hexdigest()


def filter_records(folder: Path) -> dict[str, Any]:
    from chatgenbench.build.filters import Limits, check
    from chatgenbench.build.funnel import Count
    from chatgenbench.build.records import Drop, Record
    from chatgenbench.build.workspace import read_lines, write_lines

    count, names, limits = Count(), hub(folder), Limits()

    def results() -> Iterator[Record | Drop]:
        for record in read_lines(folder / "parse.jsonl", Record):
            reason = check(record, names.flags(record.plan.model), limits)
            yield Drop(record.id, reason) if reason else record

    write_lines(folder / "filter.jsonl", map(pictured, count.through(results())))
    return count.as_json()


def pictured(record: Any) -> Any:
    """The record as if its picture had been downloaded: half of the repeated ones look alike."""
    number = int(record.id.rpartition("-")[2]) - 10_000_000
    before, changed = origin(number)
    alike = chance(number, "alike").random() < 0.5  # the same prompt may have drawn something else
    phash = chance(before if alike else number, "phash").getrandbits(64)
    if changed:
        phash ^= 1 << number % 64
    sha256 = hashlib.sha256(f"picture {number}".encode()).hexdigest()
    return record.model_copy(update={"picture_sha256": sha256, "phash": f"{phash:016x}"})


def dedupe_records(folder: Path) -> dict[str, Any]:
    from chatgenbench.build.dedupe import dedupe
    from chatgenbench.build.funnel import Count
    from chatgenbench.build.records import Record
    from chatgenbench.build.workspace import read_lines, write_lines

    count, found = Count(), dedupe(folder / "filter.jsonl")
    records = found.apply(read_lines(folder / "filter.jsonl", Record))
    write_lines(folder / "dedupe.jsonl", count.through(records))
    found.save_clusters(folder / "clusters.npy")
    return count.as_json()


def split_records(folder: Path) -> dict[str, Any]:
    from chatgenbench.build.dedupe import load_clusters
    from chatgenbench.build.funnel import Count
    from chatgenbench.build.records import Drop, Record
    from chatgenbench.build.split import SplitSettings, assign, read
    from chatgenbench.build.workspace import read_lines, write_lines

    source = folder / "dedupe.jsonl"
    count, placed = Count(), assign(read(source, load_clusters(folder / "clusters.npy")), SplitSettings())
    with (folder / "splits.txt").open("w") as names:

        def results() -> Iterator[Record | Drop]:
            for place, record in enumerate(read_lines(source, Record)):
                split = placed.of(place, record.id)
                if isinstance(split, str):
                    names.write(split + "\n")
                yield split if isinstance(split, Drop) else record

        write_lines(folder / "split.jsonl", count.through(results()))
    return count.as_json()


def peak_memory() -> float:
    """Most memory this process ever held, in MB."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
