"""Measures the API server against the figures to reach, and prints the table. `make bench`.

CPU is the server process's own, read from /proc, per operation: wall time on a shared machine says little.
`--quick` uses a tenth of the objects. `--profile FILE` writes a profile of the server during the creates.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

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

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        authority = Authority(root / "pki")
        authority.ensure("apiserver", "kube-apiserver", (), ("127.0.0.1",), server=True)
        self.certificate, self.key = authority.ensure("admin", "bench", ("system:masters",))
        # Not an administrator: RBAC is in the path, as for everybody.
        self.user = authority.ensure("user", "bench-user", ())
        write_private(root / "pki" / "sa.key", key_pem(new_key()))
        kubeconfig.component(
            root / "kubeconfig", f"https://127.0.0.1:{self.port}", authority.path, self.certificate, self.key
        )
        self.ca = authority.path

    def start(self) -> float:
        """Seconds until /readyz says ok."""
        command = [
            sys.executable,
            "-m",
            "tiphys.cli.main",
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
        if "--profile" in sys.argv:
            command[1:3] = ["-m", "cProfile", "-o", sys.argv[sys.argv.index("--profile") + 1], "-m", "tiphys.cli.main"]
        began = time.monotonic()
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while True:
            try:
                connection = self.connect()
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return time.monotonic() - began
            except OSError:
                time.sleep(0.005)

    def context(self, pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(*(pair or (self.certificate, self.key)))
        return context

    def connect(self, pair: tuple[Path, Path] | None = None) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context(pair))

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def pod(number: int) -> bytes:
    """A pod of about 2.6 kB once it is stored."""
    env = [{"name": f"VARIABLE_{i}", "value": "x" * 40} for i in range(4)]
    body = {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": f"pod-{number:05}", "labels": {"app": f"app-{number % 100}", "tier": "bench"}, "annotations": {"note": "y" * 120}},
        "spec": {
            "nodeName": f"node-{number % 50}", "automountServiceAccountToken": False,
            "containers": [{"name": "main", "image": "registry.example.com/some/image:v1.2.3", "env": env, "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                            "ports": [{"containerPort": 8080}], "readinessProbe": {"httpGet": {"path": "/", "port": 8080}}}],
        },
    }  # fmt: skip
    return json.dumps(body).encode()


def many(
    server: Server, total: int, threads: int, one: Callable[[http.client.HTTPSConnection, int], None]
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


def watch_cost(server: Server, watchers: int = 100, events: int = 100) -> float:
    """CPU microseconds per event delivered to one of many watchers."""
    import aiohttp

    async def main() -> float:
        tls = server.context()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, limit=0)) as session:
            seen = [0] * watchers
            done = asyncio.Event()
            url = f"https://127.0.0.1:{server.port}/api/v1/namespaces/default/configmaps?watch=1"

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


def main() -> None:
    rows: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        first = server.start()
        server.stop()
        again = min(server.start() if i == 0 else _restart(server) for i in range(3))
        rows.append(("start until /readyz is ok", f"{first:.2f} s first, {again:.2f} s later", "<= 0.7 s"))
        rows.append(("resident memory idle", f"{server.memory() >> 20} MB", "<= 90 MB"))
        admin = server.connect()
        ask(
            admin,
            "POST",
            "/api/v1/namespaces/default/serviceaccounts",
            b'{"metadata":{"name":"default"},"apiVersion":"v1","kind":"ServiceAccount"}',
            wanted=201,
        )
        rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        ask(
            admin,
            "POST",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            json.dumps(
                {
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "ClusterRole",
                    "metadata": {"name": "bench"},
                    "rules": [rule],
                }
            ).encode(),
            wanted=201,
        )
        ask(
            admin,
            "POST",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            json.dumps(
                {
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "ClusterRoleBinding",
                    "metadata": {"name": "bench"},
                    "roleRef": {"kind": "ClusterRole", "name": "bench", "apiGroup": "rbac.authorization.k8s.io"},
                    "subjects": [{"kind": "User", "name": "bench-user", "apiGroup": "rbac.authorization.k8s.io"}],
                }
            ).encode(),
            wanted=201,
        )
        bodies = [pod(number) for number in range(COUNT)]
        rate, cpu = many(server, COUNT, 16, lambda c, n: _none(ask(c, "POST", PODS, bodies[n], wanted=201)))
        rows.append(("create a pod, 16 connections", f"{rate:.0f}/s, {cpu:.2f} ms CPU", "<= 0.35 ms"))
        rows.append((f"resident memory with {COUNT} pods", f"{server.memory() >> 20} MB", "<= 150 MB"))
        size = len(ask(admin, "GET", "/api/v1/pods"))
        rate, cpu = many(
            server, 8000 if not QUICK else 800, 4, lambda c, n: _none(ask(c, "GET", f"{PODS}/pod-{n % COUNT:05}"))
        )
        rows.append(("get a pod", f"{rate:.0f}/s, {cpu:.3f} ms CPU", "<= 0.08 ms"))
        for name, path, count, goal in (
            (f"list all ({size >> 20} MB)", "/api/v1/pods", 10, "<= 40 ms"),
            ("list 500", "/api/v1/pods?limit=500", 50, "<= 3 ms"),
            ("list by a label that matches none", "/api/v1/pods?labelSelector=app%3Dnone", 100, "<= 1 ms"),
        ):
            rate, cpu = many(server, count, 1, lambda c, n, path=path: _none(ask(c, "GET", path)))  # type: ignore[misc]
            rows.append((name, f"{1000 / rate:.1f} ms, {cpu:.2f} ms CPU", goal))

        def patch(connection: http.client.HTTPSConnection, number: int) -> None:
            body = b'{"metadata":{"labels":{"n":"%d"}}}' % number
            ask(connection, "PATCH", f"{PODS}/pod-00001", body, "application/merge-patch+json")

        rate, cpu = many(server, 500, 1, patch)
        rows.append(("merge-patch one pod, 1 connection", f"{1000 / rate:.2f} ms, {cpu:.2f} ms CPU", "<= 0.6 ms"))
        rows.append(("watch, 100 watchers, per event delivered", f"{watch_cost(server):.1f} us CPU", "<= 12 us"))
        server.stop()
    width = max(len(row[0]) for row in rows)
    print(f"{'operation':<{width}}  {'here':<30}  to reach")
    for name, here, goal in rows:
        print(f"{name:<{width}}  {here:<30}  {goal}")


def _restart(server: Server) -> float:
    server.stop()
    return server.start()


def _none(_: bytes) -> None:
    return None


if __name__ == "__main__":
    main()
