"""Attacks a server in another process over many connections: python -m tests.fuzz.sockets --minutes
5 [--seed N]

What must hold: no answer of 500, no traceback in the log, nothing that holds the event loop (by its
processor time: the machine may be others'), memory that comes back, and a server that still
answers. The first broken rule ends the run; the seed makes the same requests again.

Memory is judged against what the server has after a first, small attack and a calm: by then the
types, validators and documents of all resources have been made, which stay. Later attacks must not
leave more, however long they are.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzz.bytes import Attacker
from tiphys.api.catalog import RESOURCES
from tiphys.client.config import load

_SKIPPED = (
    "customresourcedefinitions",
    "apiservices",
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "mutatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicybindings",
    "flowschemas",
    "prioritylevelconfigurations",
)
LONGEST_HOLD = 0.05  # seconds of the loop's processor time
# one of these is a failure at once; a machine that others use gives us the lesser ones now and then
_WORST_HOLD = 0.1
_FEW = 3
MOST_MEMORY = 700 << 20
_MOST_AFTER = 1.25  # times the memory after the first attack
_FIRST = 3000  # requests of it
_LOOKS = 35  # a second apart: memory goes back when the server has been calm for half a minute
# Seconds: the past five minutes are kept as events, what was deleted among them, and a busy machine
# adds some.
_MEMORY_RETURNS = 420.0
# What the server needs, or what has nothing to do with its memory.
_KEPT = ("namespaces", "clusterroles", "clusterrolebindings", *_SKIPPED)
_CONNECTIONS = 12
_ANSWER = 70.0  # seconds for an answer: a server's own limit, and some
# Everything is looked at for cycles when hardly anybody asks, as docs/next.md has it: no request's
# fault.
_COLLECTION = re.compile(r"event loop was held for \d+ ms by MemoryTrimmer")
_TRIES = 3  # of our own questions
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)", re.I)


class Broken(AssertionError):
    """What the server did wrong."""


class Target:
    """The server's process, and who may ask it."""

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
        try:
            self.process.wait(20)
        finally:
            self.process.kill()

    def written(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace")


async def _answer(reader: asyncio.StreamReader, bodiless: bool = False) -> tuple[int, bytes]:
    """(status, body) of one answer; `bodiless`: to HEAD."""
    head = await reader.readuntil(b"\r\n\r\n")
    found = _STATUS.match(head)
    if found is None:
        raise Broken(f"no answer of HTTP: {head[:100]!r}")
    code, length = int(found[1]), _LENGTH.search(head)
    if bodiless or code in (204, 304):
        return code, b""
    if length is not None:
        return code, await reader.readexactly(int(length[1]))
    if b"chunked" not in head.lower():
        return code, b""
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return code, body


class Run:
    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.codes: Counter[int] = Counter()
        self.unserved: Counter[str] = Counter()  # what was answered with 503 and 504
        self.sent = 0
        self.holds = ""
        self.fresh = 0  # bytes of memory before any attack
        self.idle = 0  # and after the first
        resources = [r for r in RESOURCES if r.plural not in _SKIPPED or seed % 2]
        self.after = 0  # bytes of memory after all
        self.attackers = [
            Attacker(resources, seed * 1000 + number) for number in range(_CONNECTIONS)
        ]

    async def warm_up(self) -> None:
        """Asks once for what takes memory for good: the documents, and every type."""
        for resource in RESOURCES:
            if "list" in resource.verbs:
                await self._ask("GET", resource.path())
        for path in ("/openapi/v2", "/openapi/v3", "/apis"):
            await self._ask("GET", path)
        self.fresh = await self._memory()

    async def first_attack(self, until: float, requests: int) -> None:
        """Has made what is made once, and takes the memory after it as what is to be kept."""
        await self.go(until, min(_FIRST, requests))
        await self._delete_everything()
        self.idle = await self._settled()

    async def _settled(self) -> int:
        """The least memory that is seen before it has not shrunk for a while, or time is up."""
        until = time.monotonic() + _MEMORY_RETURNS
        least = await self._memory()
        unchanged = 0
        while unchanged < _LOOKS and time.monotonic() < until:
            await asyncio.sleep(1)
            memory = await self._memory()
            unchanged = unchanged + 1 if memory > 0.98 * least else 0
            least = min(least, memory)
        return least

    async def go(self, until: float, requests: int) -> None:
        """Attacks until a time (monotonic) or a number of requests. Raises Broken."""

        async def work(attacker: Attacker) -> None:
            while time.monotonic() < until and self.sent < requests:
                await self._connection(attacker, until, requests)

        watching = asyncio.ensure_future(self._watch())
        working = asyncio.gather(*(work(attacker) for attacker in self.attackers))
        done, rest = await asyncio.wait([watching, working], return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Broken):
                await task
        for task in done:
            task.result()
        await self._look()

    async def _connection(self, attacker: Attacker, until: float, requests: int) -> None:
        tls = self.target.tls[attacker.chance.random() < 0.1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.target.port, ssl=tls, server_hostname="localhost", limit=1 << 26
        )
        try:
            for _ in range(200):
                if time.monotonic() > until or self.sent >= requests:
                    return
                data, answered = attacker.next()
                self.sent += 1
                writer.write(data)
                if not answered:
                    return
                async with asyncio.timeout(_ANSWER):
                    code, body = await _answer(reader, data.startswith(b"HEAD"))
                self.codes[code] += 1
                if code in (503, 504):
                    self.unserved[f"{code} {attacker.told[:160]}"] += 1
                if code == 500:
                    raise Broken(f"500: {body[:300]!r} to {attacker.told}")
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            self.codes[0] += 1  # the server has ended the connection, as it may
        except TimeoutError:
            raise Broken(f"no answer to {attacker.told}") from None
        finally:
            writer.transport.abort()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(2)
            await self._look()

    async def _look(self) -> None:
        """The server's health, from its own metrics and its log."""
        said = self.target.written()
        if "Traceback" in said or self.target.process.poll() is not None:
            at = said.find("Traceback")
            raise Broken(said[max(at - 300, 0) :][:4000])
        numbers = await self.metrics()
        buckets = {
            le: n for name, le, n in numbers if name == "tiphys_event_loop_hold_seconds_bucket"
        }
        excused = len(_COLLECTION.findall(said))
        held = buckets["+Inf"] - buckets[str(LONGEST_HOLD)] - excused
        worst = buckets["+Inf"] - buckets[str(_WORST_HOLD)] - excused
        if worst > 0 or held > _FEW:
            warnings = [part for part in said.split("WARNING:") if "event loop was held" in part]
            longest = re.findall(
                r"longest_hold_seconds(\{.*)", (await self._ask("GET", "/metrics")).decode()
            )
            raise Broken(
                f"the event loop was held: {longest} {buckets}\n" + "\n".join(warnings[-3:])[:6000]
            )
        memory = next(n for name, _, n in numbers if name == "process_resident_memory_bytes")
        if memory > MOST_MEMORY:
            raise Broken(f"{memory / 2**20:.0f} MiB of memory")

    async def calm_down(self) -> None:
        """Deletes what was made, and waits for the memory to come back. Raises Broken."""
        assert self.idle, "after a first attack"
        before = await self._memory()
        await self._delete_everything()
        until = time.monotonic() + _MEMORY_RETURNS
        memory = await self._memory()
        while memory > _MOST_AFTER * self.idle:
            if time.monotonic() > until:
                raise Broken(
                    f"{memory >> 20} MiB of memory after {_MEMORY_RETURNS:.0f} s of calm,"
                    f" were {before >> 20} in the attack, {self.idle >> 20} after the first one"
                    f" and {self.fresh >> 20} before it"
                )
            await asyncio.sleep(1)
            memory = await self._memory()
        self.after = memory

    async def _delete_everything(self) -> None:
        for resource in RESOURCES:
            if "deletecollection" not in resource.verbs or resource.plural in _KEPT:
                continue
            for namespace in ("default", "kube-system") if resource.namespaced else ("",):
                path = resource.path(namespace)
                await self._ask("DELETE", f"{path}?gracePeriodSeconds=0")

    async def _memory(self) -> int:
        numbers = await self.metrics()
        return int(next(n for name, _, n in numbers if name == "process_resident_memory_bytes"))

    async def _ask(self, method: str, path: str) -> bytes:
        """The body of an answer to the administrator. On a machine where others leave nothing, a
        request may come too late: it is sent again."""
        for _ in range(_TRIES):
            code, body = await self._asked(method, path)
            if code not in (429, 503, 504):
                break
        return body

    async def _asked(self, method: str, path: str) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            self.target.port,
            ssl=self.target.tls[0],
            server_hostname="localhost",
            limit=1 << 26,
        )
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        async with asyncio.timeout(_ANSWER):
            answer = await _answer(reader)
        writer.transport.abort()
        return answer

    async def seen_holds(self) -> str:
        """How long the loop was held, by its processor time and by the clock."""
        numbers = await self.metrics()
        told = []
        for name in ("hold", "lateness"):
            rows = {
                le: n for key, le, n in numbers if key == f"tiphys_event_loop_{name}_seconds_bucket"
            }
            longer = {le: rows["+Inf"] - rows[le] for le in ("0.025", "0.05", "0.1")}
            told.append(f"{name} " + ", ".join(f"{n:.0f} over {le} s" for le, n in longer.items()))
        return "; ".join(told)

    async def metrics(self) -> list[tuple[str, str, float]]:
        """(name, le, value)"""
        body = await self._ask("GET", "/metrics")
        found = []
        for line in body.decode().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                le = re.search(r'le="([^"]*)"', name)
                found.append((name.partition("{")[0], le[1] if le else "", float(value)))
        return found


async def attack(
    seed: int, minutes: float = 1e9, requests: int = 10**12, calms_down: bool = False
) -> Run:
    """One run against a server of its own, whose memory may be looked at after it. Raises Broken."""
    target = await asyncio.to_thread(Target)
    try:
        run = Run(target, seed)
        until = time.monotonic() + minutes * 60
        await run.warm_up()
        if calms_down:
            await run.first_attack(until, requests)
        await run.go(until, requests)
        run.holds = await run.seen_holds()
        if calms_down:
            await run.calm_down()
        return run
    finally:
        await asyncio.to_thread(target.stop)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None)
    chosen: Any = parser.parse_args()
    end = time.monotonic() + chosen.minutes * 60
    total = 0
    while time.monotonic() < end:
        seed = random.randrange(10**6) if chosen.seed is None else chosen.seed
        with contextlib.suppress(KeyboardInterrupt):
            try:
                run = asyncio.run(
                    attack(seed, min((end - time.monotonic()) / 60, 10), calms_down=True)
                )
            except Broken as error:
                sys.exit(f"seed {seed}, after {total} requests of other seeds: {error}")
        total += run.sent
        print(
            f"seed {seed}: {run.sent} requests, {dict(sorted(run.codes.items()))}; {total} in all",
            flush=True,
        )
        sizes = " ".join(f"{size >> 20}" for size in (run.fresh, run.idle, run.after))
        print(
            f"    MiB before, after the first attack, after all: {sizes}; {run.holds}", flush=True
        )
        for told, count in run.unserved.most_common(3):
            print(f"    {count} times {told}", flush=True)


if __name__ == "__main__":
    main()
