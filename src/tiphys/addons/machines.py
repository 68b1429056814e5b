"""Real machines for add-ons that make nodes: sandboxes with a containerd and a node's process of
their own, on the machine of the cluster.

The supervisor makes them (`tiphys.cluster.machines`), for processes that may open its socket. A
request and its answer are a line of JSON each, and a connection has one of both.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import msgspec

from tiphys.api import core_v1

LONGEST = 1 << 20  # bytes of a request
_PATIENCE = 180.0  # seconds for an answer: a machine that goes first ends its containers


class MachineError(Exception):
    """It is not available; the text is the reason, for the user."""


class Machine(msgspec.Struct):
    """What a node is to be. `name` is the node's, `capacity` in canonical quantities, `reserved`
    for the node's own agents in units of `footprint`."""

    name: str
    provider_id: str = ""
    labels: dict[str, str] = {}
    taints: list[core_v1.Taint] = []
    capacity: dict[str, str] = {}
    reserved: dict[str, int] = {}


class Request(msgspec.Struct):
    """`make` answers once there is a place for the machine, which then comes up; one of the same
    name is left as it is. `end` answers when nothing of it is left, or there never was one."""

    verb: Literal["make", "end", "list"]
    machine: Machine


class Answer(msgspec.Struct):
    """`problem` is empty where there is none. `names` are of the machines that there are."""

    problem: str = ""
    names: list[str] = []


class Machines:
    """`socket` is the supervisor's."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def make(self, machine: Machine) -> None:
        """Raises MachineError."""
        await self._ask(Request("make", machine))

    async def end(self, name: str) -> None:
        """Raises MachineError."""
        await self._ask(Request("end", Machine(name)))

    async def names(self) -> list[str]:
        """Of the machines that there are. Raises MachineError."""
        return (await self._ask(Request("list", Machine("")))).names

    async def _ask(self, request: Request) -> Answer:
        try:
            async with asyncio.timeout(_PATIENCE):
                line = await self._exchange(msgspec.json.encode(request) + b"\n")
            answer = msgspec.json.decode(line, type=Answer)
        except (OSError, TimeoutError, msgspec.DecodeError) as error:
            raise MachineError(f"the supervisor did not answer: {error!r}") from None
        if answer.problem:
            raise MachineError(answer.problem)
        return answer

    async def _exchange(self, line: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()
