"""Six gRPC servers behind a service, by its cluster IP and by endpoint discovery, on a cluster of
this machine: what the service proxy makes of a connection, and that discovery needs neither it nor
DNS."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import grpc
import pytest

from tests.e2e.machine import Machine
from tiphys.addons.endpoints.bootstrap import bootstrap
from tiphys.addons.endpoints.channel import Channel
from tiphys.cluster import containerd
from tiphys.testing.cluster import free_port

pytestmark = pytest.mark.slow  # a cluster of its own: its proxy is stopped

ROOT = Path(__file__).parents[2]
METHOD = "/test.Who/Are"
CALLS = 6000
AT_ONCE = 16


class Six:
    """The servers, two in each of three zones, and the cluster that knows of them."""

    def __init__(self, machine: Machine, ports: list[int]) -> None:
        self.machine, self.ports = machine, ports
        self.xds = free_port()
        self.node = machine.get("nodes")["items"][0]
        self.address = next(
            one["address"]
            for one in self.node["status"]["addresses"]
            if one["type"] == "InternalIP"
        )

    def publish(self) -> None:
        machine = self.machine
        port = {"name": "grpc", "port": 80, "protocol": "TCP"}
        service = {"metadata": {"name": "who"}, "spec": {"ports": [port]}}
        objects = [{"apiVersion": "v1", "kind": "Service", **service}]
        for number, listening in enumerate(self.ports):
            labels = {"kubernetes.io/service-name": "who"}
            objects.append(
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {"name": f"who-{number}", "labels": labels},
                    "addressType": "IPv4",
                    "endpoints": [{"addresses": [self.address], "zone": "aabbcc"[number]}],
                    "ports": [{"name": "grpc", "port": listening}],
                }
            )
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        machine.kubectl("apply", "-f", "-", stdin=json.dumps(listed))
        settings = ("--set", f"port={self.xds}", "--context", machine.name)
        machine.tiphys("addon", "enable", "endpoints", *settings)
        self.cluster_ip = machine.get("service/who")["spec"]["clusterIP"]

    def counts(self) -> list[int]:
        """How many calls each server has had, as it says itself."""
        counts = []
        for port in self.ports:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                counts.append(int(channel.unary_unary("/test.Who/Count")(b"", timeout=10)))
        return counts

    async def calls(self, who: Callable[..., Any], count: int = CALLS) -> list[int]:
        """What each server counts while one client makes that many calls, none of which fails."""
        before = await asyncio.to_thread(self.counts)
        left = iter(range(count))

        async def client() -> None:
            for _ in left:
                await who(b"", timeout=20)

        await asyncio.gather(*(client() for _ in range(AT_ONCE)))
        after = await asyncio.to_thread(self.counts)
        return [new - old for new, old in zip(after, before, strict=True)]

    def unchanged(self, count: int) -> list[int]:
        """The same of an ordinary gRPC program in a process of its own."""
        before = self.counts()
        env = {"GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap("127.0.0.1", self.xds))}
        command = [sys.executable, "-c", UNCHANGED, str(count)]
        subprocess.run(command, env=env, check=True, timeout=120)
        return [new - old for new, old in zip(self.counts(), before, strict=True)]


UNCHANGED = """
import sys, grpc
with grpc.insecure_channel("xds:///who.default:80") as channel:
    who = channel.unary_unary("/test.Who/Are")
    for _ in range(int(sys.argv[1])):
        who(b"", timeout=30, wait_for_ready=True)
"""


@pytest.fixture
def six(tmp_path: Path) -> Iterator[Six]:
    if os.geteuid() != 0 or containerd.missing() or shutil.which("kubectl") is None:
        pytest.skip("needs root, containerd and kubectl")
    machine = Machine(tmp_path, f"six-{os.getpid()}")
    words = ["--name", machine.name, "--data-dir", str(tmp_path / "data")]
    with ExitStack() as stack:
        ports = []
        for number in range(6):
            command = [sys.executable, "-m", "tests.e2e.grpcserver", f"pod-{number}"]
            server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            stack.callback(server.wait)
            stack.callback(server.kill)
            assert server.stdout is not None
            ports.append(int(server.stdout.readline()))
        machine.tiphys("up", *words, "--port", str(free_port()), "--wait")
        stack.callback(machine.tiphys, "down", "--name", machine.name, "--purge", check=False)
        made = Six(machine, ports)
        made.publish()
        yield made


def reaches(target: str) -> bool:
    """Whether a new connection is answered."""
    with grpc.insecure_channel(target) as channel:
        try:
            channel.unary_unary(METHOD)(b"", timeout=2)
        except grpc.RpcError:
            return False
    return True


def answers(address: str) -> bool:
    """Whether a DNS server does."""
    query = dns.message.make_query("who.default.svc.cluster.local", "A")
    try:
        return bool(dns.query.udp(query, address, timeout=2).answer)
    except (dns.exception.Timeout, OSError):
        return False


async def test_one_connection_through_the_cluster_ip_gives_one_server_everything(six: Six) -> None:
    target = f"{six.cluster_ip}:80"
    await asyncio.to_thread(six.machine.eventually, lambda: reaches(target))
    async with grpc.aio.insecure_channel(target) as channel:
        counted = await six.calls(channel.unary_unary(METHOD))
    print("through the cluster IP:", counted)
    assert sorted(counted) == [0, 0, 0, 0, 0, CALLS]
    async with Channel("who.default:80", f"127.0.0.1:{six.xds}") as channel:
        await six.calls(channel.unary_unary(METHOD), 600)  # all six are connected
        chosen = await six.calls(channel.unary_unary(METHOD))
    print("by endpoint discovery:", chosen)
    # On a busy machine a server may be slower than the others, and is given less.
    assert max(chosen) <= CALLS / 4


async def test_without_dns_and_proxy_nothing_changes_for_who_discovers(six: Six) -> None:
    machine = six.machine
    target = f"{six.cluster_ip}:80"
    name_server = machine.get("service/kube-dns", "-n", "kube-system")["spec"]["clusterIP"]
    await asyncio.to_thread(machine.eventually, lambda: reaches(target) and answers(name_server))
    agent = next(row["pid"] for row in machine.status()["components"] if row["name"] == "node")
    async with Channel("who.default:80", f"127.0.0.1:{six.xds}") as channel:
        who = channel.unary_unary(METHOD)
        before = await six.calls(who)
        os.kill(agent, signal.SIGSTOP)  # proxy and DNS are the node's
        try:
            remove_rules(machine)
            assert not reaches(target) and not answers(name_server) and not answers(six.address)
            without = await six.calls(who)
            unchanged = await asyncio.to_thread(six.unchanged, 600)
        finally:
            os.kill(agent, signal.SIGCONT)
    print("before:", before, "without:", without, "an unchanged program, started then:", unchanged)
    assert max(without) <= CALLS / 4
    assert max(unchanged) - min(unchanged) <= 6


def remove_rules(machine: Machine) -> None:
    """What the proxy has told the kernel."""
    saved = json.loads((machine.root / "data" / "cluster.json").read_text())
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    for line in tables.stdout.splitlines():
        _, family, name = line.split()
        if name == f"tiphys-{saved['number']}":
            subprocess.run(["nft", "delete", "table", family, name], check=True)
