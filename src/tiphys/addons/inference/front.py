"""Stands before the server in a pod: lets through as many requests at a time as the server takes,
records them, and has long prompts read by another server first. The program of a container beside
the server, with the standard library alone.

It is configured by its environment: FRONT is JSON of `Plan`; AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY are for what it records.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from tiphys.addons.inference.capturing import Body, Capture, Recorder
from tiphys.addons.inference.loading import Bucket
from tiphys.addons.inference.prefilling import Prefill, long_prompt, to_decode, to_prefill
from tiphys.addons.inference.wire import (
    Head,
    Malformed,
    asked,
    pieces,
    read_body,
    read_head,
    read_to_end,
)

_HEAD = 64 << 10  # bytes of a head
_IDLE = 75.0  # seconds that a connection may wait for its next request
_SLOW = 60.0  # seconds that a client may take to send one
_LONGEST = 3600.0  # seconds of an answer


@dataclass(frozen=True)
class Limits:
    """So many requests at a time, so many that wait, and what the rest get."""

    most: int
    queue: int = 0
    status: int = 429


@dataclass(frozen=True)
class Plan:
    """`server` is the server's port. `health` is let through always."""

    port: int
    server: int
    health: str = "/ping"
    limits: Limits | None = None
    capture: Capture | None = None
    s3_endpoint: str = ""
    region: str = "us-east-1"
    prefill: Prefill | None = None


def plan_of(text: str) -> Plan:
    """What `dataclasses.asdict` made of one, as JSON."""
    fields = json.loads(text)
    for name, kind in (("limits", Limits), ("capture", Capture), ("prefill", Prefill)):
        fields[name] = kind(**fields[name]) if fields.get(name) else None
    return Plan(**fields)


class Overflow(Exception):
    """There are as many requests as there may be."""


class Gate:
    def __init__(self, limits: Limits) -> None:
        self._turns = asyncio.Semaphore(limits.most)
        self._queue = limits.queue
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises Overflow."""
        if self._turns.locked() and self._waiting >= self._queue:
            raise Overflow
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()


class Front:
    def __init__(self, plan: Plan, recorder: Recorder | None = None) -> None:
        self._plan = plan
        self._recorder = recorder
        self._gate = Gate(plan.limits) if plan.limits else None

    async def serve(self, host: str | None = None) -> asyncio.Server:
        return await asyncio.start_server(self._connected, host, self._plan.port, limit=_HEAD)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._request(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass  # the client is gone, or too slow
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether another one may follow."""
        try:
            async with asyncio.timeout(_IDLE):
                head = await read_head(reader)
            if head is None:
                return False
            if head.get("expect").lower() == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            async with asyncio.timeout(_SLOW):
                body = await read_body(reader, head)
        except Malformed as error:
            await _refuse(writer, error.status, str(error))
            return False
        try:
            async with self._turn(head):
                if reader.at_eof():
                    return False  # the client left while it waited
                async with asyncio.timeout(_LONGEST):
                    return await self._forward(head, body, writer)
        except Overflow:
            assert self._plan.limits is not None
            await _refuse(writer, self._plan.limits.status, "too many requests", head.keeps_alive)
            return head.keeps_alive

    def _turn(self, head: Head) -> Any:
        is_health = head.first[1].partition("?")[0] == self._plan.health
        if self._gate is None or is_health:
            return contextlib.nullcontext()
        return self._gate.turn()

    async def _forward(self, head: Head, body: bytes, writer: asyncio.StreamWriter) -> bool:
        sent = body
        if self._plan.prefill is not None and head.first[0] == "POST":
            sent = await self._prefilled(self._plan.prefill, head, body)
        recorder = self._recorder if head.first[0] == "POST" else None
        if recorder is not None and not recorder.wants():
            recorder = None
        has_begun = False
        try:
            async with asked("127.0.0.1", self._plan.server, head, sent) as (answer, reader):
                has_begun = True
                most = recorder.most if recorder is not None else 0
                kept = await _pass_on(answer, reader, writer, head, most)
        except (OSError, Malformed, asyncio.IncompleteReadError) as error:
            if not has_begun:
                await _refuse(writer, 502, f"the server does not answer: {error}")
            return False
        if recorder is not None:
            request = Body(body, head.get("content-type"))
            recorder.record(request, Body(kept, answer.get("content-type")))
        return head.keeps_alive

    async def _prefilled(self, prefill: Prefill, head: Head, body: bytes) -> bytes:
        """The body for the server here. It reads the prompt itself where there is no prefill
        server."""
        request = long_prompt(body, prefill.threshold)
        if request is None:
            return body
        try:
            async with asked(prefill.host, prefill.port, head, to_prefill(request)) as exchange:
                answer, reader = exchange
                prefill_answer = await read_to_end(reader, answer, "POST")
            if answer.first[1] != "200":
                raise OSError(f"{answer.first[1]} {prefill_answer[:200].decode(errors='replace')}")
        except (OSError, Malformed, asyncio.IncompleteReadError) as error:
            print(f"not prefilled by {prefill.host}: {error}", file=sys.stderr, flush=True)
            return body
        return to_decode(request, prefill_answer) or body


async def _pass_on(
    answer: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: Head, most: int
) -> bytes:
    """Returns the first `most` bytes of the body. It goes out in chunks where its length is not
    known."""
    length = answer.get("content-length")
    has_none = head.first[0] == "HEAD" or answer.first[1] in ("204", "304")
    is_chunked = not (length or has_none or head.is_old)
    more = [("Content-Length", length)] if length else []
    if is_chunked:
        more.append(("Transfer-Encoding", "chunked"))
    if not head.keeps_alive:
        more.append(("Connection", "close"))
    answer.first = ("HTTP/1.1", *answer.first[1:])
    writer.write(answer.encoded(*more))
    kept = bytearray()
    async for piece in pieces(reader, answer, head.first[0]):
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
        await writer.drain()
        kept += piece[: most - len(kept)] if len(kept) < most else b""
    if is_chunked:
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    return bytes(kept)


async def _refuse(
    writer: asyncio.StreamWriter, status: int, message: str, keeps_alive: bool = False
) -> None:
    body = json.dumps({"error": message}).encode()
    first = ("HTTP/1.1", str(status), "Refused")
    more = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if not keeps_alive:
        more.append(("Connection", "close"))
    writer.write(Head(first).encoded(*more) + body)
    await writer.drain()


def recorder_of(plan: Plan, env: Mapping[str, str]) -> Recorder | None:
    """None where nothing is recorded."""
    if plan.capture is None:
        return None
    bucket = Bucket(
        plan.s3_endpoint,
        plan.capture.bucket,
        plan.region,
        env.get("AWS_ACCESS_KEY_ID", ""),
        env.get("AWS_SECRET_ACCESS_KEY", ""),
    )
    return Recorder(plan.capture, bucket, socket.gethostname(), time.time)


async def main(env: Mapping[str, str]) -> None:
    """Until SIGTERM; then what was recorded is written."""
    plan = plan_of(env["FRONT"])
    recorder = recorder_of(plan, env)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, recorder.end if recorder is not None else ended.set)
    async with await Front(plan, recorder).serve():
        await (recorder.run() if recorder is not None else ended.wait())


if __name__ == "__main__":
    asyncio.run(main(os.environ))
