"""Size of a big run's page and seconds until a browser shows it: load event, first page of the gallery, one search.

    python benchmarks/report.py RUN                     # 15,000 rows made of RUN's rows
    python benchmarks/report.py RUN --rows 400          # the largest page that holds its pictures

RUN is a finished run of the bundled miniature, with its ladder if it has one.  Its rows are copied under new ids, with
their real plans, chats and scores, until there are enough; every copy's picture is given one pixel of its own, so that
no two are the same file, as in a real run of this size.  With `--words N` chats and prompts are made N words longer:
prompts of the community are longer than the miniature's.  Without Chromium or playwright the page is not opened.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.evaluate.ladder import ladder_file
from chatgenbench.evaluate.pipeline import state_of
from chatgenbench.evaluate.rows import join
from chatgenbench.evaluate.run import RunFolder, write_json
from chatgenbench.render import Pool
from chatgenbench.report import write_report

LIMIT_SECONDS = 3.0
FILLER = "intricate detail, soft rim light, volumetric haze, weathered brass, quiet morning, wide lens, layered paper"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rows", type=int, default=15_000)
    parser.add_argument("--words", type=int, default=0, help="words added to each chat and prompt")
    parser.add_argument("--out", type=Path, help="keep the made run in this folder")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = options.out or Path(temporary)
        page = write(options.run, place, options.rows, options.words)
        measure(page, options.repeats)


def write(source: Path, place: Path, rows: int, words: int) -> Path:
    """The page of a run of `rows` rows made of those of `source`."""
    benchmark, folder, pictures = big_run(source, place, rows, words)
    start = time.perf_counter()
    page = write_report(folder, benchmark, pictures.__getitem__)
    seconds = time.perf_counter() - start
    beside = [f.stat().st_size for f in (page.parent / "report_files").glob("*")]
    print(f"{rows} rows: page {page.stat().st_size / 1e6:.1f} MB, {len(beside)} pictures beside it "
          f"({sum(beside) / 1e6:.1f} MB), written in {seconds:.1f} s")  # fmt: skip
    start = time.perf_counter()
    write_report(folder, benchmark, pictures.__getitem__)
    print(f"written again, pictures there: {time.perf_counter() - start:.1f} s")
    return page


def big_run(source: Path, place: Path, count: int, words: int) -> tuple[Benchmark, RunFolder, dict[str, Path]]:
    """A benchmark of `count` items, a run of it in `place`, and pool name -> file of its pictures."""
    small, old = load_benchmark("miniature"), RunFolder(source)
    manifest = old.read_manifest()
    pool, done = Pool(Path(manifest["pool"])), join(old, small, small.subset(manifest["settings"]["limit"]))
    extra = " ".join((FILLER.split() * (words // len(FILLER.split()) + 1))[:words])
    items, plans, drawn, pictures = [], [], [], {}
    (place / "pictures").mkdir(parents=True, exist_ok=True)
    for k in range(count):
        row = done[k % len(done)]
        key = f"{row.item.id}-{k:05d}"
        chat = row.item.input.model_dump(mode="json") | {"id": key}
        chat["messages"][-1]["text"] += f" {extra}".rstrip()
        items.append(row.item.model_dump(mode="json") | {"id": key, "input": chat})
        planned = row.planned.model_dump(mode="json") | {"item": key}
        if planned["plan"]:
            planned["plan"]["prompt"] += f", {extra}".rstrip(", ")
        plans.append(planned)
        if row.drawn is not None:
            drawn.append(row.drawn.model_dump(mode="json") | {"item": key, "picture": key})
            if row.image_sha256 and row.drawn.picture:
                pictures[key] = copy(pool.path(row.drawn.picture), place / "pictures" / f"{key}.png", k)
                drawn[-1]["image_sha256"] = hashlib.sha256(pictures[key].read_bytes()).hexdigest()
    benchmark = write_benchmark(small, place / "benchmark", items)
    folder = RunFolder(place / "run")
    folder.path.mkdir(exist_ok=True)
    write_lines(folder.plans, plans)
    write_lines(folder.pictures, drawn)
    identity = manifest["identity"] | {"benchmark_hash": benchmark.hash}
    write_json(folder.manifest, manifest | {"identity": identity, "settings": manifest["settings"] | {"limit": None}})
    frame = pd.read_parquet(old.scores)
    frame = frame.iloc[[k % len(frame) for k in range(count)]].assign(item=[item["id"] for item in items])
    frame.to_parquet(folder.scores, index=False)
    summary: dict[str, Any] = json.loads(old.summary.read_text("utf-8"))
    summary["rows"] = count
    summary["run"] |= {"items_in_benchmark": count, "state": state_of(join(folder, benchmark, benchmark.items))}
    write_json(folder.summary, summary)
    if ladder_file(old).exists():
        write_ladder(old, folder, [item["id"] for item in items], summary["run"])
    return benchmark, folder, pictures


def write_ladder(old: RunFolder, folder: RunFolder, keys: list[str], about: dict[str, Any]) -> None:
    """The ladder of the small run, each row's losses under its copies' ids."""
    ladder = json.loads(ladder_file(old).read_text("utf-8"))
    ladder["of"] = {key: about.get(key) for key in ladder["of"]}
    for part in (*ladder["rungs"].values(), ladder["regret"]):
        part["rows"] = {k: part["rows"][k[:-6]] for k in keys if k[:-6] in part["rows"]}
    write_json(ladder_file(folder), ladder)


def copy(source: Path, target: Path, k: int) -> Path:
    """The picture with one pixel that only it has."""
    with Image.open(source) as image:
        own = image.convert("RGB")
    own.putpixel((0, 0), (k % 256, k // 256 % 256, k // 65536))
    own.save(target)
    return target


def write_benchmark(small: Benchmark, root: Path, items: list[dict[str, Any]]) -> Benchmark:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for name in ("benchmark.json", "catalog.jsonl", "demonstrations.jsonl"):
        shutil.copy(small.root / name, root / name)
    write_lines(root / "items.jsonl", items)
    return replace(load_benchmark(str(root)), root=small.root)  # the pictures stay where they are


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def measure(page: Path, repeats: int) -> None:
    """Open the page `repeats` times, each in a browser of its own, and print medians."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("playwright is not installed: not opened")
        return
    if (chromium := shutil.which("chromium")) is None:
        print("no chromium here: not opened")
        return
    found: dict[str, list[float]] = {"load event": [], "first page with its pictures": [], "search of all texts": []}
    with sync_playwright() as playwright:
        for _ in range(repeats):
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            view = browser.new_page(viewport={"width": 1280, "height": 1600})
            start = time.perf_counter()
            view.goto(page.as_uri() + "#page=2", wait_until="load")
            found["load event"].append(time.perf_counter() - start)
            view.wait_for_selector("html[data-ready] .card img")
            view.wait_for_function("""() => [...document.querySelectorAll('.card img')].filter((one) => {
                const box = one.getBoundingClientRect(); return box.bottom > 0 && box.top < innerHeight; })
                .every((one) => one.complete && one.naturalWidth > 0)""")
            found["first page with its pictures"].append(time.perf_counter() - start)
            start = time.perf_counter()
            view.fill("input[name=text]", "no such words anywhere")
            view.wait_for_function("() => document.querySelector('.where').textContent === 'no item matches'")
            found["search of all texts"].append(time.perf_counter() - start)
            browser.close()
    for name, seconds in found.items():
        print(f"{name}: median {statistics.median(seconds):.2f} s, slowest {max(seconds):.2f} s of {repeats}")
    slow = max(found["first page with its pictures"])
    print(f"{'within' if slow < LIMIT_SECONDS else 'OVER'} {LIMIT_SECONDS:g} s")


if __name__ == "__main__":
    main()
