"""Answers a second of the cluster's DNS server: what a node gives when its pods look up services as
fast as they can.

Two figures for each kind of client: answers a second over UDP, and the server's CPU for one of
them, which does not depend on what else runs. The clients are a process of their own, so the server
has one core for itself.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import select
import socket
import sys
import time
from collections.abc import Callable, Iterable
from multiprocessing.queues import Queue

import dns.edns
import dns.message
import uvloop

from tiphys.addons.dns.forwarding import Forwarder
from tiphys.addons.dns.server import DNSServer
from tiphys.addons.dns.zone import Zone
from tiphys.api import core_v1, discovery_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.testing.cluster import free_port

SERVICES = 500
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
IN_FLIGHT = 64
GOAL = 33_000  # answers a second on two cores


class Services:
    """As many services as a middling cluster has, each with an address of its own."""

    def __init__(self) -> None:
        self._services = {
            f"default/service-{number}": _service(number) for number in range(SERVICES)
        }

    def service(self, namespace: str, name: str) -> core_v1.Service | None:
        return self._services.get(f"{namespace}/{name}")

    def slices(self, namespace: str, name: str) -> list[discovery_v1.EndpointSlice]:
        return []

    def namespace_exists(self, name: str) -> bool:
        return name == "default"

    def by_address(self, address: str) -> list[str]:
        return []


def _service(number: int) -> core_v1.Service:
    service = core_v1.Service(metadata=ObjectMeta(name=f"service-{number}", namespace="default"))
    service.spec.cluster_ip = f"10.96.{number // 250}.{number % 250}"
    service.spec.ports = [core_v1.ServicePort(name="http", port=80, protocol="TCP")]
    return service


def _random_case(name: str) -> str:
    return "".join(random.choice((letter.lower(), letter.upper())) for letter in name)


def _names() -> list[str]:
    return [f"service-{number}.default.svc.cluster.local." for number in range(SERVICES)]


def plain() -> Iterable[bytes]:
    """What glibc and musl send."""
    return (dns.message.make_query(name, "A").to_wire() for name in _names())


def edns() -> Iterable[bytes]:
    return (
        dns.message.make_query(name, "A", use_edns=0, payload=1232).to_wire() for name in _names()
    )


def mixed_case() -> Iterable[bytes]:
    """Resolvers that write every question in a case of its own (0x20)."""
    names = (_random_case(name) for _ in range(20) for name in _names())
    return (dns.message.make_query(name, "A").to_wire() for name in names)


def never_twice() -> Iterable[bytes]:
    """A cookie of its own in every query: nothing that was encoded before can be used."""
    for name in _names() * 20:
        cookie = dns.edns.GenericOption(10, random.randbytes(8))
        yield dns.message.make_query(name, "A", use_edns=0, options=[cookie]).to_wire()


KINDS: dict[str, Callable[[], Iterable[bytes]]] = {
    "plain": plain,
    "EDNS": edns,
    "mixed case": mixed_case,
    "never twice": never_twice,
}


def clients(port: int, kind: str, seconds: float, results: Queue[float]) -> None:
    """Keeps `IN_FLIGHT` queries unanswered for a time, and reports how many answers came each
    second."""
    queries = list(KINDS[kind]())
    random.shuffle(queries)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    answered = sent = 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        while sent - answered < IN_FLIGHT:
            client.send(queries[sent % len(queries)])
            sent += 1
        if not select.select([client], [], [], 1.0)[0]:
            answered = sent  # what was lost is not waited for
            continue
        try:
            while True:
                client.recv(4096)
                answered += 1
        except BlockingIOError:
            pass
    results.put(answered / (time.perf_counter() - began))


async def measure(server: DNSServer, port: int, kind: str) -> tuple[float, float]:
    """(answers a second, seconds of the server's CPU for an answer)"""
    results: Queue[float] = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(
        target=clients, args=(port, kind, SECONDS, results)
    )
    answered, used = server.answered, time.process_time()
    process.start()
    rate = await asyncio.to_thread(results.get)
    process.join()
    return rate, (time.process_time() - used) / (server.answered - answered)


async def main() -> None:
    server = DNSServer(Zone("cluster.local", Services()), Forwarder([]))
    port = free_port()
    await server.start("127.0.0.1", port)
    for kind in KINDS:
        rate, cost = await measure(server, port, kind)
        print(f"{kind:12} {rate:8,.0f} answers/s   {cost * 1e6:6.1f} µs of CPU each", flush=True)
    print(f"to reach     {GOAL:8,} answers/s")
    await server.stop()


if __name__ == "__main__":
    uvloop.run(main())
