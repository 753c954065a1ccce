"""A real Ray cluster of two nodes on this machine, each with one GPU that is declared and not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chatgenbench.render.cluster import ENVIRONMENT, OBJECTS

#: A dead node is noticed after seconds, though not so soon that a busy one is taken for dead; and Ray does not end
#: workers because something else has filled this machine's memory.
WATCH = {
    "health_check_initial_delay_ms": 2000, "health_check_period_ms": 1000, "health_check_failure_threshold": 5,
    "memory_monitor_refresh_ms": 0,
}  # fmt: skip
NODE = {"num_cpus": 2, "num_gpus": 1, "object_store_memory": OBJECTS, "include_dashboard": False}


@contextmanager
def cluster() -> Iterator[Any]:
    """`ray.cluster_utils.Cluster`; this process is not connected to it."""
    os.environ.update(ENVIRONMENT)
    from ray.cluster_utils import Cluster

    # a folder of its own: what Ray keeps under /tmp/ray tells other programs which cluster is meant by "auto"
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        whole = Cluster(initialize_head=True, head_node_args={**NODE, "temp_dir": folder, "_system_config": WATCH})
        try:
            whole.add_node(**NODE)
            yield whole
        finally:
            whole.shutdown()
