"""Packets: queries out of bytes, replies into bytes, with dnspython. Pure.

What is refused is refused as CoreDNS does: a packet that cannot be read with FORMERR, an operation
that is no query with NOTIMP, another class than IN and transfers of the zone with REFUSED, another
version of EDNS than 0 with BADVERS. A packet that is a reply itself, or has no whole header, gets
no reply.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataset
from dns.flags import Flag
from dns.name import Name
from dns.opcode import Opcode
from dns.rcode import Rcode
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from dns.renderer import ADDITIONAL, ANSWER, AUTHORITY, Renderer
from dns.rrset import RRset

from tiphys.addons.dns.answers import Answer, Question, labels_of

HEADER = 12  # bytes
MAX_TCP = 65535
_LONGEST_QUERY = 4096  # bytes; a name has 255, and what EDNS options have is a few hundred
_MIN_UDP = 512
_MAX_UDP = 4096  # what the server sends over UDP at most, whatever a client offers
_OFFERED_UDP = 1232  # what the server advertises: no fragments on any path (dnsflagday.net/2020)
_OPT_SIZE = 11  # bytes of an OPT record without options
_OPCODE = 0x7800
_DO = 0x8000  # in the flags of an OPT record
_TRANSFERS = (RdataType.AXFR, RdataType.IXFR)


class UnansweredError(Exception):
    """A packet that is no query to answer. `reply` is what to send instead; empty: nothing."""

    def __init__(self, reply: bytes = b"") -> None:
        self.reply = reply
        super().__init__("not a query")


@dataclass(frozen=True)
class Query:
    """One question that was understood. `name` is in the client's case, the labels of `question` in
    lower case."""

    message: dns.message.Message
    name: Name
    question: Question

    @property
    def has_edns(self) -> bool:
        return self.message.edns >= 0

    @property
    def has_options(self) -> bool:
        return bool(self.message.options)

    @property
    def udp_limit(self) -> int:
        """Bytes that the client takes over UDP."""
        if not self.has_edns:
            return _MIN_UDP
        return min(max(self.message.payload, _MIN_UDP), _MAX_UDP)


def read(wire: bytes) -> Query:
    """The one question of a query. Raises UnansweredError."""
    if len(wire) < HEADER:
        raise UnansweredError
    flags, questions, *others = struct.unpack_from(">5H", wire, 2)
    if flags & Flag.QR:
        raise UnansweredError
    if flags & _OPCODE != Opcode.QUERY << 11:
        raise UnansweredError(_header_only(wire, Rcode.NOTIMP))
    if questions != 1 or _is_too_much(wire, *others):
        raise UnansweredError(_header_only(wire, Rcode.FORMERR))
    try:
        message = dns.message.from_wire(wire, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        raise UnansweredError(_header_only(wire, Rcode.FORMERR)) from None
    asked = message.question[0]
    query = Query(message, asked.name, Question(labels_of(asked.name), asked.rdtype))
    if message.edns > 0:
        raise UnansweredError(write(query, Answer(Rcode.BADVERS, authoritative=False), _MIN_UDP))
    if asked.rdclass != RdataClass.IN or asked.rdtype in _TRANSFERS:
        raise UnansweredError(write(query, Answer(Rcode.REFUSED, authoritative=False), _MIN_UDP))
    return query


def _is_too_much(wire: bytes, answers: int, authority: int, additional: int) -> bool:
    """Whether a packet holds what no query does: it would take the event loop 0.1 s to read 4,000
    records. The numbers are those of CoreDNS' library (miekg/dns, DefaultMsgAcceptFunc)."""
    return len(wire) > _LONGEST_QUERY or answers > 1 or authority > 1 or additional > 2


def _header_only(wire: bytes, rcode: Rcode) -> bytes:
    """A reply to what could not be read: the client's id, operation and wish for recursion, and no
    records."""
    ident, flags = struct.unpack_from(">2H", wire)
    kept = flags & (_OPCODE | Flag.RD)
    return struct.pack(">6H", ident, Flag.QR | kept | rcode, 0, 0, 0, 0)


def write(query: Query, answer: Answer, limit: int) -> bytes:
    """The reply, no longer than `limit` bytes. What does not fit is left out: of the answer with
    the truncation bit, so that the client asks again over TCP; of the additional section without,
    for it is only there to save questions."""
    flags, extended = _flags(query, answer)
    renderer = Renderer(query.message.id, flags, limit)
    renderer.add_question(query.name, query.question.rdtype, query.message.question[0].rdclass)
    if query.has_edns:
        renderer.reserve(_OPT_SIZE)
    try:
        for section, rrsets in ((ANSWER, answer.records), (AUTHORITY, answer.authority)):
            for rrset in rrsets:
                _add(renderer, section, rrset)
    except dns.exception.TooBig:
        renderer.flags |= Flag.TC
    else:
        _add_what_fits(renderer, answer.additional)
    if query.has_edns:
        renderer.release_reserved()
        renderer.add_edns(0, extended | (query.message.ednsflags & _DO), _OFFERED_UDP)
    renderer.write_header()
    wire: bytes = renderer.get_wire()
    return wire


def _flags(query: Query, answer: Answer) -> tuple[int, int]:
    """(of the header, of the OPT record). Codes above 15 need the second; a client without EDNS
    sees SERVFAIL."""
    rcode = answer.rcode
    if rcode > 15 and not query.has_edns:
        rcode = Rcode.SERVFAIL
    in_header, extended = dns.rcode.to_flags(rcode)
    flags = Flag.QR | Flag.RA | in_header | (query.message.flags & (Flag.RD | Flag.CD))
    if answer.authoritative:
        flags |= Flag.AA
    if answer.authenticated:
        flags |= Flag.AD
    if answer.truncated:
        flags |= Flag.TC
    return flags, extended


def _add(renderer: Renderer, section: int, rrset: RRset) -> None:
    """All records of a set, or as many as fit: a client that never asks over TCP has those at
    least."""
    try:
        renderer.add_rrset(section, rrset, want_shuffle=False)
    except dns.exception.TooBig:
        for rdataset in _one_by_one(rrset):
            renderer.add_rdataset(section, rrset.name, rdataset)
        raise AssertionError("what did not fit as a whole fits in parts") from None


def _one_by_one(rrset: RRset) -> Iterator[dns.rdataset.Rdataset]:
    return (dns.rdataset.from_rdata(rrset.ttl, rdata) for rdata in rrset)


def _add_what_fits(renderer: Renderer, rrsets: Iterable[RRset]) -> None:
    for rrset in rrsets:
        try:
            renderer.add_rrset(ADDITIONAL, rrset)
        except dns.exception.TooBig:
            return
