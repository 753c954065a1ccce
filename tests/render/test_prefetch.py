from __future__ import annotations

import shutil
import threading
from pathlib import Path

from chatgenbench.benchmark import Benchmark, load_benchmark
from chatgenbench.render import Picture, Pool, Undrawn, lease_requests, request_for
from chatgenbench.render.inline import InlineExecutor
from chatgenbench.render.prefetch import Prefetch
from chatgenbench.schema import RenderRequest
from tests.render.conftest import PlanOf


def asked(benchmark: Benchmark, plan: PlanOf, *models: str) -> list[RenderRequest]:
    return [request_for(plan(model), benchmark, 0, "e")[0] for model in models]


def test_there_is_one_wish_at_a_time_and_a_newer_one_replaces_it() -> None:
    begun, go, done = threading.Event(), threading.Event(), list[str]()

    def prepare(weights: tuple[str, str | None]) -> None:
        begun.set()
        assert go.wait(60)
        done.append(weights[0])
        raise OSError("nobody hears of this")

    prefetch = Prefetch(prepare)
    prefetch.want(("a", None))
    assert begun.wait(60)
    for name in ("a", "b", "c"):
        prefetch.want((name, None))
    go.set()
    deadline = threading.Event()
    while done != ["a", "c"] and not deadline.wait(0.01):
        pass
    prefetch.settle()
    prefetch.want(None)
    prefetch.close()
    prefetch.want(("d", None))
    prefetch.settle()
    assert done == ["a", "c"]


def test_the_next_weights_are_checked_while_pictures_are_drawn(benchmark: Benchmark, plan: PlanOf, pool: Pool) -> None:
    executor = InlineExecutor(benchmark, pool, 2)
    prepared = list[tuple[str, str]]()
    ready, drawing = executor.shelf.ready, threading.main_thread()

    def note(kind: str, key: str) -> None:
        assert threading.current_thread() is not drawing
        ready(kind, key)
        prepared.append((kind, key))

    executor.shelf.ready = note  # type: ignore[method-assign]
    leases = lease_requests(asked(benchmark, plan, "fox", "ink", "owl"))
    then = (benchmark.catalog.get("fox").sha256, benchmark.catalog.get("wax").sha256)
    assert all(isinstance(result, Picture) for result in executor.run(leases, then))
    executor._prefetch.settle()
    assert {key for _, key in prepared} <= {r.sha256 for r in benchmark.catalog}
    assert prepared, "nothing was made ready"
    executor.close()


def test_a_fault_of_the_next_weights_shows_when_their_turn_comes_and_not_before(
    benchmark: Benchmark, plan: PlanOf, pool: Pool, tmp_path: Path
) -> None:
    root = tmp_path / "world"
    shutil.copytree(benchmark.root, root)
    ink = root / benchmark.catalog.get("ink").files["lora"]
    ink.write_bytes(ink.read_bytes()[:-9] + b"\0" * 9)
    broken = load_benchmark(str(root))
    results = list(InlineExecutor(broken, pool, 2).run(lease_requests(asked(broken, plan, "fox", "ink", "wax"))))
    assert [type(result) for result in results].count(Picture) == 2
    (failed,) = [result for result in results if isinstance(result, Undrawn)]
    assert "is not the file that the catalog describes" in failed.failure.reason
