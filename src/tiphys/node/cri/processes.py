"""The first processes of containers and sandboxes, as containerd's events tell of them.

containerd sends signals by a program of the OCI runtime, some 10 ms of processor time a time with
what it and its shim do for that; a handle of the process (pidfd) does it in none, and cannot mean
another process of the same number.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Annotated

import msgspec

from tiphys.api.base import F, Int32, Struct
from tiphys.machinery import protobuf

_PROC = Path("/proc")
_STARTED, _ENDED, _DELETED = "/tasks/start", "/tasks/exit", "/tasks/delete"
_OUT_OF_MEMORY = "/tasks/oom"


class _Payload(Struct):
    type_url: Annotated[str, F(1)] = ""
    value: Annotated[bytes, F(2)] = b""


class _Envelope(Struct):
    topic: Annotated[str, F(3)] = ""
    event: Annotated[_Payload | None, F(4)] = None


class _Start(Struct):
    container_id: Annotated[str, F(1)] = ""
    pid: Annotated[Int32, F(2)] = 0


class _Deletion(Struct):
    """`id` is that of a command that was executed in the container; "" or the container's own for
    its first process."""

    container_id: Annotated[str, F(1)] = ""
    id: Annotated[str, F(5)] = ""


class Processes:
    """Those whose start was seen, by the id of their container or sandbox.

    Only processes of ids that are trusted get signals: a runtime may have started a machine, whose
    process is not the container's.
    """

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc
        self._handles: dict[str, int] = {}
        self._trusted: set[str] = set()
        self._signalled: set[str] = set()  # ids that have got a signal and are not gone yet
        self._awaited: dict[str, asyncio.Event] = {}  # by ids whose deletion is waited for

    def observe(self, envelope: bytes) -> bool:
        """Takes note of an event of containerd, as it came. Whether a task has ended."""
        try:
            read = protobuf.decode(envelope, _Envelope)
            payload = read.event.value if read.event is not None else b""
            if read.topic == _STARTED:
                start = protobuf.decode(payload, _Start)
                self._started(start.container_id, start.pid)
            elif read.topic == _DELETED:
                deletion = protobuf.decode(payload, _Deletion)
                if deletion.id in ("", deletion.container_id):
                    self.forget(deletion.container_id)
        except (ValueError, msgspec.MsgspecError):
            return True  # not understood: a look is due
        return read.topic in (_ENDED, _OUT_OF_MEMORY)

    def _started(self, id: str, pid: int) -> None:
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(pid)
            if self._is_of(id, pid):
                self._release(id)
                self._handles[id] = handle
            else:  # it has ended, and its number may be another's by now
                os.close(handle)

    def _is_of(self, id: str, pid: int) -> bool:
        """Whether a process is in the control group of a container."""
        try:
            return id in (self._proc / str(pid) / "cgroup").read_text()
        except OSError:
            return False

    def _release(self, id: str) -> None:
        handle = self._handles.pop(id, None)
        if handle is not None:
            os.close(handle)

    def trust(self, id: str) -> None:
        """The process of this id is the container's own."""
        self._trusted.add(id)

    def adopt(self, id: str, pid: int) -> None:
        """Takes note of a process whose start was not seen, and trusts it."""
        self._started(id, pid)
        if id in self._handles:
            self.trust(id)

    def trusts(self, id: str) -> bool:
        return id in self._trusted

    def forget(self, id: str) -> None:
        """The container is gone."""
        self._trusted.discard(id)
        self._release(id)
        self._signalled.discard(id)
        if (awaited := self._awaited.pop(id, None)) is not None:
            awaited.set()

    def knows(self, id: str) -> bool:
        """Whether `send` sends something."""
        return id in self._handles and id in self._trusted

    def send(self, id: str, number: int) -> bool:
        """Sends the process a signal. False if it is not known."""
        if not self.knows(id):
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handles[id], number)
        return True

    async def end(self, id: str, number: int, patience: float) -> bool:
        """Sends the process a signal, if it is known, and waits for containerd to have deleted its
        task, for `patience` seconds at most, or until `close`. Whether that has happened.

        Of signals that a process may answer it gets the first alone, as containerd does: some take
        a second one for an order to hurry.
        """
        if not self.knows(id):
            return False
        if id not in self._signalled or number == signal.SIGKILL:
            self.send(id, number)
            self._signalled.add(id)
        deleted = self._awaited.setdefault(id, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await deleted.wait()
        return id not in self._signalled

    def close(self) -> None:
        """Lets go of all handles: of what happens from now on nothing is heard."""
        for id in list(self._handles):
            self._release(id)
        for awaited in self._awaited.values():
            awaited.set()
        self._awaited.clear()
