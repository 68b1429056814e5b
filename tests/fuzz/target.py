"""The server that is attacked, seen from outside: its process, its log, its metrics."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import re
import resource as resources
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tests.fuzz.connections import Answer, connect, read_answer
from tiphys.api.catalog import RESOURCES
from tiphys.client.config import load

T = TypeVar("T")
ANSWER = 70.0  # seconds for an answer: a server's own limit, and some,
_ENOUGH = 20.0  # of which it has had so many for itself, or
_AT_LAST = 600.0  # whatever others have had meanwhile
LONGEST_HOLD = 0.05  # seconds of the loop's processor time
# one of these is a failure at once; a machine that others use gives us the lesser ones now and then
_WORST_HOLD = 0.1
_FEW = 3
_REQUESTS_FOR_FEW = 20_000  # so many requests may come upon so few lesser holds
MOST_MEMORY = 700 << 20
_LOOKS = 35  # a second apart: memory goes back when the server has been calm for half a minute
# Everything is looked at for cycles when hardly anybody asks, as docs/next.md has it: no request's
# fault.
_COLLECTION = re.compile(r"event loop was held for \d+ ms by MemoryTrimmer")
_TRIES = 3  # of our own questions
_GZIP = b"\x1f\x8b"  # what it begins with
# What the server needs.
_KEPT = ("namespaces", "clusterroles", "clusterrolebindings", "flowschemas")


class Broken(AssertionError):
    """What the server did wrong."""


class Target:
    """A server in a process of its own. `tls` are its administrator's and those of jane, who may
    do nothing."""

    def __init__(self) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
        )
        assert self.process.stdout is not None
        said = json.loads(self.process.stdout.readline())
        self.port, root = said["port"], Path(said["root"])
        users = ("kubernetes-admin", "jane")
        self.tls: list[ssl.SSLContext] = [
            load(root / f"{user}.kubeconfig").ssl_context() for user in users
        ]

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(60)
        self.process.kill()

    def written(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def memory(self) -> int:
        """Bytes of the process in memory, without asking the server itself."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * resources.getpagesize()

    async def settled_memory(self, seconds: float) -> int:
        """The least memory that is seen before it has not shrunk for a while, or time is up."""
        least, unchanged = self.memory(), 0
        async with asyncio.timeout(seconds + 1):
            for _ in range(int(seconds)):
                if unchanged >= _LOOKS:
                    break
                await asyncio.sleep(1)
                memory = self.memory()
                unchanged = unchanged + 1 if memory > 0.98 * least else 0
                least = min(least, memory)
        return least

    async def blocks(self) -> int:
        """Blocks of memory that the server's objects are in."""
        page = await self._metrics()
        found = re.search(r"^tiphys_python_allocated_blocks (\S+)", page, re.M)
        return int(float(found[1])) if found else 0

    async def in_time(self, answer: Coroutine[Any, Any, T]) -> T:
        """What is awaited. Raises TimeoutError after `ANSWER` seconds in which the server could
        have answered: where others leave it no processor time, it gets longer."""
        task = asyncio.ensure_future(answer)
        began, worked = time.monotonic(), self._worked()
        try:
            while not (await asyncio.wait([task], timeout=ANSWER))[0]:
                if self._worked() - worked > _ENOUGH or time.monotonic() - began > _AT_LAST:
                    raise TimeoutError
            return task.result()
        finally:
            task.cancel()

    def _worked(self) -> float:
        """Seconds of processor time that the process has had."""
        numbers = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")

    # --- what it says of itself ---

    async def _metrics(self) -> str:
        """The page as monitoring asks for it, or "": compressed, it takes a fiftieth of the
        memory."""
        page = await self.ask("GET", "/metrics", "Accept-Encoding: gzip\r\n")
        return gzip.decompress(page).decode() if page.startswith(_GZIP) else page.decode()

    async def ask(self, method: str, path: str, header: str = "") -> bytes:
        """The body of an answer to the administrator. On a machine where others leave nothing, a
        request may come too late: it is sent again."""
        for _ in range(_TRIES):
            code, body = await self._asked(method, path, header)
            if code not in (429, 503, 504):
                break
        return body

    async def _asked(self, method: str, path: str, header: str) -> tuple[int, bytes]:
        answer = await self.in_time(self._answer(f"{method} {path}", header))
        return answer.code, answer.body

    async def _answer(self, line: str, header: str) -> Answer:
        reader, writer = await connect(self.port, self.tls[0])
        try:
            writer.write(f"{line} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n".encode())
            return await read_answer(reader)
        finally:
            writer.transport.abort()

    async def warm_up(self) -> None:
        """Asks once for what takes memory for good: the documents, and every type."""
        for resource in RESOURCES:
            if "list" in resource.verbs:
                await self.ask("GET", resource.path())
        for path in ("/openapi/v2", "/openapi/v3", "/apis"):
            await self.ask("GET", path)

    async def delete_everything(self) -> None:
        for resource in RESOURCES:
            if "deletecollection" not in resource.verbs or resource.plural in _KEPT:
                continue
            for namespace in ("default", "kube-system") if resource.namespaced else ("",):
                path = resource.path(namespace)
                await self.ask("DELETE", f"{path}?gracePeriodSeconds=0")

    # --- whether it is well ---

    def check_life(self) -> None:
        """Raises Broken where the process is gone, its log has a traceback, or it is too large."""
        said = self.written()
        if "Traceback" in said or self.process.poll() is not None:
            at = said.find("Traceback")
            raise Broken(said[max(at - 300, 0) :][:4000])
        if self.memory() > MOST_MEMORY:
            raise Broken(f"{self.memory() / 2**20:.0f} MiB of memory")

    async def check_holds(self, requests: int) -> None:
        """Raises Broken where something has held the event loop, in so many requests."""
        said = self.written()
        holds = (await self._buckets())["hold"]
        if not holds:
            return  # no page came in time, on a machine where others leave nothing: there is a next
        excused = len(_COLLECTION.findall(said))
        held = holds["+Inf"] - holds[str(LONGEST_HOLD)] - excused
        worst = holds["+Inf"] - holds[str(_WORST_HOLD)] - excused
        if worst <= 0 and held <= max(_FEW, _FEW * requests // _REQUESTS_FOR_FEW):
            return
        warnings = [part for part in said.split("WARNING:") if "event loop was held" in part]
        page = await self._metrics()
        longest = re.findall(r"longest_hold_seconds(\{.*)", page)
        raise Broken(f"the loop was held: {longest} {holds}\n" + "\n".join(warnings[-3:])[:6000])

    async def holds(self) -> str:
        """How long the loop was held, by its processor time and by the clock."""
        told = []
        for name, rows in (await self._buckets()).items():
            if not rows:
                continue
            longer = {le: rows["+Inf"] - rows[le] for le in ("0.025", "0.05", "0.1")}
            told.append(f"{name} " + ", ".join(f"{n:.0f} over {le} s" for le, n in longer.items()))
        return "; ".join(told)

    async def _buckets(self) -> dict[str, dict[str, float]]:
        """hold and lateness → upper bound → how many."""
        page = await self._metrics()
        found: dict[str, dict[str, float]] = {"hold": {}, "lateness": {}}
        rows = re.findall(r'tiphys_event_loop_(\w+)_seconds_bucket\{le="([^"]*)"\} (\S+)', page)
        for name, bound, count in rows:
            found[name][bound] = float(count)
        return found
