"""Measures the API server against the figures to reach, and prints the table. `make bench`.

CPU is the server process's own, read from /proc, per operation: wall time on a shared machine says
little. Machines differ, too: the figures to reach were set on one where a bare handler (bare.py)
takes 0.046 ms for a request. What it takes here is measured first, and the column "there" is what
our CPU would be on that machine. `--quick` uses a tenth of the objects. `--profile FILE` writes a
profile of the server during the creates. `--peer KUBECONFIG [PID,...]`, last, measures a server
that runs already beside ours, in a column of its own (`make bench PEER="KUBECONFIG PID,PID"`): its
processes on this machine, store included, are named for their CPU and memory. It should have
neither nodes nor a scheduler; what the bench makes is deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tiphys.client.config import load
from tiphys.cluster import kubeconfig
from tiphys.cluster.certificates import Authority, key_pem, new_key, write_private

QUICK = "--quick" in sys.argv
COUNT = 1200 if QUICK else 12000
TICK = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process on fresh files."""

    host = "127.0.0.1"
    under: tuple[str, ...] = ()  # the command that runs the interpreter, as valgrind does
    entry: tuple[str, ...] = ("-m", "tiphys.cli.main")

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        authority = Authority(root / "pki")
        authority.ensure("apiserver", "kube-apiserver", (), ("127.0.0.1",), server=True)
        self.certificate, self.key = authority.ensure("admin", "bench", ("system:masters",))
        # Not an administrator: RBAC is in the path, as for everybody.
        self.user = authority.ensure("user", "bench-user", ())
        write_private(root / "pki" / "sa.key", key_pem(new_key()))
        kubeconfig.component(
            root / "kubeconfig",
            f"https://127.0.0.1:{self.port}",
            authority.path,
            self.certificate,
            self.key,
        )
        self.ca = authority.path

    def start_bare(self) -> None:
        """A bare server in place of ours."""
        bare = Path(__file__).with_name("bare.py")
        self.process = subprocess.Popen(
            [sys.executable, str(bare), str(self.root / "pki"), str(self.port)]
        )
        while True:
            with contextlib.suppress(OSError):
                return self.connect().request("GET", "/")
            time.sleep(0.01)

    def start(self) -> float:
        """Seconds until /readyz says ok."""
        command = [
            *self.under,
            sys.executable,
            *self.entry,
            "apiserver",
            "--pki",
            str(self.root / "pki"),
            "--data-dir",
            str(self.root),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
        ]
        if "--workers" in sys.argv:
            command += ["--workers", sys.argv[sys.argv.index("--workers") + 1]]
        if "--profile" in sys.argv:
            command[1:3] = [
                "-m",
                "cProfile",
                "-o",
                sys.argv[sys.argv.index("--profile") + 1],
                "-m",
                "tiphys.cli.main",
            ]
        began = time.monotonic()
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while True:
            try:
                connection = self.connect()
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return time.monotonic() - began
            except OSError:
                assert self.process.poll() is None, "the server has ended"
                time.sleep(0.005)

    def context(self, pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(*(pair or (self.certificate, self.key)))
        return context

    def connect(self, pair: tuple[Path, Path] | None = None) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context(pair))

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        return _cpu_of(self.process.pid)

    def processes(self) -> list[int]:
        """The server's process and its workers."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, listed.split())]

    def memory(self) -> int:
        """Resident bytes, of its workers, too."""
        return sum(_memory_of(pid) for pid in self.processes())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def pod(number: int) -> bytes:
    """A pod of about 2.6 kB once it is stored."""
    env = [{"name": f"VARIABLE_{i}", "value": "x" * 40} for i in range(4)]
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"pod-{number:05}",
            "labels": {"app": f"app-{number % 100}", "tier": "bench"},
            "annotations": {"note": "y" * 120},
        },
        "spec": {
            "nodeName": f"node-{number % 50}",
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "main",
                    "image": "registry.example.com/some/image:v1.2.3",
                    "env": env,
                    "resources": {
                        "requests": {"cpu": "100m", "memory": "128Mi"},
                        "limits": {"memory": "256Mi"},
                    },
                    "ports": [{"containerPort": 8080}],
                    "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
                }
            ],
        },
    }
    return json.dumps(body).encode()


def many(
    server: Server | Peer,
    total: int,
    threads: int,
    one: Callable[[http.client.HTTPSConnection, int], None],
) -> tuple[float, float]:
    """(operations per second, CPU milliseconds of the server per operation)."""
    numbers, lock = iter(range(total)), threading.Lock()

    def work() -> None:
        connection = server.connect(server.user)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            one(connection, number)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    cpu, began = server.cpu(), time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return total / (time.monotonic() - began), (server.cpu() - cpu) / total * 1000


def ask(
    connection: http.client.HTTPSConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    content: str = "application/json",
    wanted: int = 200,
) -> bytes:
    connection.request(method, path, body, {"Content-Type": content} if body else {})
    answer = connection.getresponse()
    data = answer.read()
    assert answer.status == wanted, (method, path, answer.status, data[:300])
    return data


PODS = "/api/v1/namespaces/default/pods"


def watch_cost(server: Server | Peer, watchers: int = 100, events: int = 100) -> float:
    """CPU microseconds per event delivered to one of many watchers."""
    import aiohttp

    async def main() -> float:
        tls = server.context()
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0)
        ) as session:
            seen = [0] * watchers
            done = asyncio.Event()
            url = (
                f"https://{server.host}:{server.port}/api/v1/namespaces/default/configmaps?watch=1"
            )

            async def follow(index: int) -> None:
                async with session.get(url) as answer:
                    async for line in answer.content:
                        seen[index] += b'"bench-w' in line
                        if min(seen) >= events:
                            done.set()
                            return

            tasks = [asyncio.create_task(follow(i)) for i in range(watchers)]
            await asyncio.sleep(1.0)
            cpu = server.cpu()
            for number in range(events):
                body = {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": f"bench-w{number}"},
                    "data": {"k": "v" * 1500},
                }
                async with session.post(url.partition("?")[0], json=body) as answer:
                    await answer.read()
            await asyncio.wait_for(done.wait(), 60)
            used = server.cpu() - cpu
            for task in tasks:
                task.cancel()
            return used / (watchers * events) * 1e6

    return asyncio.run(main())


class Peer:
    """A server that runs already, as the current context of a kubeconfig describes it. `pids` are
    its processes on this machine, whose CPU and memory are counted; without them only the wall time
    is known."""

    def __init__(self, file: Path, pids: list[int]) -> None:
        self.config = load(file)
        self.pids = pids
        self.user = None
        address = urlsplit(self.config.server)
        self.host, self.port = str(address.hostname), address.port or 443

    def context(self, pair: object = None) -> ssl.SSLContext:
        return self.config.ssl_context()

    def connect(self, pair: object = None) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self.host, self.port, context=self.context())

    def cpu(self) -> float:
        return sum(_cpu_of(pid) for pid in self.pids)

    def memory(self) -> int:
        return sum(_memory_of(pid) for pid in self.pids)


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def _memory_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


FLOOR = "bare handler, per request"
THERE = 0.046  # ms that a bare handler takes on the machine of the figures to reach
GOALS = {
    FLOOR: "",
    "start until /readyz is ok": "<= 0.7 s",
    "resident memory idle": "<= 90 MB",
    "create a pod, 16 connections": "<= 0.35 ms",
    "resident memory with pods": "<= 150 MB",
    "get a pod": "<= 0.08 ms",
    "list all": "<= 40 ms",
    "list 500": "<= 3 ms",
    "list by a label that matches none": "<= 1 ms",
    "merge-patch one pod, 1 connection": "<= 0.6 ms",
    "watch, 100 watchers, per event delivered": "<= 12 us",
}


def floor(server: Server) -> float:
    """CPU milliseconds of a request to a bare server: the best of three."""
    server.start_bare()
    best = min(
        many(server, COUNT // 3, 4, lambda c, n: _none(ask(c, "GET", "/")))[1] for _ in range(3)
    )
    server.stop()
    return best


def there(row: str, bare: float) -> str:
    """A figure's CPU as it would be on the machine of the figures to reach."""
    found = re.search(r"([\d.]+) (ms|us) CPU", row)
    return f"{float(found[1]) * THERE / bare:.3g} {found[2]}" if found else ""


def measured(server: Server | Peer) -> dict[str, str]:
    """What each operation takes, by its name among the goals."""
    rows = {"resident memory idle": f"{server.memory() >> 20} MB"}
    admin = server.connect()
    account = b'{"metadata":{"name":"default"},"apiVersion":"v1","kind":"ServiceAccount"}'
    with contextlib.suppress(AssertionError):  # a peer whose controllers run has it
        ask(admin, "POST", "/api/v1/namespaces/default/serviceaccounts", account, wanted=201)
    if isinstance(server, Server):
        grant(admin, {"kind": "User", "name": "bench-user"})

    def shown(rate: float, cpu: float, digits: int = 2) -> str:
        wall = f"{rate:.0f}/s" if rate > 1000 else f"{1000 / rate:.1f} ms"
        return f"{wall}, {cpu:.{digits}f} ms CPU" if cpu else wall

    bodies = [pod(number) for number in range(COUNT)]
    rows["create a pod, 16 connections"] = shown(
        *many(server, COUNT, 16, lambda c, n: _none(ask(c, "POST", PODS, bodies[n], wanted=201)))
    )
    rows["resident memory with pods"] = f"{server.memory() >> 20} MB"
    rows["get a pod"] = shown(
        *many(
            server,
            COUNT * 2 // 3,
            4,
            lambda c, n: _none(ask(c, "GET", f"{PODS}/pod-{n % COUNT:05}")),
        ),
        digits=3,
    )
    for name, path, count in (
        ("list all", "/api/v1/pods", 10),
        ("list 500", "/api/v1/pods?limit=500", 50),
        ("list by a label that matches none", "/api/v1/pods?labelSelector=app%3Dnone", 100),
    ):
        rows[name] = shown(
            *many(server, count, 1, lambda c, n, path=path: _none(ask(c, "GET", path)))
        )  # type: ignore[misc]

    def patch(connection: http.client.HTTPSConnection, number: int) -> None:
        body = b'{"metadata":{"labels":{"n":"%d"}}}' % number
        ask(connection, "PATCH", f"{PODS}/pod-00001", body, "application/merge-patch+json")

    rows["merge-patch one pod, 1 connection"] = shown(*many(server, 500, 1, patch))
    rows["watch, 100 watchers, per event delivered"] = f"{watch_cost(server):.1f} us CPU"
    return rows


def grant(admin: http.client.HTTPSConnection, subject: dict[str, str]) -> None:
    """Everything to a user or a group, by RBAC."""
    group = "rbac.authorization.k8s.io"
    rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    role = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "bench"},
        "rules": [rule],
    }
    ask(admin, "POST", f"/apis/{group}/v1/clusterroles", json.dumps(role).encode(), wanted=201)
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "bench"},
        "roleRef": {"kind": "ClusterRole", "name": "bench", "apiGroup": group},
        "subjects": [{**subject, "apiGroup": group}],
    }
    ask(
        admin,
        "POST",
        f"/apis/{group}/v1/clusterrolebindings",
        json.dumps(binding).encode(),
        wanted=201,
    )


def _removed(peer: Peer) -> None:
    """What the bench left on a peer."""
    connection = peer.connect()
    for path in (
        f"{PODS}?gracePeriodSeconds=0&labelSelector=tier%3Dbench",
        PODS.replace("pods", "configmaps"),
    ):
        ask(connection, "DELETE", path)


def main() -> None:
    columns: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        bare = floor(server)
        first = server.start()
        server.stop()
        again = min(server.start() if i == 0 else _restart(server) for i in range(3))
        start = {"start until /readyz is ok": f"{first:.2f} s first, {again:.2f} s later"}
        columns["here"] = {FLOOR: f"{bare:.3f} ms CPU"} | start | measured(server)
        columns["there"] = {name: there(row, bare) for name, row in columns["here"].items()}
        server.stop()
    if "--peer" in sys.argv:
        at = sys.argv.index("--peer")
        pids = [int(pid) for pid in sys.argv[at + 2].split(",")] if len(sys.argv) > at + 2 else []
        peer = Peer(Path(sys.argv[at + 1]), pids)
        try:
            columns["peer"] = measured(peer)
        finally:
            _removed(peer)
    width = max(map(len, GOALS))
    print(
        f"{'operation, ' + str(COUNT) + ' pods':<{width}}  "
        + "".join(f"{name:<30}" for name in columns)
        + "to reach"
    )
    for name, goal in GOALS.items():
        print(
            f"{name:<{width}}  "
            + "".join(f"{column.get(name, ''):<30}" for column in columns.values())
            + goal
        )


def _restart(server: Server) -> float:
    server.stop()
    return server.start()


def _none(_: bytes) -> None:
    return None


if __name__ == "__main__":
    main()
