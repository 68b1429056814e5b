"""Names that are not the cluster's: asked of the machine's own name servers, and remembered for a
while.

The rules are those of CoreDNS' plugins forward and cache with kubeadm's Corefile (``cache 30``): a
query goes out over the protocol it came in over, answers are kept for 5 to 30 seconds as their TTL
says, failures of a server for 5.
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

log = logging.getLogger(__name__)

_MOST = 4096  # answers
_TIMEOUT = 2.0  # seconds for one server
_SHORTEST, _LONGEST = 5, 30  # seconds that an answer is kept
_FAILURE = 5  # seconds that a server's failure is kept
_FAILURES = (Rcode.SERVFAIL, Rcode.NOTIMP)


class _Key(NamedTuple):
    """Clients that want signatures (DO) or unchecked answers (CD) get others than those that do
    not."""

    name: Name
    rdtype: RdataType
    wants_signatures: bool
    wants_unchecked: bool


@dataclass(frozen=True)
class _Kept:
    """An answer, when it came and until when it holds, in seconds of the forwarder's clock."""

    message: Message
    received: float
    expires: float


def lifetime(reply: Message) -> int:
    """Seconds that a reply may be kept; 0 for not at all."""
    if reply.flags & Flag.TC:
        return 0
    rcode = reply.rcode()
    if rcode in _FAILURES:
        return _FAILURE
    if rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        return 0
    negative = not _answers_question(reply)
    if negative and not _has_start_of_authority(reply):
        return 0  # RFC 2308, section 5: nothing says for how long
    shortest = min(_ttls(reply, negative), default=0)
    return min(max(shortest, _SHORTEST), _LONGEST) if shortest else 0


def _answers_question(reply: Message) -> bool:
    """Whether there is a record of the type that was asked for; an alias alone is none (RFC 2308,
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
    """`name_servers` are addresses, asked one after the other. `now` is a monotonic clock, in
    seconds."""

    def __init__(
        self,
        name_servers: Sequence[str],
        now: Callable[[], float] = time.monotonic,
        port: int = 53,
    ) -> None:
        self._name_servers = name_servers
        self._now = now
        self._port = port
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()

    async def ask(self, query: Message, over_tcp: bool) -> Answer:
        """What the first server that replies says; SERVFAIL when none does."""
        key = _key(query)
        kept = self._kept.get(key)
        now = self._now()
        if kept is not None and now < kept.expires:
            return answer_of(kept.message, int(now - kept.received))
        for server in self._name_servers:
            reply = await self._exchange(server, query, over_tcp)
            if reply is not None:
                self._keep(key, reply)
                return answer_of(reply)
        return Answer(Rcode.SERVFAIL, authoritative=False)

    async def ask_addresses(self, name: Name, rdtype: RdataType) -> Answer:
        """The same about a name that an alias leads to; a reply that UDP is too short for is asked
        for over TCP."""
        query = dns.message.make_query(name, rdtype, use_edns=False)
        answer = await self.ask(query, over_tcp=False)
        return await self.ask(query, over_tcp=True) if answer.truncated else answer

    async def _exchange(self, server: str, query: Message, over_tcp: bool) -> Message | None:
        request = _request(query)
        try:
            if over_tcp:
                return await dns.asyncquery.tcp(request, server, _TIMEOUT, self._port)
            return await dns.asyncquery.udp(
                request,
                server,
                _TIMEOUT,
                self._port,
                ignore_unexpected=True,
                ignore_errors=True,
            )
        except (dns.exception.DNSException, OSError, EOFError) as error:
            log.debug("The name server %s does not answer: %r", server, error)
            return None

    def _keep(self, key: _Key, reply: Message) -> None:
        seconds = lifetime(reply)
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
    """A query of our own with an id of its own: nobody can guess it from the client's. EDNS options
    are between the client and us (RFC 6891, section 6.1.1), so they stay behind."""
    asked = query.question[0]
    request = dns.message.make_query(asked.name, asked.rdtype, use_edns=False)
    request.flags = query.flags & (Flag.RD | Flag.CD | Flag.AD)
    if query.edns >= 0:
        request.use_edns(0, query.ednsflags & dns.flags.DO, min(max(query.payload, 512), 4096))
    return request
