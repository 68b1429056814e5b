"""Names that are not the cluster's: resolved by the name servers that the configuration has for
them, or of the machine's own, and remembered for a while.

The rules are those of CoreDNS' plugins forward and cache with kubeadm's Corefile (``cache 30``): a
query goes out over the protocol it came in over, answers are kept for 5 to 30 seconds as their TTL
says, failures of a server for 5. An answer that is queried again near the end of its life is
refreshed before it ends, so that no client waits for it.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
from dns.flags import Flag
from dns.message import Message
from dns.name import Name
from dns.rcode import Rcode
from dns.rdatatype import RdataType
from dns.rrset import RRset

from tiphys.addons.dns.answers import Answer
from tiphys.addons.dns.configuration import DNS_PORT, LONGEST, Configuration, Server
from tiphys.addons.dns.metrics import DNSMetrics
from tiphys.client.tasks import TaskGroup

log = logging.getLogger(__name__)

_MOST = 4096  # answers
_TIMEOUT = 2.0  # seconds for one server
_SHORTEST = 5  # seconds that an answer is kept at least
_POPULAR = 2  # questions within a life that make an answer worth fetching ahead
_LAST_PART = 0.2  # of a life, in which that is done; CoreDNS' default of a tenth, for short lives
_MOST_FETCHED_AHEAD = 64  # at a time
_FAILURE = 5  # seconds that a server's failure is kept
_FAILURES = (Rcode.SERVFAIL, Rcode.NOTIMP)


class _Key(NamedTuple):
    """Clients that want signatures (DO) or unchecked answers (CD) get others than those that do
    not."""

    name: Name
    rdtype: RdataType
    wants_signatures: bool
    wants_unchecked: bool


@dataclass
class _Kept:
    """An answer, when it came and until when it holds, in seconds of the forwarder's clock, and how
    often it was queried since."""

    message: Message
    received: float
    expires: float
    asked: int = 0

    def is_due(self, now: float) -> bool:
        """Whether its successor should be fetched."""
        life = self.expires - self.received
        return self.asked >= _POPULAR and self.expires - now <= life * _LAST_PART


def lifetime(reply: Message, longest: int = LONGEST) -> int:
    """Seconds that a reply may be kept, at most `longest`; 0 for not at all."""
    if reply.flags & Flag.TC:
        return 0
    rcode = reply.rcode()
    if rcode in _FAILURES:
        return min(_FAILURE, longest)
    if rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        return 0
    negative = not _answers_question(reply)
    if negative and not _has_start_of_authority(reply):
        return 0  # RFC 2308, section 5: no SOA gives the time
    shortest = min(_ttls(reply, negative), default=0)
    return min(max(shortest, _SHORTEST), longest) if shortest else 0


def _answers_question(reply: Message) -> bool:
    """Whether there is a record of the queried type; an alias alone is none (RFC 2308,
    section 2.2)."""
    asked = reply.question[0].rdtype
    if reply.rcode() != Rcode.NOERROR:
        return False
    return any(asked in (rrset.rdtype, RdataType.ANY) for rrset in reply.answer)


def _has_start_of_authority(reply: Message) -> bool:
    return any(rrset.rdtype == RdataType.SOA for rrset in reply.authority)


def _ttls(reply: Message, negative: bool) -> list[int]:
    """What bounds a reply's life: every TTL, and of one that denies something the minimum of the
    zone, too."""
    ttls = [rrset.ttl for rrset in (*reply.answer, *reply.authority, *reply.additional)]
    if negative:
        ttls += [
            rdata.minimum
            for rrset in reply.authority
            for rdata in rrset
            if rrset.rdtype == RdataType.SOA
        ]
    return ttls


def answer_of(reply: Message, age: int = 0) -> Answer:
    """What a server replied `age` seconds ago, for the client that asks now."""
    return Answer(
        reply.rcode(),
        [_aged(rrset, age) for rrset in reply.answer],
        [_aged(rrset, age) for rrset in reply.authority],
        [_aged(rrset, age) for rrset in reply.additional],
        authoritative=bool(reply.flags & Flag.AA),
        authenticated=bool(reply.flags & Flag.AD),
        truncated=bool(reply.flags & Flag.TC),
    )


def _aged(rrset: RRset, age: int) -> RRset:
    if not age:
        return rrset
    aged: RRset = rrset.copy()
    aged.ttl = max(rrset.ttl - age, 0)
    return aged


class Forwarder:
    """`name_servers` are the machine's, queried one after the other on `port`. `now` is a monotonic
    clock, in seconds. `configuration` may be replaced at any time: `configure`."""

    def __init__(
        self,
        name_servers: Sequence[str],
        now: Callable[[], float] = time.monotonic,
        port: int = DNS_PORT,
        metrics: DNSMetrics | None = None,
    ) -> None:
        self._name_servers = tuple(Server(address, port) for address in name_servers)
        self._now = now
        self._metrics = metrics or DNSMetrics()
        self._configuration = Configuration()
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._tasks = TaskGroup("dns-ahead")
        self._fetched_ahead: set[_Key] = set()  # by a task, at this moment
        self._metrics.cache_entries = lambda: len(self._kept)

    def configure(self, configuration: Configuration) -> None:
        """Answers of the former servers are forgotten."""
        self._configuration = configuration
        self._kept.clear()

    async def stop(self) -> None:
        await self._tasks.stop()

    async def ask(self, query: Message, over_tcp: bool) -> Answer:
        """The answer of the first server that replies; SERVFAIL when none does."""
        key = _key(query)
        now = self._now()
        kept = self._kept.get(key)
        if kept is None or now >= kept.expires:
            self._metrics.cache_misses += 1
            return await self._fetch(key, query, over_tcp)
        self._metrics.cache_hits += 1
        kept.asked += 1
        if kept.is_due(now):
            self._fetch_ahead(key, query, over_tcp)
        return answer_of(kept.message, int(now - kept.received))

    def _fetch_ahead(self, key: _Key, query: Message, over_tcp: bool) -> None:
        if key in self._fetched_ahead or len(self._fetched_ahead) >= _MOST_FETCHED_AHEAD:
            return
        self._fetched_ahead.add(key)
        fetching = self._tasks.start(self._fetch(key, query, over_tcp), "fetch-ahead")
        fetching.add_done_callback(lambda _: self._fetched_ahead.discard(key))

    async def ask_addresses(self, name: Name, rdtype: RdataType) -> Answer:
        """The same about a name that an alias leads to; a reply that UDP is too short for is asked
        for over TCP."""
        query = dns.message.make_query(name, rdtype, use_edns=False)
        answer = await self.ask(query, over_tcp=False)
        return await self.ask(query, over_tcp=True) if answer.truncated else answer

    async def _fetch(self, key: _Key, query: Message, over_tcp: bool) -> Answer:
        forwarding = self._configuration.forwarding(key.name)
        if any(key.name.is_subdomain(zone) for zone in forwarding.excepted):
            return Answer(Rcode.SERVFAIL, authoritative=False)
        for server in forwarding.servers or self._name_servers:
            reply = await self._exchange(server, query, over_tcp or forwarding.force_tcp)
            if reply is not None:
                self._keep(key, reply)
                return answer_of(reply)
        return Answer(Rcode.SERVFAIL, authoritative=False)

    async def _exchange(self, server: Server, query: Message, over_tcp: bool) -> Message | None:
        request = _request(query)
        began = self._now()
        try:
            if over_tcp:
                reply = await dns.asyncquery.tcp(request, server.address, _TIMEOUT, server.port)
            else:
                reply = await dns.asyncquery.udp(
                    request,
                    server.address,
                    _TIMEOUT,
                    server.port,
                    ignore_unexpected=True,
                    ignore_errors=True,
                )
        except (dns.exception.DNSException, OSError, EOFError) as error:
            log.debug("The name server %s does not answer: %r", server.address, error)
            self._metrics.not_forwarded(f"{server.address}:{server.port}")
            return None
        self._metrics.forwarded(
            f"{server.address}:{server.port}", reply.rcode(), self._now() - began
        )
        return reply

    def _keep(self, key: _Key, reply: Message) -> None:
        seconds = lifetime(reply, self._configuration.seconds_kept(key.name))
        if not seconds:
            return
        now = self._now()
        self._kept[key] = _Kept(reply, now, now + seconds)
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)


def _key(query: Message) -> _Key:
    asked = query.question[0]
    return _Key(
        asked.name,
        asked.rdtype,
        bool(query.ednsflags & dns.flags.DO),
        bool(query.flags & Flag.CD),
    )


def _request(query: Message) -> Message:
    """A query of our own with an id of its own: it cannot be guessed from the client's. EDNS
    options are between the client and us (RFC 6891, section 6.1.1), so they stay behind."""
    asked = query.question[0]
    request = dns.message.make_query(asked.name, asked.rdtype, use_edns=False)
    request.flags = query.flags & (Flag.RD | Flag.CD | Flag.AD)
    if query.edns >= 0:
        request.use_edns(0, query.ednsflags & dns.flags.DO, min(max(query.payload, 512), 4096))
    return request
