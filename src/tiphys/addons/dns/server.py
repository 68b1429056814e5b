"""The server: UDP and TCP at one address, answers out of the zone, and everything else by way of
the forwarder.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from typing import Any

from dns.rcode import Rcode
from dns.rdatatype import RdataType

from tiphys.addons.dns import codec
from tiphys.addons.dns.answers import Answer, Question, labels_of
from tiphys.addons.dns.codec import Query, UnansweredError
from tiphys.addons.dns.configuration import Configuration
from tiphys.addons.dns.encoded import EncodedAnswers
from tiphys.addons.dns.forwarding import Forwarder
from tiphys.addons.dns.hosts import answer_of_hosts
from tiphys.addons.dns.metrics import DNSMetrics, Tally
from tiphys.addons.dns.zone import Zone
from tiphys.client.tasks import TaskGroup

log = logging.getLogger(__name__)

_MOST_FORWARDED = 512  # queries at once that wait for other servers; what comes beyond is dropped
_IDLE_TCP = 10.0  # seconds that a connection may be silent
_ALIASES = 8  # that are followed one after the other, as CoreDNS
_AT_ONCE = 64  # packets that are read before others have a turn
_RECEIVE_BUFFER = 1 << 20  # bytes


class DNSServer:
    """Answers out of the hosts that are configured, the zone, and what `forwarder` asks others."""

    def __init__(self, zone: Zone, forwarder: Forwarder, metrics: DNSMetrics | None = None) -> None:
        self._zone = zone
        self._forwarder = forwarder
        self._metrics = metrics or DNSMetrics()
        self._configuration = Configuration()
        self._encoded = EncodedAnswers()
        self._slots = asyncio.Semaphore(_MOST_FORWARDED)
        self._tasks = TaskGroup("dns")
        self._order = 0  # of the addresses in the next answer that is not remembered

    async def start(self, address: str, port: int = 53) -> None:
        """Raises OSError where the port is taken."""
        self._tcp = await asyncio.start_server(self._serve_connection, address, port)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._udp = socket.socket(family, socket.SOCK_DGRAM)
        self._udp.setblocking(False)
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._udp.bind((address, port))
        asyncio.get_running_loop().add_reader(self._udp, self._receive)

    async def stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._udp)
        self._udp.close()
        self._tcp.close()
        await self._tasks.stop()
        await self._forwarder.stop()

    @property
    def answered(self) -> int:
        """Queries that had a reply."""
        return self._metrics.answered

    def configure(self, configuration: Configuration) -> None:
        """From the next query on."""
        self._configuration = configuration
        self._forwarder.configure(configuration)
        self._encoded.clear()

    def forget(self, subject: str) -> None:
        """What the objects say about a subject (see `Zone.subject`) has changed."""
        self._encoded.forget(subject)

    # --- UDP ---

    def _receive(self) -> None:
        """A socket of our own rather than a datagram transport: several packets for one turn of the
        loop."""
        for _ in range(_AT_ONCE):
            try:
                wire, client = self._udp.recvfrom(codec.MAX_TCP)
            except OSError:
                return  # nothing more to read
            reply = self._encoded.find(wire)
            if reply is None:
                reply = self._answer_packet(wire, client)
            if reply:
                self._send(reply, client)

    def _send(self, reply: bytes, client: Any) -> None:
        with contextlib.suppress(OSError):  # the client asks again
            self._udp.sendto(reply, client)

    def _answer_packet(self, wire: bytes, client: Any) -> bytes:
        """The reply, or nothing when there is none or it comes later."""
        try:
            query = codec.read(wire)
        except UnansweredError as refusal:
            return refusal.reply
        answer = self._own_answer(query.question)
        if answer is None or answer.alias is not None:
            if not self._slots.locked():
                self._tasks.start(self._answer_later(query, client), "forward")
            return b""
        replies = [
            codec.write(query, answer.in_order(number), query.udp_limit)
            for number in range(answer.orders)
        ]
        tally = self._tally(query, answer, "udp")
        tally.count += 1
        self._encoded.put(wire, query, replies, self._zone.subject(query.question.labels), tally)
        return replies[0]

    async def _answer_later(self, query: Query, client: Any) -> None:
        async with self._slots:
            answer = await self._resolve(query, over_tcp=False)
        self._tally(query, answer, "udp").count += 1
        self._send(codec.write(query, answer, query.udp_limit), client)

    # --- TCP ---

    async def _serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Queries one after the other, each behind its length, until the client has no more."""
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            while True:
                async with asyncio.timeout(_IDLE_TCP):
                    (length,) = struct.unpack(">H", await reader.readexactly(2))
                    wire = await reader.readexactly(length)
                reply = await self._answer_over_tcp(wire)
                if not reply:
                    break
                writer.write(struct.pack(">H", len(reply)) + reply)
                await writer.drain()
        writer.close()

    async def _answer_over_tcp(self, wire: bytes) -> bytes:
        try:
            query = codec.read(wire)
        except UnansweredError as refusal:
            return refusal.reply
        answer = await self._resolve(query, over_tcp=True)
        self._tally(query, answer, "tcp").count += 1
        return codec.write(query, answer, codec.MAX_TCP)

    # --- both ---

    def _own_answer(self, question: Question) -> Answer | None:
        """None for a name that is forwarded. Hosts come first, as in CoreDNS' chain."""
        if self._configuration.hosts:
            answer = answer_of_hosts(question, self._configuration.hosts)
            if answer is not None:
                return answer
        return self._zone.answer(question)

    def _tally(self, query: Query, answer: Answer, protocol: str) -> Tally:
        zone = f"{self._zone.domain}." if answer.authoritative else "."
        return self._metrics.tally(zone, protocol, query.question.rdtype, answer.rcode)

    async def _resolve(self, query: Query, over_tcp: bool) -> Answer:
        answer = self._own_answer(query.question)
        if answer is None:
            answer = await self._forwarder.ask(query.message, over_tcp)
        else:
            await self._follow(query.question, answer)
        self._order += 1
        return answer.in_order(self._order)

    async def _follow(self, question: Question, answer: Answer) -> None:
        """An alias: the addresses of the name that it leads to belong into the answer."""
        if question.rdtype not in (RdataType.A, RdataType.AAAA):
            return
        for _ in range(_ALIASES):
            target = answer.alias
            if target is None:
                return
            next_answer = self._own_answer(Question(labels_of(target), question.rdtype))
            if next_answer is None:
                outside = await self._forwarder.ask_addresses(target, question.rdtype)
                answer.records += outside.records
                return
            if not next_answer.records:
                return
            answer.records += next_answer.records
        log.info("%s is an alias of an alias of itself", ".".join(question.labels))
        answer.rcode = Rcode.SERVFAIL
        answer.records.clear()
