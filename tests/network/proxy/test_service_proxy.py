"""The proxy between a real API server and a real kernel, whose network namespace is the node."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.builders import pod as build_pod
from tests.network.builders import endpoint, service, slice_with
from tests.network.services import NamespaceKernel
from tests.network.sockets import ip
from tiphys.api import core_v1, discovery_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.informer import Informers
from tiphys.network.proxy.endpoints import Endpoint
from tiphys.network.proxy.flows import stale
from tiphys.network.proxy.rules import Flow
from tiphys.network.proxy.service_proxy import ProxyNode, ServiceProxy
from tiphys.network.proxy.table import Change
from tiphys.testing import LocalCluster

TABLE = "proxy-test"


class Kernel(NamespaceKernel):
    """That of a namespace of its own."""

    def __init__(self) -> None:
        self.namespace = f"sp{os.getpid()}"
        ip("netns", "add", self.namespace)
        super().__init__(self.namespace)

    def map(self, name: str, table: str = TABLE) -> str:
        """Empty where there is no such table."""
        return self.nft("list", "map", "ip", table, name).stdout

    def close(self) -> None:
        ip("netns", "del", self.namespace)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.fixture
async def proxy(server: LocalCluster, kernel: Kernel) -> AsyncIterator[ServiceProxy]:
    await server.client.create(core_v1.Namespace(metadata=ObjectMeta(name="d")))
    yield proxy_of(server, kernel)
    await server.tasks.stop()


def proxy_of(server: LocalCluster, kernel: Kernel) -> ServiceProxy:
    node = ProxyNode("n1", (), TABLE, "10.1.0.0/16", "10.96.0.0/16")
    return ServiceProxy(Informers(server.client, server.tasks), node, kernel)


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
    assert "10.1.0.1" not in kernel.list()
    for name in ("sync_proxy_rules", "sync_full_proxy_rules", "sync_partial_proxy_rules"):
        rounds = f"kubeproxy_{name}_duration_seconds_count"
        assert proxy.metrics.registry.get_sample_value(rounds, {"ip_family": "IPv4"})


HOST_PORT = {"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}


@pytest.mark.root
@pytest.mark.needs("nft", "ip")
async def test_what_an_earlier_run_left_is_in_force_until_the_new_table_is_whole(
    server: LocalCluster, kernel: Kernel, proxy: ServiceProxy
) -> None:
    kernel.script(f"add table ip {TABLE}\nadd chain ip {TABLE} lead\n")
    await server.client.create(service("s", "10.96.0.99"))
    server.tasks.start(proxy.run(), "proxy")
    other = f"{TABLE}-2"
    await server.eventually(lambda: "10.96.0.99 . 80" in kernel.map("dead", other))
    await server.eventually(lambda: kernel.list().count("table ip") == 1)
    proxy.remove()
    assert kernel.list() == ""


@pytest.mark.root
@pytest.mark.needs("nft", "ip")
async def test_what_is_refused_is_written_as_a_whole(
    server: LocalCluster, kernel: Kernel, proxy: ServiceProxy
) -> None:
    await server.client.create(service("s", "10.96.0.99"))
    server.tasks.start(proxy.run(), "proxy")
    await server.eventually(lambda: "10.96.0.99 . 80" in kernel.map("dead"))
    kernel.refusals = 1
    await server.client.create(service("t", "10.96.0.98"))
    other = f"{TABLE}-2"
    await server.eventually(lambda: "10.96.0.98 . 80" in kernel.map("dead", other))
    assert "10.96.0.99 . 80" in kernel.map("dead", other) and not kernel.refusals


# --- UDP ---

A, B = Endpoint("10.1.0.1", 53), Endpoint("10.1.0.2", 53)
TO_SERVICE = ("-p", "udp", "--orig-dst", "10.96.0.9", "--orig-port-dst", "53")
TO_A = (*TO_SERVICE, "--reply-src", "10.1.0.1", "--reply-port-src", "53")
MOVES = [
    ([A], [A, B], []),
    ([A, B], [B], [TO_A]),
    ([A], [], [TO_A]),
    ([A], None, [TO_A]),
    ([], [A], [TO_SERVICE]),
    (None, [A], [TO_SERVICE]),
    (None, [], []),
]


@pytest.mark.parametrize(("old", "new", "forgotten"), MOVES)
def test_flows_are_forgotten_to_endpoints_that_are_gone_or_from_before_there_were_any(
    old: list[Endpoint] | None, new: list[Endpoint] | None, forgotten: list[object]
) -> None:
    change = Change(
        Flow("10.96.0.9", 53),
        None if old is None else frozenset(old),
        None if new is None else frozenset(new),
    )
    assert list(stale([change])) == forgotten


def test_flows_of_a_node_port_are_those_to_any_address() -> None:
    change = Change(Flow("", 30053), frozenset([A]), frozenset())
    (selection,) = stale([change])
    assert "--orig-dst" not in selection and "30053" in selection
