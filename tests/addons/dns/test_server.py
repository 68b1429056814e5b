"""The server over sockets, asked by another implementation."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest
from dns.message import Message

from tests.addons.dns.builders import DOMAIN, Objects
from tests.addons.dns.upstream import ADDRESS, Upstream, response, running
from tests.network.builders import service, slice_of
from tiphys.addons.dns import forwarding
from tiphys.addons.dns import server as module
from tiphys.addons.dns.configuration import read
from tiphys.addons.dns.forwarding import Forwarder
from tiphys.addons.dns.server import DNSServer
from tiphys.addons.dns.zone import Zone
from tiphys.testing.cluster import free_port

SVC = f"d.svc.{DOMAIN}"


class Place:
    """A server on the loopback, and the objects that it answers out of."""

    def __init__(self, upstream: Upstream) -> None:
        self.objects = Objects()
        self.upstream = upstream
        self.server = DNSServer(
            Zone(DOMAIN, self.objects), Forwarder([ADDRESS], port=upstream.port)
        )
        self.port = free_port()

    async def udp(self, name: str, kind: str = "A", **options: object) -> Message:
        query = dns.message.make_query(name, kind, **options)  # type: ignore[arg-type]
        return await dns.asyncquery.udp(query, ADDRESS, 5, self.port)

    async def tcp(self, name: str, kind: str = "A") -> Message:
        query = dns.message.make_query(name, kind)
        return await dns.asyncquery.tcp(query, ADDRESS, 5, self.port)


def elsewhere(query: Message, protocol: str) -> Message:
    """Another server's: example.org has an address, anything else is not there; UDP is too short
    for long.org."""
    name = str(query.question[0].name)
    if name == "long.org." and protocol == "udp":
        return response(query, flags="TC RA")
    if name.lower() in ("example.org.", "long.org."):
        return response(query, f"{name} 20 A 192.0.2.1")
    return response(query, rcode=dns.rcode.NXDOMAIN, soa="20 20")


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with running(elsewhere) as upstream:
        place = Place(upstream)
        await place.server.start(ADDRESS, place.port)
        yield place
        await place.server.stop()


def texts(reply: Message) -> list[str]:
    return [rdata.to_text() for rrset in reply.answer for rdata in rrset]


async def test_a_service_is_found_over_udp_and_tcp(place: Place) -> None:
    for reply in (await place.udp(f"s.{SVC}"), await place.tcp(f"s.{SVC}")):
        assert texts(reply) == ["10.96.0.9"] and reply.flags & dns.flags.AA
    assert place.server.answered == 2 and not place.upstream.asked


async def test_an_answer_that_was_given_before_has_the_id_and_the_case_of_its_query(
    place: Place,
) -> None:
    await place.udp(f"s.{SVC}")
    again = await place.udp(f"S.d.Svc.{DOMAIN}", id=77)
    assert texts(again) == ["10.96.0.9"] and again.id == 77
    assert str(again.question[0].name).startswith("S.d.Svc.")


async def test_what_changes_is_answered_as_it_is_now(place: Place) -> None:
    assert texts(await place.udp(f"s.{SVC}")) == ["10.96.0.9"]
    place.objects.services["d/s"] = service("s", "10.96.0.88")
    place.server.forget("d/s")
    assert texts(await place.udp(f"s.{SVC}")) == ["10.96.0.88"]


async def test_clients_that_take_the_first_address_are_spread_over_all(place: Place) -> None:
    addresses = [f"10.1.0.{number}" for number in range(1, 5)]
    place.objects.by_service["d/headless"] = [slice_of("headless", *addresses)]
    for ask in (place.udp, place.tcp):
        replies = [texts(await ask(f"headless.{SVC}")) for _ in range(12)]
        firsts = [reply[0] for reply in replies]
        assert {firsts.count(address) for address in addresses} == {3}
        assert all(set(reply) == set(addresses) for reply in replies)


async def test_what_an_administrator_writes_holds_from_the_next_query_on(place: Place) -> None:
    assert texts(await place.udp("example.org")) == ["192.0.2.1"]
    assert texts(await place.udp(f"s.{SVC}")) == ["10.96.0.9"]
    hosts = f". {{\nhosts {{\n192.0.2.8 example.org s.{SVC}\nfallthrough\n}}\n}}"
    place.server.configure(read({"Corefile": hosts}, {}))
    for name in ("example.org", f"s.{SVC}"):
        assert texts(await place.udp(name)) == texts(await place.tcp(name)) == ["192.0.2.8"]
    place.server.configure(read({}, {}))
    assert texts(await place.udp("example.org")) == ["192.0.2.1"]
    assert texts(await place.udp(f"s.{SVC}")) == ["10.96.0.9"]


async def test_a_server_listens_at_an_ipv6_address() -> None:
    server = DNSServer(Zone(DOMAIN, Objects()), Forwarder([]))
    port = free_port()
    await server.start("::1", port)
    query = dns.message.make_query(f"s.{SVC}", "A")
    for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
        assert texts(await ask(query, "::1", 5, port)) == ["10.96.0.9"]
    await server.stop()


async def test_names_of_others_are_asked_for_over_the_clients_protocol(place: Place) -> None:
    over_udp = await place.udp("Example.org")
    long = await place.udp("long.org")
    assert texts(over_udp) == ["192.0.2.1"] and not over_udp.flags & dns.flags.AA
    assert long.flags & dns.flags.TC and not long.answer
    assert texts(await place.tcp("long.org")) == ["192.0.2.1"]
    assert [protocol for protocol, _ in place.upstream.asked] == ["udp", "udp", "tcp"]


async def test_a_denial_comes_with_what_bounds_it(place: Place) -> None:
    for reply in (await place.udp("none.org"), await place.udp(f"none.{SVC}")):
        assert reply.rcode() == dns.rcode.NXDOMAIN
        assert [rrset.rdtype for rrset in reply.authority] == [dns.rdatatype.SOA]


ALIASES = [
    ("out", "A", ["Example.org.", "192.0.2.1"]),
    ("out", "CNAME", ["Example.org."]),
    ("out", "TXT", ["Example.org."]),
    ("inner", "A", [f"s.{SVC}.", "10.96.0.9"]),
    ("inner", "AAAA", [f"s.{SVC}."]),
]


@pytest.mark.parametrize(("host", "kind", "expected"), ALIASES)
async def test_an_alias_comes_with_the_addresses_it_leads_to(
    place: Place, host: str, kind: str, expected: Sequence[str]
) -> None:
    assert texts(await place.udp(f"{host}.{SVC}", kind)) == expected
    assert texts(await place.tcp(f"{host}.{SVC}", kind)) == expected


async def test_an_alias_of_itself_is_a_failure(place: Place) -> None:
    reply = await place.udp(f"loop.{SVC}")
    assert reply.rcode() == dns.rcode.SERVFAIL and not reply.answer


async def test_a_long_answer_is_cut_over_udp_and_whole_over_tcp(place: Place) -> None:
    addresses = [f"10.1.{number // 250}.{number % 250}" for number in range(500)]
    place.objects.by_service["d/headless"] = [slice_of("headless", *addresses)]
    query = dns.message.make_query(f"headless.{SVC}", "A")
    reply, fell_back = await dns.asyncquery.udp_with_fallback(query, ADDRESS, 5, place.port)
    assert fell_back and len(reply.answer[0]) == 500


async def test_packets_that_are_no_queries_are_refused_over_both(place: Place) -> None:
    wire = b"\x00\x07" + b"\x28\x00" + b"\x00\x01" + bytes(6)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        await loop.sock_sendto(client, wire, (ADDRESS, place.port))
        over_udp = await asyncio.wait_for(loop.sock_recv(client, 512), 5)
    reader, writer = await asyncio.open_connection(ADDRESS, place.port)
    writer.write(len(wire).to_bytes(2, "big") + wire)
    over_tcp = await asyncio.wait_for(reader.readexactly(14), 5)
    writer.close()
    assert over_tcp[2:] == over_udp == b"\x00\x07\xa8\x04" + bytes(8), "NOTIMP to an update"


async def test_a_connection_takes_one_query_after_the_other(place: Place) -> None:
    reader, writer = await asyncio.open_connection(ADDRESS, place.port)
    for ident in (1, 2):
        wire = dns.message.make_query(f"s.{SVC}", "A", id=ident).to_wire()
        writer.write(len(wire).to_bytes(2, "big") + wire)
        length = int.from_bytes(await reader.readexactly(2), "big")
        assert dns.message.from_wire(await reader.readexactly(length)).id == ident
    writer.close()


async def test_a_silent_connection_is_closed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_TCP", 0.05)
    reader, writer = await asyncio.open_connection(ADDRESS, place.port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_no_more_queries_wait_for_others_than_is_said(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod that asks for names of a server that is silent does not take the memory of the node."""
    monkeypatch.setattr(forwarding, "_TIMEOUT", 0.3)
    place.server._slots = asyncio.Semaphore(1)
    place.upstream._reply = lambda query, protocol: None
    slow = asyncio.ensure_future(place.udp("slow.org"))
    while not place.upstream.asked:  # noqa: ASYNC110 - a list that another task fills
        await asyncio.sleep(0)
    query = dns.message.make_query("dropped.org", "A")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(query.to_wire(), (ADDRESS, place.port))
    assert texts(await place.udp(f"s.{SVC}")) == ["10.96.0.9"], "the cluster's names go on"
    assert (await slow).rcode() == dns.rcode.SERVFAIL
    place.upstream._reply = elsewhere
    await place.udp("long.org")
    names = [str(query.question[0].name) for _, query in place.upstream.asked]
    assert names == ["slow.org.", "long.org."]
