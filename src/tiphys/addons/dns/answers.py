"""Questions and answers, between the packets and those who know the answers. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import dns.name
from dns.name import Name
from dns.rcode import Rcode
from dns.rdata import Rdata
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rrset import RRset, from_rdata_list

_ADDRESSES = (RdataType.A, RdataType.AAAA)
_MOST_ORDERS = 8  # of the addresses of one answer, each of which is encoded once
TTL = 5  # seconds, as CoreDNS' kubernetes plugin

Labels = tuple[str, ...]


def labels_of(name: Name) -> Labels:
    """In lower case, without the root's empty one. Every byte is a character: names need not be
    text."""
    return tuple(label.decode("latin-1").lower() for label in name.labels[:-1])


class Question(NamedTuple):
    """`labels` are in lower case, without the root's empty one."""

    labels: Labels
    rdtype: RdataType

    @property
    def name(self) -> Name:
        return dns.name.Name([label.encode("latin-1") for label in (*self.labels, "")])

    def accepts(self, rdtype: RdataType) -> bool:
        return self.rdtype in (rdtype, RdataType.ANY)


@dataclass
class Answer:
    """Records for the sections of a reply.

    `authoritative`: out of the cluster's own zone. `authenticated` and `truncated`: another server
    says so.
    """

    rcode: Rcode = Rcode.NOERROR
    records: list[RRset] = field(default_factory=list)
    authority: list[RRset] = field(default_factory=list)
    additional: list[RRset] = field(default_factory=list)
    authoritative: bool = True
    authenticated: bool = False
    truncated: bool = False

    @property
    def alias(self) -> Name | None:
        """The name that the answer leads to and has no records of yet."""
        if not self.records or self.records[-1].rdtype != RdataType.CNAME:
            return None
        target: Name = self.records[-1][0].target
        return target

    @property
    def orders(self) -> int:
        """In how many orders the addresses should be given, one after the other, so that clients
        that take the first are spread over all of them."""
        lengths = [len(rrset) for rrset in self.records if rrset.rdtype in _ADDRESSES]
        return min(max(lengths, default=1), _MOST_ORDERS)

    def in_order(self, number: int) -> Answer:
        """The same, its addresses beginning with another one for each of the `orders`."""
        if self.orders == 1:
            return self
        return dataclasses.replace(self, records=[_turned(each, number) for each in self.records])


def _turned(rrset: RRset, number: int) -> RRset:
    if rrset.rdtype not in _ADDRESSES:
        return rrset
    rows = list(rrset)
    first = number * max(len(rows) // _MOST_ORDERS, 1) % len(rows)
    return from_rdata_list(rrset.name, rrset.ttl, rows[first:] + rows[:first])


def only(question: Question, rows: Iterable[Rdata]) -> Answer:
    """Of the records of a name those of the queried types, one set for each type."""
    by_type: dict[RdataType, list[Rdata]] = {}
    for row in rows:
        if question.accepts(row.rdtype):
            by_type.setdefault(row.rdtype, []).append(row)
    name = question.name
    return Answer(records=[records(name, of_one_type) for of_one_type in by_type.values()])


def no_such_name() -> Answer:
    return Answer(Rcode.NXDOMAIN)


def records(owner: Name, rows: Sequence[Rdata], ttl: int = TTL) -> RRset:
    return from_rdata_list(owner, ttl, rows)


def address_record(text: str) -> Rdata:
    if ":" in text:
        return AAAA(IN, RdataType.AAAA, text)
    return A(IN, RdataType.A, text)
