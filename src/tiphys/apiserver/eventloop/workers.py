"""Worker processes: where work goes that would hold the event loop.

They start when they are needed and end when they are not.

A thread would not do: while one computes, the loop waits up to 5 ms for the interpreter before each
of its callbacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys

import msgspec

from tiphys.apiserver.eventloop import worker
from tiphys.apiserver.http.request import Document
from tiphys.machinery import errors

log = logging.getLogger(__name__)

SMALL = 2048  # bytes of YAML that are read at once: 1 ms or two
_SMALL_OUTPUT = 4096  # bytes of JSON that are written as YAML at once
_SMALL_INDENTED = 128 << 10  # bytes of JSON that are indented at once: it takes 3 ms for 100 kB
_MOST = 2  # processes
_PATIENCE = 50.0  # seconds that a job may take by the clock: on a busy machine it waits for others
_IDLE = 60.0  # seconds after which a process without work ends
_ENDING = 2.0  # seconds for a process to be gone that has closed its output
_BUFFER = 1 << 20


class Workers:
    """The pool of one server."""

    def __init__(self) -> None:
        self._free: list[asyncio.subprocess.Process] = []
        self._seats = asyncio.Semaphore(_MOST)
        self._idle: asyncio.TimerHandle | None = None

    async def run(self, kind: int, data: bytes) -> tuple[int, bytes]:
        """(state, output) of a job, see `worker`.

        Raises 504 when it takes too long, 500 when the process dies of it.
        """
        async with self._seats:
            process = self._free.pop() if self._free else await self._started()
            try:
                async with asyncio.timeout(_PATIENCE):
                    answer = await _exchange(process, kind, data)
            except TimeoutError:
                await _ended(process)
                raise errors.timeout("Timeout: the body took too long to be read") from None
            except (OSError, asyncio.IncompleteReadError):
                await _ended_by_itself(process)
                if process.returncode == -worker.EXHAUSTED:
                    raise errors.timeout("Timeout: the body took too long to be read") from None
                raise errors.internal("the process that was to read the body ended") from None
            except BaseException:
                process.kill()  # nothing waits for its job any more
                raise
            self._free.append(process)
            self._end_idle_later()
            return answer

    @staticmethod
    async def _started() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tiphys.apiserver.eventloop.worker",
            limit=_BUFFER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )

    def _end_idle_later(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(_IDLE, self._end_idle)

    def _end_idle(self) -> None:
        for process in self._free:
            if process.stdin is not None:
                process.stdin.close()  # it reads the end, and ends
        self._free.clear()

    async def close(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        for process in self._free:
            await _ended(process)
        self._free.clear()

    # --- jobs ---

    async def document(self, data: bytes) -> Document:
        """A body in YAML."""
        if len(data) <= SMALL:
            state, output = worker.done(worker.READ_YAML, data)
        else:
            state, output = await self.run(worker.READ_YAML, data)
        if state:
            return Document(error=output.decode())
        value, problems = msgspec.json.decode(output, type=tuple[msgspec.Raw, list[str]])
        return Document(bytes(value), problems)

    async def judge_definition(self, data: bytes) -> tuple[list[tuple[str, str, str]], list[str]]:
        """(reason, field and message of each error, warnings) on a CustomResourceDefinition in
        JSON.
        """
        output = (await self.run(worker.JUDGE_DEFINITION, data))[1]
        return msgspec.json.decode(output, type=tuple[list[tuple[str, str, str]], list[str]])

    async def to_yaml(self, data: bytes) -> bytes:
        """JSON as YAML."""
        if len(data) <= _SMALL_OUTPUT:
            return worker.write_yaml(data)
        return (await self.run(worker.WRITE_YAML, data))[1]

    async def indented(self, data: bytes) -> bytes:
        """JSON as people read it: two spaces a level."""
        if len(data) <= _SMALL_INDENTED:
            return worker.indent(data)
        return (await self.run(worker.INDENT, data))[1]


async def _exchange(
    process: asyncio.subprocess.Process, kind: int, data: bytes
) -> tuple[int, bytes]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(worker.HEAD.pack(kind, len(data)))
    process.stdin.write(data)
    await process.stdin.drain()
    state, length = worker.HEAD.unpack(await process.stdout.readexactly(worker.HEAD.size))
    return state, await process.stdout.readexactly(length)


async def _ended_by_itself(process: asyncio.subprocess.Process) -> None:
    """Waits for one that has closed its output. `kill` looks for its exit status first, and whoever
    waits for it does not get to know it then."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ENDING):
            await process.wait()
    await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
