"""Measures what one account's rush costs another, and what clients that do not read cost the
server. `make bench-isolation`.

One account asks a hundred times at once for all of 10,000 pods, again and again; another gets one
pod at a time. Printed are the other's p99 alone and meanwhile, and the server's memory before, at
its peak and a while after. Then watchers that never read, and lists that nobody reads. `--quick`
uses a tenth of everything. `--only WORD` takes the cases with the word. `--workers N` is the
server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import ssl
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench import PODS, Server, _none, ask, grant, many, pod

QUICK = "--quick" in sys.argv
ONLY = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else ""
OBJECTS = 1000 if QUICK else 10000
LISTS = 100
SECONDS = 8.0 if QUICK else 12.0
REST = 10.0 if QUICK else 45.0  # seconds after which memory must be back
WATCHERS = 20 if QUICK else 200
Pair = tuple[Path, Path]

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
RUSHES = {  # name: (path, headers)
    "plain lists": ("/api/v1/pods", ""),
    "gzip lists": ("/api/v1/pods", "Accept-Encoding: gzip\r\n"),
    "tables": ("/api/v1/pods", f"Accept: {TABLE}\r\n"),
    "protobuf lists": ("/api/v1/pods", "Accept: application/vnd.kubernetes.protobuf\r\n"),
    "selected lists": ("/api/v1/pods?labelSelector=app%21%3Dnone", ""),
}


def request(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n".encode()


def context(ca: Path, pair: Pair) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(ca))
    made.load_cert_chain(*pair)
    return made


def rush(port: int, ca: Path, pair: Pair, wanted: bytes, begun: Any, over: Any) -> None:
    """A process of its own: clients that ask again as soon as they have their answer, until it is
    `over`. `begun` is set with the first answer. Prints how many they got."""
    tls = context(ca, pair)
    done = [0, 0]

    async def client() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
                writer.write(wanted)
                head = await reader.read(1 << 16)
                begun.set()
                while not over.is_set() and await reader.read(1 << 20):
                    pass
                done[b" 200 " not in head[:20]] += not over.is_set()
                writer.transport.abort()

    async def everyone() -> None:
        await asyncio.gather(*(client() for _ in range(LISTS)))

    import uvloop

    uvloop.run(everyone())
    print(f"    {done[0]} lists were answered, {done[1]} refused", flush=True)


class Waits(NamedTuple):
    """Of each GET: milliseconds by the clock, and those of processor time that the process which
    answered spent meanwhile, on whatever. On a machine that others use, only the latter says
    something about the server."""

    clock: list[float]
    processor: list[float]


class Client:
    """One that keeps its connection."""

    def __init__(self, server: Server, pair: Pair) -> None:
        self._connection = server.connect(pair)
        ask(self._connection, "GET", "/livez")
        self._process = serving(server, self._connection.sock.getsockname()[1])

    def probe(self, seconds: float) -> Waits:
        waits = Waits([], [])
        ends = time.time() + seconds
        while time.time() < ends:
            spent, began = processor_time(self._process), time.perf_counter()
            ask(self._connection, "GET", f"{PODS}/pod-{len(waits.clock) % OBJECTS:05}")
            waits.clock.append((time.perf_counter() - began) * 1000)
            waits.processor.append((processor_time(self._process) - spent) / 1e6)
            time.sleep(0.003)
        return waits


def serving(server: Server, port: int) -> int:
    """The process that has the connection from a port of ours."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        row = line.split()
        if (row[1][-4:], row[2][-4:]) == (f"{server.port:04X}", f"{port:04X}"):
            for pid in server.processes():
                for file in Path(f"/proc/{pid}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        if str(file.readlink()) == f"socket:[{row[9]}]":
                            return pid
    raise LookupError(port)


def processor_time(pid: int) -> int:
    """Nanoseconds of all threads of a process so far."""
    spent = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            spent += int((task / "schedstat").read_text().split()[0])
    return spent


def probe(server: Server, pair: Pair, seconds: float) -> list[float]:
    """Milliseconds that each GET of one pod took."""
    return Client(server, pair).probe(seconds).clock


class Peak:
    """The most memory that the server had while this was open."""

    def __init__(self, server: Server) -> None:
        self._server, self._ended = server, threading.Event()
        self.most = server.memory()

    def __enter__(self) -> Peak:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.05):
            self.most = max(self.most, self._server.memory())


def p99(taken: list[float]) -> float:
    return sorted(taken)[len(taken) * 99 // 100]


def mib(size: int) -> str:
    return f"{size >> 20} MiB"


def rested(server: Server, within: int) -> str:
    """The server's memory once it is at most `within` bytes, or after a while."""
    began = time.monotonic()
    while time.monotonic() - began < REST and server.memory() > within:
        time.sleep(0.5)
    return f"{mib(server.memory())} after {time.monotonic() - began:.0f} s"


def measure_rush(server: Server, name: str, rusher: Pair, other: Pair) -> None:
    path, headers = RUSHES[name]
    before = server.memory()
    client = Client(server, other)
    alone = client.probe(SECONDS / 2)
    spawning = multiprocessing.get_context("spawn")
    begun, over = spawning.Event(), spawning.Event()
    arguments = (server.port, server.ca, rusher, request(path, headers), begun, over)
    process = spawning.Process(target=rush, args=arguments)
    with Peak(server) as peak:
        process.start()
        begun.wait()
        meanwhile = client.probe(SECONDS / 2)
        newcomer = Client(server, other).probe(SECONDS / 2)
        over.set()
        process.join()
    print(f"{name}: the p99 of a GET alone, beside it, and beside it on a new connection (goal: 5)")
    for unit, before_it, beside, new in zip(
        ("by the clock", "of the processor"), alone, meanwhile, newcomer, strict=True
    ):
        print(
            f"    {p99(before_it):6.2f}, {p99(beside):6.2f} ({p99(beside) / p99(before_it):.1f} "
            f"times), {p99(new):6.2f} ms {unit} ({p99(new) / p99(before_it):.1f} times)"
        )
    print(
        f"    memory {mib(before)}, {mib(peak.most)} at its peak, "
        + rested(server, before * 5 // 4),
        flush=True,
    )


def measure_silent(server: Server, name: str, path: str, rusher: Pair, other: Pair) -> None:
    """Clients that ask and never read, while objects change."""
    before, tls = server.memory(), context(server.ca, rusher)
    alone = p99(probe(server, other, SECONDS / 2))

    async def everyone() -> None:
        streams = []
        for _ in range(WATCHERS):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=tls, limit=1 << 12
            )
            writer.write(request(path))
            streams.append((reader, writer))
        await asyncio.to_thread(churn)
        for _, writer in streams:
            writer.transport.abort()

    def patch(connection: object, number: int) -> None:
        body = json.dumps({"metadata": {"annotations": {"n": f"{number}" * 300}}}).encode()
        path = f"{PODS}/pod-{number % OBJECTS:05}"
        ask(connection, "PATCH", path, body, "application/merge-patch+json")  # type: ignore[arg-type]

    def churn() -> None:
        worker = threading.Thread(target=lambda: many(server, OBJECTS // 5, 4, patch))
        worker.start()
        taken.extend(probe(server, other, SECONDS / 2))
        worker.join()

    taken: list[float] = []
    with Peak(server) as peak:
        asyncio.run(everyone())
    print(
        f"{name}: memory {mib(before)}, {mib(peak.most)} at its peak, "
        f"{rested(server, before * 5 // 4)};"
        f" p99 of another {alone:.1f} ms alone, {p99(taken):.1f} ms meanwhile",
        flush=True,
    )


def open_to_all(server: Server) -> None:
    """Everything to everybody with a certificate; the namespace has its account."""
    admin = server.connect()
    grant(admin, {"kind": "Group", "name": "system:authenticated"})
    account = b'{"metadata":{"name":"default"},"apiVersion":"v1","kind":"ServiceAccount"}'
    ask(admin, "POST", "/api/v1/namespaces/default/serviceaccounts", account, wanted=201)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        from tiphys.cluster.certificates import Authority

        authority = Authority(Path(folder) / "pki")
        rusher, other = (authority.ensure(name, name, ()) for name in ("rusher", "other"))
        server.start()
        try:
            open_to_all(server)
            many(server, OBJECTS, 16, lambda c, n: _none(ask(c, "POST", PODS, pod(n), wanted=201)))
            for name in RUSHES:
                if ONLY in name:
                    measure_rush(server, name, rusher, other)
            for name, path in (
                ("silent watchers from the start", "/api/v1/pods?watch=1"),
                ("silent watchers of changes", "/api/v1/pods?watch=1&resourceVersion=%d"),
                ("lists that nobody reads", "/api/v1/pods"),
            ):
                if ONLY in name:
                    revision = json.loads(ask(server.connect(), "GET", "/api/v1/pods?limit=1"))[
                        "metadata"
                    ]
                    if "%d" in path:
                        path %= int(revision["resourceVersion"])
                    measure_silent(server, name, path, rusher, other)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
