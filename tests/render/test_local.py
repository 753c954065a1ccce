"""Processes that are killed, that die over one picture, and that are asked for in odd numbers."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chatgenbench.benchmark import Benchmark
from chatgenbench.journal import read
from chatgenbench.render import Picture, Pool, Undrawn, draw, lease_requests, request_for
from chatgenbench.render.backlog import DEATHS, Backlog, Batch
from chatgenbench.render.inline import InlineExecutor
from chatgenbench.render.local import CPU_WORKERS, LocalExecutor, devices_for
from chatgenbench.schema import DrawnRow, Outcome
from tests.render.conftest import PlanOf
from tests.render.killed_driver import ROWS, plans
from tests.render.killing import Siege, kill, kills


def test_killed_again_and_again_it_ends_with_the_pictures_of_an_inline_run(
    benchmark: Benchmark, tmp_path: Path
) -> None:
    siege = Siege(benchmark, tmp_path, None)
    siege.lay(kills(3))
    siege.check(benchmark, Pool(tmp_path / "plain"))


def test_two_programs_at_once_share_one_pool(benchmark: Benchmark, tmp_path: Path) -> None:
    pool, journals = Pool(tmp_path / "pool"), [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    command = [sys.executable, "-m", "tests.render.killed_driver", benchmark.root, pool.root]
    programs = [subprocess.Popen([*command, journal], stdout=subprocess.DEVNULL) for journal in journals]
    assert [program.wait(timeout=300) for program in programs] == [0, 0]
    told = [{row.item: row.outcome for row in read(journal, DrawnRow.model_validate)} for journal in journals]
    assert told[0] == told[1] == {item: Outcome.OK for item, _ in plans()}
    assert len(list(pool.root.glob("??/*.png"))) == ROWS - ROWS // 10
    assert all(pool.is_whole(path.stem) for path in pool.root.glob("??/*.png"))
    assert not any((pool.root / ".staging").iterdir())


def test_a_batch_over_which_workers_die_is_taken_apart_and_the_guilty_one_given_up(
    benchmark: Benchmark, plan: PlanOf
) -> None:
    requests = [request_for(plan(seed=at), benchmark, 0, "e")[0] for at in range(3)]
    backlog = Backlog(lease_requests(requests), 3)
    whole = backlog.take(None, ())
    assert whole is not None
    for _ in range(DEATHS - 1):
        assert backlog.died(whole, whole.requests) == ()
        assert backlog.take(None, ()) == whole
    assert backlog.died(whole, whole.requests) == ()
    alone = [backlog.take(None, ()) for _ in range(3)]
    assert [batch and batch.requests for batch in alone] == [(request,) for request in whole.requests]
    guilty = alone[0]
    assert guilty is not None
    for _ in range(DEATHS - 1):
        assert backlog.died(guilty, guilty.requests) == ()
        assert backlog.take(None, ()) == guilty
    assert backlog.died(guilty, guilty.requests) == guilty.requests
    assert len(backlog) == 0


def test_a_worker_stays_with_its_weights_then_takes_what_nobody_holds_then_helps(
    benchmark: Benchmark, plan: PlanOf
) -> None:
    many = [plan(model, seed=at) for model in ("fox", "ink", "owl") for at in range(6)]
    backlog = Backlog(lease_requests([request_for(one, benchmark, 0, "e")[0] for one in many]), 2)

    def taken(mine: Batch | None, *others: Batch) -> Batch:
        batch = backlog.take(mine and mine.weights, [other.weights for other in others])
        assert batch is not None
        return batch

    first = taken(None)  # fox and its LoRA have most left
    second = taken(None, first)
    assert first.weights[0] != second.weights[0]
    for _ in range(2):
        assert taken(first, second).weights == first.weights
        assert taken(second, first).weights == second.weights
    other_lora = taken(first, second)
    assert other_lora.weights[0] == first.weights[0]
    assert other_lora.weights != first.weights
    helping = taken(second, other_lora)
    assert helping.weights == other_lora.weights
    assert backlog.take(second.weights, [other_lora.weights]) is None  # one batch is not worth a load
    assert taken(other_lora, second).weights == other_lora.weights
    assert len(backlog) == 0


def test_a_picture_that_kills_its_workers_costs_itself_alone(
    benchmark: Benchmark, plan: PlanOf, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatgenbench.render.backlog.DEATHS", 1)
    requests = [request_for(plan(prompt=f"{at} foxes"), benchmark, 0, "e")[0] for at in range(4)]
    poison = requests[2]
    executor = LocalExecutor(benchmark, pool, 4, ("cpu",))
    over = threading.Event()

    def strike() -> None:
        while not over.wait(0.01):
            for worker in list(executor._crew):
                if worker.batch is not None and poison in worker.batch.requests:
                    kill(worker.process.pid or 0)

    thread = threading.Thread(target=strike)
    thread.start()
    results = {result.digest: result for result in executor.run(lease_requests(requests))}
    over.set()
    thread.join()
    executor.close()
    lost = results.pop(poison.digest)
    assert isinstance(lost, Undrawn)
    assert lost.failure.outcome is Outcome.INFRA_FAILED
    assert "drawing processes ended over it (exit code -9)" in lost.failure.reason
    assert len(results) == 3
    assert all(isinstance(result, Picture) for result in results.values())


def test_devices() -> None:
    assert devices_for("cpu", None) == ("cpu",) * CPU_WORKERS
    assert devices_for("cpu", 3) == ("cpu",) * 3
    assert devices_for("cuda:1", None) == ("cuda:1",)


def test_inline_draws_what_local_put_into_the_pool_only_once(benchmark: Benchmark, plan: PlanOf, pool: Pool) -> None:
    rows = [(f"i{at}", plan(seed=at)) for at in range(5)]
    executor = LocalExecutor(benchmark, pool, 2, ("cpu",))
    first = list(draw(rows, benchmark, pool, seed_of=lambda _: 0, executor=executor))
    executor.close()
    plain = InlineExecutor(benchmark, pool, 2)
    again = list(draw(rows, benchmark, pool, seed_of=lambda _: 0, executor=plain))
    assert plain.shelf.loaded == 0
    assert {row.item: row.image_sha256 for row in first} == {row.item: row.image_sha256 for row in again}
