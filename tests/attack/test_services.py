"""What a service's author may try with the nodes' proxies."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.network.builders import endpoint, port, service, slice_of, slice_with
from tests.network.services import POD_CIDR, SERVICE_CIDR, TABLE, NamespaceKernel
from tests.network.sockets import ip
from tiphys.api import core_v1
from tiphys.network.proxy.endpoints import Place
from tiphys.network.proxy.kernel import KernelTable
from tiphys.network.proxy.rules import Element
from tiphys.network.proxy.serviceports import service_part
from tiphys.network.proxy.table import Table
from tiphys.network.proxy.wire import IPV4, messages

HERE = Place("n1")


@pytest.fixture
def kernel() -> Iterator[NamespaceKernel]:
    namespace = f"as{os.getpid()}"
    ip("netns", "add", namespace)
    yield NamespaceKernel(namespace)
    ip("netns", "del", namespace)


def numbered(number: int, **spec: object) -> core_v1.Service:
    return service(f"s{number}", f"10.96.{number // 250}.{number % 250}", **spec)


@pytest.mark.root
@pytest.mark.needs("nft", "ip", "nsenter")
def test_a_thousand_services_whose_clients_stay_cost_the_node_a_second(
    kernel: NamespaceKernel,
) -> None:
    """Of processor time. Rules of theirs that are bound to one map made it a minute."""
    table = Table()
    on_node = KernelTable(IPV4, TABLE, [POD_CIDR[4]], [SERVICE_CIDR[4]], kernel)
    on_node.replace(table.take())
    before = time.process_time()
    for number in range(1000):
        one = numbered(number, session_affinity="ClientIP")
        rows = [f"10.1.{number // 50}.{tail}" for tail in range(1, 11)]
        table.put(one.metadata.name, service_part(one, [slice_of("s", *rows)], HERE))
    on_node.change(table.take())
    assert time.process_time() - before < 3.0


def test_nobody_takes_the_external_address_of_a_service_that_is_there() -> None:
    table = Table()
    wanted = Element("services", "tcp", "192.0.2.7", 80)
    for name in ("z-first", "a-second"):
        one = service(name, external_ips=["192.0.2.7"])
        table.put(name, service_part(one, [slice_of(name, "10.1.0.1")], HERE))
        changes = {change.key: change.new for change in table.take().elements}
        if name == "z-first":
            assert wanted in changes
        else:
            assert wanted not in changes


UNREADABLE = ["010.0.0.1", "fd01::1", "x; drop", "", "10.1.0.1/32"]


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_is_no_address_is_left_out_and_stops_nobody(text: str) -> None:
    one = service(external_ips=[text], load_balancer_source_ranges=[text])
    rows = slice_with("s", [endpoint(text), endpoint("10.1.0.1")])
    part = service_part(one, [rows], HERE)
    assert [len(targets) for targets in part.pools.values()] == [1]
    table = Table()
    table.put("s", part)
    assert list(messages(IPV4, TABLE, table.take()))


def test_names_never_reach_the_kernel() -> None:
    ports = [port("x; flush ruleset", 80)]
    one = service("n; flush ruleset", ports=ports)
    table = Table()
    slices = [
        slice_with(one.metadata.name, [endpoint("10.1.0.1")], (("x; flush ruleset", 1, None),))
    ]
    table.put("s", service_part(one, slices, HERE))
    assert b"flush" not in b"".join(messages(IPV4, TABLE, table.take()))
