"""A name server of somebody else, on the loopback, over UDP and TCP."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import dns.flags
import dns.message
import dns.rrset
from dns.message import Message

from tiphys.testing.cluster import free_port

ADDRESS = "127.0.0.1"


class Upstream:
    """`reply` makes the reply to each query; None is silence. `asked` are (protocol, query)."""

    def __init__(self, reply: Callable[[Message, str], Message | None]) -> None:
        self._reply = reply
        self.asked: list[tuple[str, Message]] = []
        self.port = free_port()

    def answer(self, wire: bytes, protocol: str) -> bytes:
        query = dns.message.from_wire(wire)
        self.asked.append((protocol, query))
        reply = self._reply(query, protocol)
        return reply.to_wire() if reply is not None else b""

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            (length,) = struct.unpack(">H", await reader.readexactly(2))
            reply = self.answer(await reader.readexactly(length), "tcp")
            writer.write(struct.pack(">H", len(reply)) + reply)
        writer.close()


class _UDP(asyncio.DatagramProtocol):
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if reply := self._upstream.answer(data, "udp"):
            self._transport.sendto(reply, addr)


@contextlib.asynccontextmanager
async def running(reply: Callable[[Message, str], Message | None]) -> AsyncIterator[Upstream]:
    upstream = Upstream(reply)
    at = (ADDRESS, upstream.port)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _UDP(upstream), local_addr=at)
    server = await asyncio.start_server(upstream.serve_tcp, *at)
    try:
        yield upstream
    finally:
        transport.close()
        server.close()


def response(
    query: Message, *records: str, rcode: int = 0, soa: str = "", flags: str = "RA"
) -> Message:
    """A reply; records are ``NAME TTL TYPE DATA``, `soa` is the ``TTL MINIMUM`` of the
    authority's."""
    reply = dns.message.make_response(query)
    reply.set_rcode(rcode)  # type: ignore[arg-type]
    reply.flags |= dns.flags.from_text(flags)
    for record in records:
        name, ttl, kind, data = record.split(" ", 3)
        reply.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, data))
    if soa:
        ttl, minimum = soa.split()
        data = f"ns.org. host.org. 1 7200 1800 86400 {minimum}"
        reply.authority.append(dns.rrset.from_text("org.", int(ttl), "IN", "SOA", data))
    return reply
