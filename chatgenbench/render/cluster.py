"""The Ray cluster that a program draws on: reach it quietly, and say in one line why it cannot be reached.

Ray is imported here and in `ray_executor` only, and only when `--executor ray` is typed.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from chatgenbench.errors import UserError, shorten

#: Ray's own words kept off the terminal, its usage reports off, and the working folder not uploaded to the cluster.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # what its daemons tell every program of dead workers and nodes
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
#: Bytes for objects of a cluster that this program begins: what crosses it is small.
OBJECTS = 80 * 2**20
#: Seconds that the head of a cluster gets to answer.
ANSWER = 10.0

HOW = "begin one by `ray start --head`, join one by `ray start --address=HOST:PORT`, or type --ray-address local"
TOKEN = "copy ~/.ray/auth_token of its head here, and set RAY_AUTH_MODE=token"


@dataclass(frozen=True)
class Node:
    """One machine of the cluster that is alive, and what it has."""

    id: str
    address: str
    resources: dict[str, float]

    def count(self, resource: str) -> int:
        """How many whole ones it has, e.g. of "CPU" or "GPU"."""
        return int(self.resources.get(resource, 0))


def connect(address: str) -> None:
    """Be a driver of the cluster at `address` until the program ends; a connection that is there already is used.

    Args:
        address: "auto" (the cluster that this machine is a node of, or $RAY_ADDRESS), "HOST:PORT" of its head, or
            "local" (begin one on this machine, which ends with the program).

    Raises:
        UserError: Ray is not installed, or no cluster answers.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if address == "local":
        _lock()
    try:
        import ray
    except ImportError:
        raise UserError("--executor ray needs Ray: pip install 'chatgenbench[ray]'") from None
    if ray.is_initialized():
        return
    where = _found() if address == "auto" else address
    if where != "local":
        _knock(where)
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    own = {"include_dashboard": False, "object_store_memory": OBJECTS} if where == "local" else {}
    with _hushed() as said:
        try:
            ray.init(address=address, **quiet, **own)
        except Exception as error:  # Ray has no common class for what may go wrong here
            said.seek(0)
            raise UserError(_why_not(where, error, said.read())) from None


def _why_not(where: str, error: Exception, said: bytes) -> str:
    if b"AuthToken" in said:
        return f"the Ray cluster at {where} wants its token: {TOKEN}"
    what = "Ray could not be begun here" if where == "local" else f"no Ray cluster answers at {where}"
    return f"{what} ({shorten(str(error), 160)}): {HOW}"


@contextmanager
def _hushed() -> Iterator[IO[bytes]]:
    """Within it, what Ray's daemons and C++ write to standard error goes to a file, which is given."""
    with tempfile.TemporaryFile() as said:
        kept = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _lock() -> None:
    """Have a cluster that is about to begin here answer to this program alone, and leave no token at home."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def nodes() -> list[Node]:
    """The machines of the cluster that are alive."""
    import ray

    return [
        Node(found["NodeID"], found["NodeManagerAddress"], dict(found["Resources"]))
        for found in ray.nodes()
        if found["Alive"]
    ]


def device_of(wanted: str) -> str:
    """The kind of device that a connected cluster draws with: `auto` means GPUs where it has any.

    Raises:
        UserError: a device that no node has.
    """
    gpus = any(node.count("GPU") for node in nodes())
    if wanted == "auto":
        return "cuda" if gpus else "cpu"
    if wanted == "cuda" and not gpus:
        raise UserError("no node of the Ray cluster has a GPU: add one that has, or type --device cpu")
    if wanted not in ("cpu", "cuda"):
        raise UserError(f"device '{wanted}' cannot be used with --executor ray, which takes all GPUs: type cuda or cpu")
    return wanted


def _found() -> str:
    """HOST:PORT of the cluster that "auto" means: of $RAY_ADDRESS, or of the last that was begun or joined here."""
    from ray._private.services import canonicalize_bootstrap_address

    try:
        return str(canonicalize_bootstrap_address("auto"))
    except (ConnectionError, ValueError):
        raise UserError(f"no Ray cluster runs on this machine: {HOW}") from None


def _knock(address: str) -> None:
    """See that somebody listens at HOST:PORT: Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UserError(f"--ray-address '{shorten(address, 80)}' is neither auto nor local nor HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
    except OSError as error:
        raise UserError(f"no Ray cluster answers at {address} ({error.strerror or error}): {HOW}") from None
