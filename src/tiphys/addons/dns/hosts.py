"""Answers out of names that an administrator has written down (CoreDNS' plugin hosts). Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import dns.exception
import dns.reversename
from dns.name import Name
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.PTR import PTR

from tiphys.addons.dns.answers import (
    Answer,
    Question,
    address_record,
    no_such_name,
    records,
)
from tiphys.addons.dns.configuration import Hosts


def answer_of_hosts(question: Question, configured: Sequence[Hosts]) -> Answer | None:
    """None for a name that none of them has and that others may have. Where one of them has the
    name, but no record of the queried type, there is none."""
    name = question.name
    for hosts in configured:
        if not name.is_subdomain(hosts.zone):
            continue
        answer = _answer(question, name, hosts)
        if answer is not None:
            return answer
    return None


def _answer(question: Question, name: Name, hosts: Hosts) -> Answer | None:
    if question.rdtype == RdataType.PTR:
        return _names_of_address(name, hosts)
    addresses = hosts.addresses.get(name)
    if addresses is None:
        return None if hosts.fallthrough else no_such_name()
    rows = [address_record(address) for address in addresses]
    wanted = [row for row in rows if question.accepts(row.rdtype)]
    return Answer(records=[records(name, wanted, hosts.ttl)] if wanted else [])


def _names_of_address(name: Name, hosts: Hosts) -> Answer | None:
    try:
        address = ipaddress.ip_address(dns.reversename.to_address(name))
    except (dns.exception.DNSException, ValueError):
        return None
    names = [
        PTR(IN, RdataType.PTR, host)
        for host, addresses in hosts.addresses.items()
        if str(address) in addresses
    ]
    return Answer(records=[records(name, names, hosts.ttl)]) if names else None
