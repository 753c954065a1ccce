"""A system that is a command of this machine: JSON lines on its standard input and output (see `messages`).

It is started once and asked a batch at a time.  When it ends, hangs or talks nonsense it is killed and started again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shlex
import signal
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.errors import UserError, shorten
from chatgenbench.schema import Demonstration, FreestyleInput
from chatgenbench.systems.answers import Reader
from chatgenbench.systems.protocol import Answered
from chatgenbench.systems.wire.careful import Careful, UnansweredError
from chatgenbench.systems.wire.messages import plan_request, prepare_request
from chatgenbench.systems.wire.settle import SAYS, quoted, settle

#: Bytes of one line, and how many times longer than others the first batch of a process may take: it loads a model.
MAX_LINE, FIRST = 4 * 1024 * 1024, 5
#: Seconds that a command gets to end by itself when there is nothing more to ask.
GRACE = 2.0
#: Files named in the command that are part of its revision, up to this size.
MAX_FILE = 64 * 1024 * 1024

T = TypeVar("T")


class CommandSystem:
    """`cmd:python my.py --flag`: no shell; words as a shell would split them.  `revision` follows the files it names.

    Args:
        timeout: seconds that one batch may take.

    Raises:
        UserError: no command.
    """

    def __init__(self, spec: str, benchmark: Benchmark, timeout: float) -> None:
        try:
            self._words = shlex.split(spec.partition(":")[2])
        except ValueError as error:
            raise UserError(f"'{shorten(spec, 80)}': {error}: mend the quotes") from None
        if not self._words:
            raise UserError("cmd: needs a command, such as 'cmd:python my.py'")
        self.name = Path(self._words[-1] if len(self._words) > 1 else self._words[0]).name
        self.revision = _revision(self._words)
        self._timeout, self._benchmark, self._reader = timeout, benchmark, Reader(benchmark.catalog)
        self._careful = Careful(f"the command '{shorten(' '.join(self._words), 80)}'", self._exchange)
        self._prepare: dict[str, Any] = {}
        self._runner: asyncio.Runner | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._errors: asyncio.Task[str] | None = None
        self._fresh = True

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        self._prepare = {"prepare": prepare_request(catalog, train, self._benchmark.train_inputs)}
        self._run(self._start())

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Answered]:
        return self._careful.plan(inputs)

    def close(self) -> None:
        """End the command, and everything it started; it has `GRACE` seconds to see that its input ended."""
        if self._runner is not None:
            self._run(self._end(GRACE))
            self._runner.close()
            self._runner = None

    def _run(self, what: Any) -> Any:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(what)

    async def _start(self) -> None:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._words, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=MAX_LINE, start_new_session=True
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise UserError(f"the command '{shorten(self._words[0], 80)}' cannot be started: {why}") from None
        self._errors = asyncio.create_task(_last_line(self._process))
        self._fresh = True

    async def _end(self, grace: float = 0) -> str:
        """Kill the process and its children; returns how it ended and the last line of its standard error."""
        process, errors = self._process, self._errors
        self._process = self._errors = None
        if process is None or errors is None:
            return "it was not running"
        if process.stdin is not None:
            process.stdin.close()
        await _within(grace, process.wait())
        code = process.returncode
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        line = await _within(5, errors)
        process._transport.close()  # type: ignore[attr-defined]  # a child of its own group may still hold the pipes
        await asyncio.sleep(0)  # they are closed in the next round of the loop, which may be its last
        said = f", saying {quoted(line)}" if line else ""
        return f"it ended with code {code}{said}" if code is not None else f"it was killed{said}"

    def _exchange(self, inputs: Sequence[FreestyleInput]) -> list[Answered]:
        return settle(inputs, self._run(self._answers(inputs)), self._reader)

    async def _answers(self, inputs: Sequence[FreestyleInput]) -> list[dict[str, Any]]:
        """The first answer to each input; UnansweredError, with the process ended, if one does not come."""
        if self._process is None:
            await self._start()
        seconds = self._timeout * (FIRST if self._fresh else 1)
        try:
            async with asyncio.timeout(seconds):
                return await self._talk(inputs)
        except TimeoutError:
            raise UnansweredError(f"no answer within {seconds:g} s: {await self._end()}") from None
        except (ConnectionError, EOFError):
            raise UnansweredError(await self._end(GRACE)) from None  # so that its exit code is known
        except UnansweredError as error:
            raise UnansweredError(f"{error}: {await self._end()}") from None
        except BaseException:  # Ctrl-C above all: what was half said must not be taken for the next answer
            await self._end()
            raise

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    async def _talk(self, inputs: Sequence[FreestyleInput]) -> list[dict[str, Any]]:
        writing = asyncio.create_task(self._write(inputs))
        try:
            waiting, found = {chat.id for chat in inputs}, []
            while waiting:
                answer = await self._read(len(inputs) == 1)
                if answer.get("id") is None and len(inputs) == 1:
                    answer["id"] = inputs[0].id
                if answer.get("id") in waiting:
                    waiting.discard(answer["id"])
                    found.append(answer)
            await writing
            self._fresh = False
            return found
        finally:
            writing.cancel()
            with suppress(BaseException):
                await writing

    async def _write(self, inputs: Sequence[FreestyleInput]) -> None:
        pipe = self._running().stdin
        assert pipe is not None
        lines = [self._prepare] if self._fresh else []
        for chat in inputs:
            request = plan_request([chat], self._benchmark.root)
            lines.append({"input": request["inputs"][0], "pictures": request["pictures"]})
        with suppress(ConnectionError):  # whoever reads sees that the process is gone
            for line in lines:
                pipe.write(json.dumps(line).encode() + b"\n")
                await pipe.drain()

    async def _read(self, alone: bool) -> dict[str, Any]:
        """The next line that is an answer; others, such as a library's greetings, are passed over."""
        pipe = self._running().stdout
        assert pipe is not None
        while True:
            try:
                line = await pipe.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                raise EOFError from None
            except asyncio.LimitOverrunError:
                raise UnansweredError(f"too-long: a line of more than {MAX_LINE // 2**20} MB") from None
            value: Any = None
            with suppress(ValueError, RecursionError):
                value = json.loads(line)
            if not isinstance(value, dict):
                continue
            if isinstance(value.get("id"), str) or (alone and any(name in value for name in (*SAYS, "prompt"))):
                return value
            if any(name in value for name in SAYS):
                raise UnansweredError(f"an answer without id ({quoted(line[:200].decode('utf-8', 'replace'))})")


async def _within(seconds: float, what: Awaitable[T]) -> T | None:
    """What it comes to within so many seconds, else None."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await what
    return None


async def _last_line(process: asyncio.subprocess.Process) -> str:
    """The last line that a process wrote to its standard error, once it has ended."""
    assert process.stderr is not None
    end = b""
    while piece := await process.stderr.read(1 << 16):
        end = (end + piece)[-4096:]
    return (end.decode("utf-8", "replace").strip().splitlines() or [""])[-1]


def _revision(words: Sequence[str]) -> str:
    """Digest of the command's words and of the files among them."""
    digest = hashlib.sha256(json.dumps(list(words)).encode())
    for word in words:
        with suppress(OSError, ValueError):
            path = Path(word)
            if path.is_file() and path.stat().st_size <= MAX_FILE:
                digest.update(path.read_bytes())
    return digest.hexdigest()
