"""Draw on a Ray cluster: one actor per GPU, or a few per machine without one.

Machines may join and leave while it draws.  Only requests, hashes and the catalog cross Ray; pictures go straight to
the pool and weights come straight from the benchmark's folder, so every node must see both under the same path.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import ChatGenBenchError, InfraError, UserError, shorten
from chatgenbench.render.backlog import Batch
from chatgenbench.render.checkpoints import LIMIT, dtype_name
from chatgenbench.render.cluster import Node, connect, nodes
from chatgenbench.render.costs import Costs, known_costs
from chatgenbench.render.crew import Crew, Gone, Worker
from chatgenbench.render.local import CPU_WORKERS
from chatgenbench.render.pool import Pool
from chatgenbench.render.pool_bucket import is_url
from chatgenbench.render.pool_store import STAGING, writer
from chatgenbench.render.requests import engine_fingerprint
from chatgenbench.render.worker import Duty, Free, Unfit, Word, painter, words

#: Seconds between two looks at which nodes there are.
LOOK = 1.0
#: Seconds without a single worker after which a run gives up waiting for machines.
PATIENCE = 600.0
#: Variables of the environment that a worker takes over from the program, and those that are each machine's own.
OURS, EACH = "CHATGENBENCH_", ("CHATGENBENCH_HOME",)


class Painter:
    """What runs on a node: `ready` once, then `draw` for every batch.  No exception of ours crosses Ray.

    Args:
        duty: what it needs to know.
        mark: a folder that the program has made in the pool: only the very same pool has it.  None at a URL.
        engine: the program's fingerprint, which the node's must equal for the pictures to be the same.
        settings: variables of the program's environment that hold here as well.
    """

    def __init__(self, duty: Duty, mark: Path | None, engine: str, settings: Mapping[str, str]) -> None:
        os.environ.update(settings)
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the program itself does, before torch is loaded
        self._duty, self._mark, self._engine = duty, mark, engine
        self._executor: Any = None

    def ready(self, node: str) -> Free | Unfit:
        """Load the libraries, or say why nothing can be drawn on this node."""
        reason = _unfit(self._duty, self._mark, self._engine)
        if reason is not None:
            return Unfit(f"Ray node {node}: {reason}")
        self._executor = painter(self._duty)
        return Free(0)

    def draw(self, batch: Batch) -> list[Word]:
        """Draw a batch; see `worker.words`."""
        return list(words(self._executor, batch))


@dataclass(eq=False, kw_only=True)
class _Actor(Worker):
    """A worker that is a Ray actor; its place is a node's id."""

    handle: Any
    #: what it is asked at the moment, as Ray's reference to the answer
    asked: Any

    def say(self, batch: Batch) -> None:
        self.asked = self.handle.draw.remote(batch)

    def dismiss(self) -> None:
        """It has nothing to finish: `end` is enough."""

    def end(self) -> None:
        import ray

        with contextlib.suppress(Exception):  # the cluster may be gone, and the actor with it
            ray.kill(self.handle)


class RayExecutor(Crew[_Actor]):
    """Keeps the contract of `Executor` with one actor per GPU of the cluster; see `Crew` for those that die.

    Nodes that join are used as soon as they are there; where all have left, it waits for one to come back.

    Args:
        benchmark: catalog and weights; its folder must be on storage that all nodes share.
        pool: where pictures go; the same.
        batch_size: pictures per pipeline call, at least 1.
        device: "cuda" (of the GPU that Ray gives an actor) or "cpu".
        address: see `cluster.connect`.
        workers: at most so many actors; None means one per GPU, or CPU_WORKERS per node where `device` is a CPU.
        claim: what an actor holds one of while it lives, "GPU" or "CPU"; None means what it draws on.
        limit: bytes of weights that each actor keeps warm.

    Raises:
        UserError: no cluster answers, or it has nothing of what is to be drawn on.
    """

    HINT = "`ray status` and the logs of its nodes under /tmp/ray may say more"

    def __init__(
        self, benchmark: Benchmark, pool: Pool, batch_size: int, device: str = "cpu", *, address: str = "auto",
        workers: int | None = None, claim: str | None = None, limit: int = LIMIT,
    ) -> None:  # fmt: skip
        super().__init__(pool, batch_size)
        connect(address)
        import ray

        self._painter: Any = ray.remote(Painter)
        self._benchmark = replace(benchmark, root=benchmark.root.absolute())  # workers have another working folder
        self._device, self._workers, self._limit = device, workers, limit
        self._claim = claim or ("CPU" if device == "cpu" else "GPU")
        at_url = is_url(pool.spec)  # which every node means the same by
        self._mark = None if at_url else Path(pool.spec) / STAGING / f"{writer()}{secrets.token_hex(8)}"
        self._engine = engine_fingerprint(device, dtype_name(device))
        self._nodes: dict[str, Node] = {}
        self._looked = self._manned = 0.0
        if not self._places():
            raise UserError(f"no node of the Ray cluster has a {self._claim}: add one that has, or type --device cpu")

    def run(self, leases: Any) -> Iterator[Any]:
        """Draw every request; see `Executor.run`."""
        from ray.exceptions import RayError

        self._manned = time.monotonic()
        with self._marked():
            try:
                yield from super().run(leases)
            except RayError as error:
                raise InfraError(f"the Ray cluster is lost: {shorten(str(error), 200)}") from error

    @contextlib.contextmanager
    def _marked(self) -> Iterator[None]:
        """Within it a pool on a disk holds an empty folder by which a worker knows that its pool is this one.

        It is named as a batch on its way in, so that the next run sweeps it away where this program is killed.
        """
        if self._mark is None:
            yield
            return
        try:
            self._mark.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InfraError(f"cannot write to the picture pool {self.pool}: {error.strerror or error}") from error
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                self._mark.rmdir()

    def _costs(self) -> Costs:
        return known_costs(self._benchmark, self._device)

    def _places(self) -> Sequence[str]:
        """The id of each node, once for each of its GPUs; nodes that join come last, so that nobody has to move."""
        if not self._nodes or time.monotonic() - self._looked > LOOK:
            found = {node.id: node for node in nodes()}
            known = {id: found[id] for id in self._nodes if id in found}
            self._nodes, self._looked = {**known, **found}, time.monotonic()
        return [node.id for node in self._nodes.values() for _ in range(self._room(node))][: self._workers]

    def _room(self, node: Node) -> int:
        count = node.count(self._claim)
        return min(count, CPU_WORKERS) if self._claim == "CPU" else count

    def _begin(self, place: str) -> _Actor:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        node = self._nodes[place]
        duty = Duty(
            self._benchmark, self.pool.spec, self.batch_size, self._device, self._limit,
            threads=max(1, node.count("CPU") // CPU_WORKERS),
        )  # fmt: skip
        here = NodeAffinitySchedulingStrategy(node_id=place, soft=False)
        holds = {"num_gpus": 1, "num_cpus": 0} if self._claim == "GPU" else {"num_cpus": 1}
        handle = self._painter.options(max_restarts=0, scheduling_strategy=here, **holds).remote(
            duty, self._mark, self._engine, _settings()
        )
        return _Actor(place=place, handle=handle, asked=handle.ready.remote(node.address))

    def _wait(self) -> Iterator[tuple[_Actor, Word | Gone]]:
        import ray

        self._see_that_somebody_works()
        for worker in [worker for worker in self._crew if worker.place not in self._nodes]:
            yield worker, Gone("its node has left the Ray cluster")
        asked = {worker.asked: worker for worker in self._crew if not worker.free}
        if not asked:
            time.sleep(LOOK)
            return
        for answer in ray.wait(list(asked), timeout=LOOK)[0]:
            worker = asked[answer]
            for word in _heard(answer, self._nodes.get(worker.place)):
                yield worker, word

    def _see_that_somebody_works(self) -> None:
        if any(worker.started for worker in self._crew):
            self._manned = time.monotonic()
        elif time.monotonic() - self._manned > PATIENCE:
            raise InfraError(
                f"no drawing process could begin within {PATIENCE:.0f} s: every {self._claim} of the Ray cluster is "
                "taken or gone, see `ray status`"
            )


def _settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(OURS) and name not in EACH}


def _heard(answer: Any, node: Node | None) -> list[Word | Gone]:
    """What an actor has answered, or how it ended."""
    import ray
    from ray.exceptions import RayError

    try:
        said: Free | Unfit | list[Word] = ray.get(answer)
    except RayError as error:
        how = _how(error)
        if "No module named" in str(error) and node is not None:
            return [Unfit(f"Ray node {node.address}: {how}: install the same chatgenbench there")]
        return [Gone(how)]
    return list(said) if isinstance(said, list) else [said]


def _how(error: Exception) -> str:
    """The line of Ray's story that matters: mostly its last."""
    told = str(error).strip()
    if "running low on memory" in told:
        return "Ray ended it, as its machine ran low on memory"
    return shorten(told.splitlines()[-1] if told else type(error).__name__, 160)


def _unfit(duty: Duty, mark: Path | None, engine: str) -> str | None:
    """Why this machine cannot draw what the program asks for; None where it can."""
    shared = "put it on storage that every node mounts at the same path"
    if not (duty.benchmark.root / "benchmark.json").is_file():
        return f"the benchmark's folder {duty.benchmark.root} is not there: {shared}"
    if mark is not None and not mark.is_dir():
        return f"the picture pool {duty.pool} is not there, or another folder of that name: {shared}"
    own = engine_fingerprint(duty.device, dtype_name(duty.device))
    if own != engine:
        return f"it would draw other pictures ({own}; the program: {engine}): install the same versions"
    try:
        Pool(duty.pool).check()
        _try(duty.device)
    except ChatGenBenchError as error:
        return str(error)
    return None


def _try(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InfraError(f"device '{device}' cannot be used: {shorten(str(error), 100)}") from None
