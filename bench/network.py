"""The service proxy: what a first sync and a change cost, in processor time, kernel included.

    python bench/network.py [services] [endpoints of each]

It works in a network namespace of its own, which needs root.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable

from tiphys.api import core_v1, discovery_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.network.proxy.endpoints import SERVICE_NAME, Place
from tiphys.network.proxy.kernel import KernelTable, ThisKernel
from tiphys.network.proxy.rules import Part
from tiphys.network.proxy.serviceports import service_part
from tiphys.network.proxy.table import Table
from tiphys.network.proxy.wire import IPV4

_NEW_NETWORK = 0x40000000


def service(number: int) -> core_v1.Service:
    made = core_v1.Service(metadata=ObjectMeta(name=f"s{number}", namespace="bench"))
    made.spec.cluster_ip = f"10.96.{number // 250}.{number % 250}"
    made.spec.ports = [core_v1.ServicePort(name="http", port=80, protocol="TCP")]
    return made


def endpoint_slice(number: int, endpoints: int, last: int = 0) -> discovery_v1.EndpointSlice:
    """`last` replaces the last endpoint by another one."""
    labels = {SERVICE_NAME: f"s{number}"}
    made = discovery_v1.EndpointSlice(
        metadata=ObjectMeta(name=f"s{number}", namespace="bench", labels=labels),
        address_type="IPv4",
    )
    made.ports = [discovery_v1.EndpointPort(name="http", port=8080, protocol="TCP")]
    ready = discovery_v1.EndpointConditions(ready=True)
    for index in range(endpoints):
        tail = last if last and index == endpoints - 1 else index + 1
        address = f"10.{number % 250}.{number // 250}.{tail}"
        made.endpoints.append(
            discovery_v1.Endpoint(addresses=[address], conditions=ready, node_name=f"n{index}")
        )
    return made


class Bench:
    def __init__(self, services: int, endpoints: int) -> None:
        self._table = Table()
        networks = ["10.0.0.0/8"], ["10.96.0.0/12"]
        self._kernel = KernelTable(IPV4, "bench", *networks, ThisKernel())
        self._endpoints = endpoints
        self._services = [service(number) for number in range(services)]
        self._slices = [endpoint_slice(number, endpoints) for number in range(services)]

    def first_sync(self) -> None:
        for one, of_one in zip(self._services, self._slices, strict=True):
            self._put(one, of_one)
        self._kernel.replace(self._table.take())

    def _put(self, one: core_v1.Service, of_one: discovery_v1.EndpointSlice) -> None:
        self._table.put(one.metadata.name, service_part(one, [of_one], Place("n0")))

    def change(self, of_one: discovery_v1.EndpointSlice) -> None:
        self._put(self._services[7], of_one)
        self._kernel.change(self._table.take())

    def replace_an_endpoint(self, turn: int) -> None:
        self.change(endpoint_slice(7, self._endpoints, last=100 + turn))

    def add_and_remove(self, turn: int) -> None:
        self.change(endpoint_slice(7, self._endpoints + turn % 2))

    def nothing(self, turn: int) -> None:
        self._put(self._services[7], self._slices[7])

    def new_service(self, turn: int) -> None:
        one = service(len(self._services) + turn)
        of_one = endpoint_slice(len(self._services) + turn, self._endpoints)
        self._put(one, of_one)
        self._kernel.change(self._table.take())

    def remove(self) -> None:
        self._table.put("s7", Part())
        self._kernel.remove()


def median(work: Callable[[int], None]) -> float:
    """Milliseconds of processor time."""
    spent = []
    for turn in range(21):
        before = time.process_time()
        work(turn)
        spent.append(time.process_time() - before)
    return sorted(spent)[10] * 1000


def main() -> None:
    services = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    endpoints = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    bench = Bench(services, endpoints)
    before = time.process_time()
    bench.first_sync()
    print(f"{services} services with {services * endpoints} endpoints")
    print(f"first sync             {time.process_time() - before:8.2f} s")
    print(f"an endpoint replaced   {median(bench.replace_an_endpoint):8.2f} ms")
    print(f"one more or one less   {median(bench.add_and_remove):8.2f} ms")
    print(f"a new service          {median(bench.new_service):8.2f} ms")
    print(f"nothing changed        {median(bench.nothing):8.2f} ms")
    bench.remove()


if __name__ == "__main__":
    main()
