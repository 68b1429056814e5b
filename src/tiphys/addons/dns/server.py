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
from tiphys.addons.dns.encoded import EncodedAnswers
from tiphys.addons.dns.forwarding import Forwarder
from tiphys.addons.dns.zone import Zone
from tiphys.client.tasks import TaskGroup

log = logging.getLogger(__name__)

_MOST_FORWARDED = 512  # queries at once that wait for other servers; what comes beyond is dropped
_IDLE_TCP = 10.0  # seconds that a connection may be silent
_ALIASES = 8  # that are followed one after the other, as CoreDNS
_AT_ONCE = 64  # packets that are read before others have a turn
_RECEIVE_BUFFER = 1 << 20  # bytes


class DNSServer:
    """`answered` counts the queries that had a reply."""

    def __init__(self, zone: Zone, forwarder: Forwarder) -> None:
        self._zone = zone
        self._forwarder = forwarder
        self._encoded = EncodedAnswers()
        self._slots = asyncio.Semaphore(_MOST_FORWARDED)
        self._tasks = TaskGroup("dns")
        self.answered = 0

    async def start(self, address: str, port: int = 53) -> None:
        """Raises OSError where the port is taken."""
        self._tcp = await asyncio.start_server(self._serve_connection, address, port)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.setblocking(False)
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._udp.bind((address, port))
        asyncio.get_running_loop().add_reader(self._udp, self._receive)

    async def stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._udp)
        self._udp.close()
        self._tcp.close()
        await self._tasks.stop()

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
            self.answered += 1

    def _answer_packet(self, wire: bytes, client: Any) -> bytes:
        """The reply, or nothing when there is none or it comes later."""
        try:
            query = codec.read(wire)
        except UnansweredError as refusal:
            return refusal.reply
        answer = self._zone.answer(query.question)
        if answer is None or answer.alias is not None:
            if not self._slots.locked():
                self._tasks.start(self._answer_later(query, client), "forward")
            return b""
        reply = codec.write(query, answer, query.udp_limit)
        self._encoded.put(wire, query, reply, self._zone.subject(query.question.labels))
        return reply

    async def _answer_later(self, query: Query, client: Any) -> None:
        async with self._slots:
            answer = await self._resolve(query, over_tcp=False)
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
                self.answered += 1
        writer.close()

    async def _answer_over_tcp(self, wire: bytes) -> bytes:
        try:
            query = codec.read(wire)
        except UnansweredError as refusal:
            return refusal.reply
        answer = await self._resolve(query, over_tcp=True)
        return codec.write(query, answer, codec.MAX_TCP)

    # --- both ---

    async def _resolve(self, query: Query, over_tcp: bool) -> Answer:
        answer = self._zone.answer(query.question)
        if answer is None:
            return await self._forwarder.ask(query.message, over_tcp)
        await self._follow(query.question, answer)
        return answer

    async def _follow(self, question: Question, answer: Answer) -> None:
        """An alias: the addresses of the name that it leads to belong into the answer."""
        if question.rdtype not in (RdataType.A, RdataType.AAAA):
            return
        for _ in range(_ALIASES):
            target = answer.alias
            if target is None:
                return
            next_answer = self._zone.answer(Question(labels_of(target), question.rdtype))
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
