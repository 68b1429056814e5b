"""The proxy between a real API server and a real kernel, whose network namespace is the node."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.builders import pod as build_pod
from tests.network.builders import endpoint, port, service, slice_with
from tests.network.sockets import ip
from tiphys.api import core_v1, discovery_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.informer import Informers
from tiphys.network.nft import NftError
from tiphys.network.proxy.rules import Ruleset, UDPService, desired
from tiphys.network.proxy.service_proxy import ServiceProxy, moved_udp_services
from tiphys.testing import LocalCluster

TABLE = "proxy-test"


class Kernel:
    """nft in a namespace of its own; `broken` scripts are refused."""

    def __init__(self) -> None:
        self._namespace = f"sp{os.getpid()}"
        self.refusals = 0
        ip("netns", "add", self._namespace)

    def _nft(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        command = ["nsenter", f"--net=/run/netns/{self._namespace}", "nft", *words]
        return subprocess.run(command, input=text, capture_output=True, text=True)

    def write(self, script: str) -> None:
        if self.refusals and not script.startswith("add table"):
            self.refusals -= 1
            raise NftError("refused")
        finished = self._nft("-f", "-", text=script)
        if finished.returncode:
            raise NftError(finished.stderr)

    def map(self, name: str) -> str:
        return self._nft("list", "map", "ip", TABLE, name).stdout

    def table(self) -> str:
        return self._nft("list", "table", "ip", TABLE).stdout

    def close(self) -> None:
        ip("netns", "del", self._namespace)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.fixture
async def proxy(server: LocalCluster, kernel: Kernel) -> AsyncIterator[ServiceProxy]:
    await server.client.create(core_v1.Namespace(metadata=ObjectMeta(name="d")))
    informers = Informers(server.client, server.tasks)
    proxy = ServiceProxy(
        informers, "n1", "127.0.0.1", TABLE, "10.1.0.0/16", "10.96.0.0/16", kernel.write
    )
    yield proxy
    await server.tasks.stop()


def backed(name: str, address: str) -> discovery_v1.EndpointSlice:
    built = slice_with(name, [endpoint(address)])
    built.address_type = "IPv4"
    return built


@pytest.mark.root
@pytest.mark.needs("nft", "ip")
async def test_services_and_host_ports_come_to_the_kernel_and_go(
    server: LocalCluster, kernel: Kernel, proxy: ServiceProxy
) -> None:
    await server.client.create(service("s", "10.96.0.99"))
    await server.client.create(backed("s", "10.1.0.1"))
    server.tasks.start(proxy.run(), "proxy")
    await server.eventually(lambda: "10.96.0.99 . 80" in kernel.map("services"))
    pod = build_pod("p", containers=[{"name": "c", "image": "i", "ports": [HOST_PORT]}])
    pod.metadata.uid, pod.status.pod_ip, pod.status.phase = "u", "10.1.0.5", "Running"
    proxy.pod_changed(None, pod)
    await server.eventually(lambda: "8080" in kernel.map("hostports"))
    proxy.pod_changed(pod, None)
    await server.eventually(lambda: "8080" not in kernel.map("hostports"))
    await server.client.delete(discovery_v1.EndpointSlice, "s", "d")
    await server.eventually(lambda: "10.96.0.99 . 80" in kernel.map("dead"))
    assert "10.1.0.1" not in kernel.table()


HOST_PORT = {"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}


@pytest.mark.root
@pytest.mark.needs("nft", "ip")
async def test_what_an_earlier_run_left_and_what_is_refused_is_written_as_a_whole(
    server: LocalCluster, kernel: Kernel, proxy: ServiceProxy
) -> None:
    kernel.write(f"add table ip {TABLE}\nadd chain ip {TABLE} stale\n")
    await server.client.create(service("s", "10.96.0.99"))
    server.tasks.start(proxy.run(), "proxy")
    await server.eventually(lambda: "10.96.0.99 . 80" in kernel.map("dead"))
    assert "stale" not in kernel.table()
    kernel.refusals = 1
    await server.client.create(service("t", "10.96.0.98"))
    await server.eventually(lambda: "10.96.0.98 . 80" in kernel.map("dead"))
    assert "10.96.0.99 . 80" in kernel.map("dead") and not kernel.refusals
    proxy.remove()
    assert kernel.table() == ""


# --- UDP ---


def dns(*addresses: str, ip: str = "10.96.0.9") -> Ruleset:
    one = service(ip=ip, ports=[port("dns", 53, "UDP")])
    rows = [endpoint(address) for address in addresses]
    return desired([one], [slice_with("s", rows, (("dns", 53, "UDP"),))], "n1")


MOVES = [
    (dns("10.1.0.1"), dns("10.1.0.1"), False),
    (dns("10.1.0.1"), dns("10.1.0.2"), True),
    (dns(), dns("10.1.0.1"), True),
    (dns("10.1.0.1"), dns(), True),
    (Ruleset(), dns("10.1.0.1"), True),
    (Ruleset(), dns(), False),
    (dns("10.1.0.1"), desired([service()], [], "n1"), False),
]


@pytest.mark.parametrize(("old", "new", "moved"), MOVES)
def test_flows_are_forgotten_when_a_udp_service_leads_elsewhere(
    old: Ruleset, new: Ruleset, moved: bool
) -> None:
    assert moved_udp_services(old, new) == ([UDPService("10.96.0.9", 53)] if moved else [])
