"""The program of the kill test: draw 120 or 300 rows of the tiny world with two processes, keeping a journal line each.

python -m tests.render.killed_driver WORLD POOL JOURNAL [HOST:PORT of a Ray cluster with declared GPUs]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.journal import Journal, read
from chatgenbench.render import Executor, LocalExecutor, Pool, draw
from chatgenbench.render.ray_executor import RayExecutor
from chatgenbench.schema import Arguments, DrawnRow, Plan

#: The suite makes do with fewer kills and fewer rows; see `killing.kills`.
ROWS, BATCH = 300 if "CHATGENBENCH_KILLS" in os.environ else 120, 4


def plans() -> list[tuple[str, Plan]]:
    """ROWS plans over two bases and two LoRAs; every tenth asks for the picture of the one before it."""
    models = ("fox", "owl", "ink", "wax")
    found = []
    for at in range(ROWS):
        same = at - (at % 10 == 9)
        arguments = Arguments(sampler="Euler a", steps=8, cfg_scale=3, width=64, height=64, seed=same)
        found.append((f"row-{at}", Plan(prompt=f"{same} foxes", model=models[same % 4], arguments=arguments)))
    return found


def main(world: str, pool: str, journal: str, cluster: str | None = None) -> None:
    benchmark, pictures, book = load_benchmark(world), Pool(pool), Path(journal)
    done = {row.item for row in read(book, DrawnRow.model_validate)}
    todo = [(item, plan) for item, plan in plans() if item not in done]
    executor = _executor(benchmark, pictures, cluster)
    print("pid", os.getpid(), flush=True)
    try:
        with Journal(book) as lines:
            rows = draw(todo, benchmark, pictures, seed_of=lambda _: 0, batch_size=BATCH, executor=executor)
            for row in rows:
                lines.append(row.model_dump(mode="json"))
    finally:
        executor.close()


def _executor(benchmark: Benchmark, pictures: Pool, cluster: str | None) -> Executor:
    if cluster is None:
        return LocalExecutor(benchmark, pictures, BATCH, ("cpu", "cpu"))
    return RayExecutor(benchmark, pictures, BATCH, "cpu", address=cluster, claim="GPU")


if __name__ == "__main__":
    main(*sys.argv[1:])
