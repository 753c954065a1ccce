"""Ranking of a large board: seconds and memory, against testing one pair of entries after the other.

    python benchmarks/leaderboard.py                       # 50 submissions of 15,000 rows
    python benchmarks/leaderboard.py --submissions 10 --rows 3000

The board is written first: signed submissions of made-up scores on items copied from the miniature's.  Ranking runs in
a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

METRICS = {
    "bertscore": (0.6, 0.15), "sbert": (0.6, 0.2), "clipscore": (60.0, 15.0), "imagereward": (0.2, 0.5),
    "hpsv2": (20.0, 4.0), "clip_image": (70.0, 10.0),
}  # fmt: skip


def write_benchmark(root: Path, rows: int) -> None:
    """A benchmark of `rows` items, three to a demonstration, from the miniature's lines."""
    from chatgenbench.benchmark import FILES, load_benchmark

    small = load_benchmark("miniature")
    root.mkdir(parents=True)
    lines = {name: (small.root / name).read_text("utf-8").splitlines() for name in FILES[2:]}
    golds = [json.loads(line) for line in lines["demonstrations.jsonl"]]
    tests = {gold["id"]: gold for gold in golds if gold["split"] != "train"}
    items = [json.loads(line) for line in lines["items.jsonl"]]
    demonstrations, copies = [g for g in golds if g["split"] == "train"], []
    for number in range(rows):
        item = json.loads(json.dumps(items[number % len(items)]))
        gold = dict(tests[item["demonstration"]], id=f"d{number // 3}", split=item["split"])
        if number % 3 == 0:
            demonstrations.append(gold)
        item["split"] = demonstrations[-1]["split"]
        item["id"] = item["input"]["id"] = f"i{number:06d}"
        copies.append(dict(item, demonstration=demonstrations[-1]["id"]))
    for name in FILES[:2]:
        (root / name).write_bytes((small.root / name).read_bytes())
    for name, nouns in (("demonstrations.jsonl", demonstrations), ("items.jsonl", copies)):
        (root / name).write_text("".join(json.dumps(noun) + "\n" for noun in nouns), "utf-8")


def write_board(root: Path, benchmark: Path, number: int) -> None:
    """`number` signed submissions with scores around a mean of their own."""
    from chatgenbench.benchmark import load_benchmark
    from chatgenbench.evaluate.stepwise import COLUMNS as STEPWISE
    from chatgenbench.evaluate.summary import describe
    from chatgenbench.leaderboard import keys
    from chatgenbench.leaderboard.board import slug_of
    from chatgenbench.leaderboard.columns import FIXED
    from chatgenbench.leaderboard.manifest import CSV, MANIFEST, Claim, How, Manifest, Table, What, Who

    held = load_benchmark(str(benchmark))
    root.mkdir()
    keys.keygen(root / "key.pem")
    key, rng = keys.load(root / "key.pem"), np.random.default_rng(0)
    names = [*METRICS, *STEPWISE]
    cards = _cards()
    common = rng.normal(0, 1, (len(held.items), len(names)))
    for entry in range(number):
        scores = {}
        for column, name in enumerate(names):
            noise = 0.7 * common[:, column] + 0.7 * rng.normal(0, 1, len(held.items)) + 0.03 * (entry // 3)
            mean, spread = METRICS.get(name, (0.5, 0.0))
            scores[name] = mean + spread * noise if spread else (noise > 0.3).astype(float)
        who = Who(name=f"system {entry}", revision="1", authors=("nobody",), licence="MIT", training_data="made up")
        folder = root / "submissions" / slug_of(who.name, who.revision)
        folder.mkdir(parents=True)
        data = _csv(held, FIXED, scores)
        (folder / CSV).write_bytes(data)
        manifest = Manifest(
            system=who, created="2026-01-01", key="", signature="",
            benchmark=What(
                name=held.manifest.name, version=held.manifest.version, hash=held.hash, items=len(held.items)
            ),
            run=How(seed=0, text="gold", weights="miniature", drawn=True, scoring=2, device="cpu"),
            table=Table(sha256=hashlib.sha256(data).hexdigest(), rows=len(held.items), size=len(data)),
            metrics={
                name: Claim(value=float(values.mean()), n=len(values), **{
                    k: v for k, v in describe(name, cards).items() if k in ("title", "unit", "higher_is_better")
                })
                for name, values in scores.items()
            },
        )  # fmt: skip
        (folder / MANIFEST).write_text(keys.sign(manifest, key).model_dump_json(indent=1), "utf-8")


def _cards() -> dict[str, object]:
    import t2imetrics

    return {name: t2imetrics.card(name) for name in METRICS}


def _csv(benchmark, fixed: tuple[str, ...], scores: dict[str, np.ndarray]) -> bytes:
    out = [",".join((*fixed, *scores))]
    table = np.stack(list(scores.values()), axis=1)
    for item, row in zip(benchmark.items, table, strict=True):
        plan = benchmark.gold(item).plan
        cells = {
            "id": item.id, "outcome": "ok", "prompt": '"' + plan.prompt.replace('"', '""') + '"', "model": plan.model,
            "sampler": plan.arguments.sampler, "steps": plan.arguments.steps, "cfg_scale": plan.arguments.cfg_scale,
            "width": plan.arguments.width, "height": plan.arguments.height, "seed": 1,
            "image_sha256": hashlib.sha256(item.id.encode()).hexdigest(), "image_phash": "0" * 16, "seconds": "0.1",
        }  # fmt: skip
        out.append(",".join([*(str(cells.get(name, "")) for name in fixed), *(f"{value:.9g}" for value in row)]))
    return ("\n".join(out) + "\n").encode()


def rank_one(board: Path, benchmark: Path) -> None:
    """What the measured process does."""
    from chatgenbench.benchmark import load_benchmark
    from chatgenbench.leaderboard.board import Board
    from chatgenbench.leaderboard.rank import rank
    from chatgenbench.leaderboard.results_files import write_results

    held = load_benchmark(str(benchmark))
    start, used = time.perf_counter(), time.process_time()
    results = rank(Board(board), held)
    write_results(results, board)
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"entries": len(results.entries), "seconds": seconds, "cpu": cpu, "peak_mib": peak}))


def naive(board: Path, benchmark: Path) -> float:
    """Seconds to read two submissions with the csv module and test one metric of one pair in a Python loop."""
    import csv

    from chatgenbench.benchmark import load_benchmark
    from chatgenbench.leaderboard.cells import PERMUTATIONS

    held = load_benchmark(str(benchmark))
    start = time.perf_counter()
    columns = []
    for folder in sorted((board / "submissions").iterdir())[:2]:
        with (folder / "submission.csv").open(newline="") as file:
            columns.append([float(line["clipscore"]) for line in csv.DictReader(file)])
    found: dict[str, float] = {}
    for item, one, other in zip(held.items, *columns, strict=True):
        found[item.demonstration] = found.get(item.demonstration, 0.0) + one - other
    sums, rng = list(found.values()), np.random.default_rng(0)
    for _ in range(PERMUTATIONS):
        sum(value if flip else -value for value, flip in zip(sums, rng.random(len(sums)) < 0.5, strict=True))
    return time.perf_counter() - start


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--submissions", type=int, default=50)
    options.add_argument("--rows", type=int, default=15_000)
    options.add_argument("--rank", nargs=2, type=Path, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.rank:
        rank_one(*asked.rank)
        return
    with tempfile.TemporaryDirectory() as work:
        benchmark, board = Path(work) / "benchmark", Path(work) / "board"
        write_benchmark(benchmark, asked.rows)
        write_board(board, benchmark, asked.submissions)
        words = [sys.executable, __file__, "--rank", str(board), str(benchmark)]
        done = subprocess.run(words, env=dict(os.environ), capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        alone = naive(board, benchmark)
        metrics = len(METRICS) + 13
        whole = alone * (asked.submissions - 1) * metrics
        print(f"{found['entries']} entries of {asked.rows:,} rows, {metrics} metrics, on {os.cpu_count()} cores")
        took = f"{found['seconds']:.1f} s ({found['cpu']:.1f} s of CPU time)"
        print(f"rank: {took}, peak memory {found['peak_mib']:.0f} MiB")
        print(
            f"naive: {alone:.2f} s a pair and metric, {whole:,.0f} s for all of them: {whole / found['seconds']:.0f}x"
        )


if __name__ == "__main__":
    main()
