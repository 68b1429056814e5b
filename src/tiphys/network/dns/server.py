"""The DNS server: answers the cluster's names itself, passes the others on, and remembers what it was told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import struct
import time
from collections import OrderedDict
from typing import Any

from tiphys.network.dns import message as dns
from tiphys.network.dns.message import Answer, MessageError, Question, Record, build, parse
from tiphys.network.dns.zone import Zone

log = logging.getLogger(__name__)

_CACHE, _CACHE_SECONDS = 4096, 30.0
_UPSTREAM_SECONDS = 2.0
_INFLIGHT = 512


class Forwarder:
    """Asks the machine's own name servers. `now` is a monotonic clock."""

    def __init__(self, servers: list[str], now: Any = time.monotonic) -> None:
        self._servers = servers
        self._now = now
        self._cache: OrderedDict[tuple[str, int], tuple[float, bytes]] = OrderedDict()

    async def ask(self, packet: bytes, question: Question) -> bytes | None:
        """The answer's packet under the client's id, or None when nobody answers."""
        key, now = (question.name, question.kind), self._now()
        known = self._cache.get(key)
        if known is not None and known[0] > now:
            return packet[:2] + known[1][2:]
        for server in self._servers:
            with contextlib.suppress(OSError, TimeoutError):
                answer = await self._exchange(server, packet)
                self._cache[key] = (now + _CACHE_SECONDS, answer)
                if len(self._cache) > _CACHE:
                    self._cache.popitem(last=False)
                return packet[:2] + answer[2:]
        return None

    async def _exchange(self, server: str, packet: bytes) -> bytes:
        id = struct.pack(
            ">H", random.getrandbits(16)
        )  # a fresh id: answers cannot be guessed from the client's
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[bytes] = loop.create_future()

        class Waiting(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                if data[:2] == id and not answered.done():
                    answered.set_result(data)

            def error_received(self, exc: Exception) -> None:
                if not answered.done():
                    answered.set_exception(exc)

        transport, _ = await loop.create_datagram_endpoint(Waiting, remote_addr=(server, 53))
        try:
            transport.sendto(id + packet[2:])
            async with asyncio.timeout(_UPSTREAM_SECONDS):
                return await answered
        finally:
            transport.close()


class DNSServer:
    def __init__(self, zone: Zone, forwarder: Forwarder) -> None:
        self._zone = zone
        self._forwarder = forwarder
        self._slots = asyncio.Semaphore(_INFLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()
        self.answered = 0

    async def start(self, address: str, port: int = 53) -> None:
        loop = asyncio.get_running_loop()
        server = self

        class UDP(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: Any) -> None:
                server._udp(self.transport, data, addr)

        self._udp_transport, _ = await loop.create_datagram_endpoint(
            UDP, local_addr=(address, port)
        )
        self._tcp = await asyncio.start_server(self._tcp_client, address, port)

    async def stop(self) -> None:
        self._udp_transport.close()
        self._tcp.close()

    def _udp(self, transport: Any, data: bytes, addr: Any) -> None:
        try:
            question = parse(data)
        except MessageError:
            return
        answer = self._zone.answer(question)
        if answer is not None and not _leaves(answer, self._zone):
            self.answered += 1
            transport.sendto(build(question, answer, question.size), addr)
        elif not self._slots.locked():
            task = asyncio.get_running_loop().create_task(
                self._later(transport, data, question, addr), name="dns-forward"
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _later(self, transport: Any, data: bytes, question: Question, addr: Any) -> None:
        async with self._slots:
            answer = await self.resolve(data, question, question.size)
            if not transport.is_closing():
                transport.sendto(answer, addr)

    async def resolve(self, data: bytes, question: Question, limit: int) -> bytes:
        self.answered += 1
        answer = self._zone.answer(question)
        if answer is not None:
            if _leaves(answer, self._zone):
                await self._follow(answer, question)
            return build(question, answer, limit)
        packet = await self._forwarder.ask(data, question)
        return packet if packet is not None else build(question, Answer(dns.SERVFAIL), limit)

    async def _follow(self, answer: Answer, question: Question) -> None:
        """An alias to a name outside: its addresses belong to the answer."""
        target = str(answer.records[-1].data)
        if question.kind not in (dns.A, dns.AAAA):
            return
        inner = Question(target.lower(), question.kind, 1)
        head = struct.pack(">6H", 1, 0x100, 1, 0, 0, 0)
        packet = await self._forwarder.ask(
            head + dns.write_name(target) + struct.pack(">2H", question.kind, 1), inner
        )
        if packet is not None:
            answer.records += _addresses(packet, target)

    async def _tcp_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, MessageError):
            while True:
                async with asyncio.timeout(10):
                    size = struct.unpack(">H", await reader.readexactly(2))[0]
                    data = await reader.readexactly(size)
                answer = await self.resolve(data, parse(data), 65535)
                writer.write(struct.pack(">H", len(answer)) + answer)
                await writer.drain()
        writer.close()


def _leaves(answer: Answer, zone: Zone) -> bool:
    return bool(answer.records) and answer.records[-1].kind == dns.CNAME


def _addresses(packet: bytes, name: str) -> list[Record]:
    """The A and AAAA records of a packet."""
    import ipaddress

    found: list[Record] = []
    try:
        count, at = struct.unpack_from(">H", packet, 6)[0], 12
        _, at = dns.read_name(packet, at)
        at += 4
        for _ in range(count):
            _, at = dns.read_name(packet, at)
            kind, _, ttl, size = struct.unpack_from(">2HIH", packet, at)
            raw = packet[at + 10 : at + 10 + size]
            at += 10 + size
            if kind in (dns.A, dns.AAAA):
                found.append(Record(name, kind, str(ipaddress.ip_address(raw)), ttl))
    except (MessageError, struct.error, ValueError):
        pass
    return found
