"""The names of a cluster: services, their endpoints and their ports. Pure: objects and a question
in, records out.

    SERVICE.NAMESPACE.svc.DOMAIN                  the cluster IPs, or the ready endpoints of a
                                                  headless service
    HOST.SERVICE.NAMESPACE.svc.DOMAIN             one endpoint of a headless service, by hostname
                                                  or dashed address
    _PORT._PROTOCOL.SERVICE.NAMESPACE.svc.DOMAIN  SRV records of a named port
    1-2-3-4.NAMESPACE.pod.DOMAIN                  the address that the name spells
    4.3.2.1.in-addr.arpa                          the names of an address, in ip6.arpa, too
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import dns.exception
import dns.name
import dns.rdatatype
from dns.name import Name
from dns.rcode import Rcode
from dns.rdata import Rdata
from dns.rdataclass import IN
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.SRV import SRV
from dns.rrset import RRset

from tiphys.addons.dns.answers import (
    TTL,
    Answer,
    Labels,
    Question,
    address_record,
    no_such_name,
    only,
    records,
)
from tiphys.api import core_v1, discovery_v1

SPECIFICATION = "1.1.0"

_REVERSE = ("in-addr", "arpa")
_REVERSE_IPV6 = ("ip6", "arpa")
_DNS_SERVICE = ("kube-system", "kube-dns")


class Source(Protocol):
    """Where the objects come from."""

    def service(self, namespace: str, name: str) -> core_v1.Service | None: ...

    def slices(self, namespace: str, name: str) -> Iterable[discovery_v1.EndpointSlice]: ...

    def by_address(self, address: str) -> Sequence[str]:
        """The names (HOST.SERVICE.NAMESPACE or SERVICE.NAMESPACE) that an address has."""
        ...

    def namespace_exists(self, name: str) -> bool: ...


class Target(NamedTuple):
    """One SRV record's host with its address."""

    name: Name
    port: int
    address: str


def pod_label(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


class Zone:
    """The zone `domain` ("cluster.local") over the objects of `source`."""

    def __init__(self, domain: str, source: Source) -> None:
        self.domain = domain
        self._labels: Labels = tuple(domain.lower().split("."))
        self._source = source
        self._soa = _start_of_authority(domain)

    def answer(self, question: Question) -> Answer | None:
        """None for a name outside the zone. An alias may lead out of the zone: the caller follows
        it."""
        labels = question.labels
        if labels[-2:] in (_REVERSE, _REVERSE_IPV6):
            return self._reverse(question)
        inside = self._inside(labels)
        if inside is None:
            return None
        answer = self._named(question, inside)
        if not answer.records:
            answer.authority = [self._soa]
        return answer

    def subject(self, labels: Labels) -> str:
        """What the answer about a name depends on: ``NAMESPACE/SERVICE``, a namespace, an address,
        or nothing."""
        if labels[-2:] in (_REVERSE, _REVERSE_IPV6):
            return _address_of(labels) or ""
        inside = self._inside(labels)
        match inside[::-1] if inside else ():
            case ["svc" | "pod", namespace]:
                return namespace
            case ["svc", namespace, service, *_]:
                return f"{namespace}/{service}"
            case ["dns", "ns"] | []:
                return "/".join(_DNS_SERVICE)
        return ""

    def _inside(self, labels: Labels) -> Labels | None:
        """The labels before the zone's own; None for a name outside."""
        count = len(self._labels)
        return labels[:-count] if labels[-count:] == self._labels else None

    def _named(self, question: Question, inside: Labels) -> Answer:
        match inside[::-1]:
            case []:
                return self._apex(question)
            case ["svc"] | ["pod"]:
                return Answer()
            case ["dns-version"]:
                return only(question, [TXT(IN, RdataType.TXT, [SPECIFICATION.encode()])])
            case ["dns", "ns"]:
                return only(question, self._server_addresses())
            case ["svc" | "pod", namespace] if self._source.namespace_exists(namespace):
                return Answer()
            case ["pod", _, dashed]:
                return _pod(question, dashed)
            case ["svc", namespace, name, *host]:
                service = self._source.service(namespace, name)
                if service is not None:
                    return self._service(question, service, tuple(host[::-1]))
        return no_such_name()

    # --- the zone itself ---

    def _apex(self, question: Question) -> Answer:
        server = self._name("ns", "dns")
        rows = [self._soa[0], NS(IN, RdataType.NS, server)]
        answer = only(question, rows)
        addresses = self._server_addresses()
        if question.rdtype == RdataType.NS and addresses:
            answer.additional = [records(server, addresses)]
        return answer

    def _server_addresses(self) -> list[Rdata]:
        """CoreDNS calls the zone's name server ns.dns.DOMAIN and gives it the address of its
        service."""
        service = self._source.service(*_DNS_SERVICE)
        return [address_record(each) for each in cluster_ips(service)] if service else []

    def _name(self, *labels: str) -> Name:
        return dns.name.Name([label.encode() for label in (*labels, *self._labels, "")])

    # --- services ---

    def _service(self, question: Question, service: core_v1.Service, host: Labels) -> Answer:
        if service.spec.type == "ExternalName":
            return no_such_name() if host else _external(question, service)
        if len(host) == 2 and all(label.startswith("_") for label in host):
            return self._ports(question, service, host[0][1:], host[1][1:])
        if question.rdtype == RdataType.SRV and not host:
            return self._ports(question, service)
        if service.spec.cluster_ip != "None":
            if host:
                return no_such_name()
            return only(question, map(address_record, cluster_ips(service)))
        return self._headless(question, service, host)

    def _headless(self, question: Question, service: core_v1.Service, host: Labels) -> Answer:
        addresses: dict[str, None] = {}
        for endpoint, address in self._endpoints(service):
            if not host or host == (_host_label(endpoint, address),):
                addresses[address] = None
        if not addresses:
            return no_such_name()
        return only(question, map(address_record, addresses))

    def _endpoints(self, service: core_v1.Service) -> Iterator[tuple[discovery_v1.Endpoint, str]]:
        """The endpoints of a service that have names, with each of their addresses."""
        meta = service.metadata
        for endpoint_slice in self._source.slices(meta.namespace, meta.name):
            yield from _published(endpoint_slice, service)

    # --- ports ---

    def _ports(
        self,
        question: Question,
        service: core_v1.Service,
        port: str | None = None,
        protocol: str = "",
    ) -> Answer:
        """The port of a name and protocol; without a name every port, as CoreDNS answers for the
        service itself."""
        targets = [
            target
            for name, its_protocol, target in self._targets(service)
            if port is None or (name, its_protocol.lower()) == (port, protocol)
        ]
        if not targets:
            return no_such_name()
        if not question.accepts(RdataType.SRV):
            return Answer()
        weight = max(1, 100 // len(targets))
        rows = [SRV(IN, RdataType.SRV, 0, weight, each.port, each.name) for each in targets]
        hosts = dict.fromkeys((each.name, each.address) for each in targets)
        additional = [records(name, [address_record(address)]) for name, address in hosts]
        return Answer(records=[records(question.name, rows)], additional=additional)

    def _targets(self, service: core_v1.Service) -> Iterator[tuple[str, str, Target]]:
        """(name of the port, its protocol, where it leads) of every port."""
        meta = service.metadata
        owner = (meta.name, meta.namespace, "svc")
        if service.spec.cluster_ip != "None":
            name = self._name(*owner)
            for port in service.spec.ports:
                for address in cluster_ips(service):
                    target = Target(name, port.port, address)
                    yield port.name or "", port.protocol or "TCP", target
            return
        for endpoint_slice in self._source.slices(meta.namespace, meta.name):
            published = list(_published(endpoint_slice, service))
            for slice_port in endpoint_slice.ports:
                if not slice_port.port:
                    continue
                for endpoint, address in published:
                    name = self._name(_host_label(endpoint, address), *owner)
                    target = Target(name, slice_port.port, address)
                    yield slice_port.name or "", slice_port.protocol or "TCP", target

    # --- addresses ---

    def _reverse(self, question: Question) -> Answer | None:
        address = _address_of(question.labels)
        names = self._source.by_address(address) if address is not None else ()
        if not names:
            return None
        rows = [PTR(IN, RdataType.PTR, self._name(*name.split("."), "svc")) for name in names]
        answer = only(question, rows)
        if not answer.records:
            answer.authority = [self._soa]
        return answer


def _published(
    endpoint_slice: discovery_v1.EndpointSlice, service: core_v1.Service
) -> Iterator[tuple[discovery_v1.Endpoint, str]]:
    """The ready endpoints of a slice; all of them where the service publishes addresses that are
    not ready."""
    for endpoint in endpoint_slice.endpoints:
        ready = endpoint.conditions.ready is not False
        if ready or service.spec.publish_not_ready_addresses:
            for address in endpoint.addresses:
                yield endpoint, address


def _host_label(endpoint: discovery_v1.Endpoint, address: str) -> str:
    return endpoint.hostname or pod_label(address)


def cluster_ips(service: core_v1.Service) -> Sequence[str]:
    """Of a service with both kinds of addresses two; none before it has been given any."""
    spec = service.spec
    if spec.cluster_ips:
        return spec.cluster_ips
    return [spec.cluster_ip] if spec.cluster_ip else []


def _address_of(labels: Labels) -> str | None:
    """The address that a name of in-addr.arpa or ip6.arpa spells backwards; None for another, or
    for a part of one."""
    spelled = labels[-3::-1]
    if labels[-2:] == _REVERSE:
        return ".".join(spelled) if len(spelled) == 4 else None
    if len(spelled) != 32 or any(len(digit) != 1 for digit in spelled):
        return None
    try:
        return str(ipaddress.IPv6Address(int("".join(spelled), 16)))
    except ValueError:
        return None


def _external(question: Question, service: core_v1.Service) -> Answer:
    """An alias. The API server takes labels that no packet can hold (over 63 bytes): such a service
    has no answer."""
    try:
        target = dns.name.from_text(service.spec.external_name)
    except dns.exception.DNSException:
        return Answer(Rcode.SERVFAIL)
    return Answer(records=[records(question.name, [CNAME(IN, RdataType.CNAME, target)])])


def _pod(question: Question, dashed: str) -> Answer:
    """CoreDNS' ``pods insecure``: any address that is well formed, whether or not there is such a
    pod."""
    for kind, separator in ((ipaddress.IPv4Address, "."), (ipaddress.IPv6Address, ":")):
        try:
            address = str(kind(dashed.replace("-", separator)))
        except ValueError:
            continue
        return only(question, [address_record(address)])
    return no_such_name()


def _start_of_authority(domain: str) -> RRset:
    """The record that sets how long a negative answer holds: five seconds, as CoreDNS."""
    zone = dns.name.from_text(domain)
    server = dns.name.from_text("ns.dns", zone)
    mailbox = dns.name.from_text("hostmaster", zone)
    record = SOA(IN, RdataType.SOA, server, mailbox, 1, 7200, 1800, 86400, TTL)
    return records(zone, [record])
