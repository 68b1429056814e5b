"""The names of a cluster: services, their endpoints and their ports, as Kubernetes' DNS specification says. Pure."""

from __future__ import annotations

import ipaddress
from typing import Any, Protocol

from tiphys.api import core_v1, discovery_v1
from tiphys.network.dns import message as dns
from tiphys.network.dns.message import Answer, Question, Record

SPECIFICATION = "1.1.0"


class Source(Protocol):
    """Where the objects come from."""

    def service(self, namespace: str, name: str) -> core_v1.Service | None: ...

    def slices(self, namespace: str, name: str) -> list[discovery_v1.EndpointSlice]: ...

    def by_address(self, address: str) -> list[str]:
        """Names (without the zone) that an address has."""
        ...

    def namespace_exists(self, name: str) -> bool: ...


def pod_label(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


class Zone:
    def __init__(self, domain: str, source: Source) -> None:
        self.domain = domain
        self._source = source

    def owns(self, name: str) -> bool:
        return name == self.domain or name.endswith(f".{self.domain}")

    def answer(self, question: Question) -> Answer | None:
        """None: the name is not ours. A CNAME in the answer may point outside, for the caller to follow."""
        name = question.name
        if name.endswith((".in-addr.arpa", ".ip6.arpa")):
            return self._reverse(question)
        if not self.owns(name):
            return None
        labels = name[: -len(self.domain) - 1].split(".") if name != self.domain else []
        answer = Answer(authority=self.domain)
        match labels[::-1]:
            case [] | ["svc"] | ["pod"]:
                return answer
            case ["dns-version"]:
                answer.records = (
                    [Record(name, dns.TXT, SPECIFICATION)]
                    if question.kind in (dns.TXT, dns.ANY)
                    else []
                )
                return answer
            case ["svc" | "pod", namespace] if self._source.namespace_exists(namespace):
                return answer
            case ["pod", namespace, dashed]:
                return self._pod(question, answer, dashed, namespace)
            case ["svc", namespace, service, *rest]:
                found = self._source.service(namespace, service)
                if found is not None:
                    return self._service(question, answer, found, rest[::-1])
        answer.code = dns.NXDOMAIN
        return answer

    def _pod(self, question: Question, answer: Answer, dashed: str, namespace: str) -> Answer:
        try:
            address = str(ipaddress.IPv4Address(dashed.replace("-", ".")))
        except ValueError:
            answer.code = dns.NXDOMAIN
            return answer
        if question.kind in (dns.A, dns.ANY):
            answer.records = [Record(question.name, dns.A, address)]
        return answer

    def _service(
        self, question: Question, answer: Answer, service: core_v1.Service, rest: list[str]
    ) -> Answer:
        spec = service.spec
        if spec.type == "ExternalName" and not rest:
            answer.records = [Record(question.name, dns.CNAME, spec.external_name.rstrip("."))]
            return answer
        if len(rest) == 2 and rest[0].startswith("_") and rest[1].startswith("_"):
            return self._srv(question, answer, service, rest[0][1:], rest[1][1:])
        if question.kind == dns.SRV and not rest:
            return self._srv(question, answer, service)
        if spec.cluster_ip != "None":
            if rest:
                answer.code = dns.NXDOMAIN
            else:
                self._addresses(question, answer, [spec.cluster_ip])
            return answer
        hosts = self._hosts(service)
        if rest:
            hosts = {name: a for name, a in hosts.items() if len(rest) == 1 and name == rest[0]}
            if not hosts:
                answer.code = dns.NXDOMAIN
        elif not hosts:
            answer.code = dns.NXDOMAIN
        self._addresses(question, answer, [a for addresses in hosts.values() for a in addresses])
        return answer

    def _hosts(self, service: core_v1.Service) -> dict[str, list[str]]:
        """Host name → addresses of a headless service's endpoints."""
        hosts: dict[str, list[str]] = {}
        for one in self._source.slices(service.metadata.namespace, service.metadata.name):
            for endpoint in one.endpoints:
                if (
                    endpoint.conditions.ready is False
                    and not service.spec.publish_not_ready_addresses
                ):
                    continue
                for address in endpoint.addresses:
                    known = hosts.setdefault(endpoint.hostname or pod_label(address), [])
                    if address not in known:
                        known.append(address)
        return hosts

    @staticmethod
    def _addresses(question: Question, answer: Answer, addresses: list[str]) -> None:
        for address in addresses:
            kind = dns.AAAA if ":" in address else dns.A
            if question.kind in (kind, dns.ANY):
                answer.records.append(Record(question.name, kind, address))

    def _srv(
        self,
        question: Question,
        answer: Answer,
        service: core_v1.Service,
        port_name: str | None = None,
        protocol: str = "",
    ) -> Answer:
        """The port of that name and protocol; without a name every port, as CoreDNS answers for the service itself."""

        def asked_for(name: str | None, its_protocol: str | None) -> bool:
            same = (name or "") == port_name and (its_protocol or "TCP").lower() == protocol
            return same or port_name is None

        base = f"{service.metadata.name}.{service.metadata.namespace}.svc.{self.domain}"
        targets: list[tuple[str, int, str]] = []
        if service.spec.cluster_ip != "None":
            for port in service.spec.ports:
                if asked_for(port.name, port.protocol):
                    targets.append((base, port.port, service.spec.cluster_ip))
        else:
            for one in self._source.slices(service.metadata.namespace, service.metadata.name):
                for p in one.ports:
                    if asked_for(p.name, p.protocol) and p.port:
                        targets += [
                            (f"{e.hostname or pod_label(a)}.{base}", p.port, a)
                            for e in one.endpoints
                            if e.conditions.ready is not False
                            or service.spec.publish_not_ready_addresses
                            for a in e.addresses
                        ]
        if not targets:
            answer.code = dns.NXDOMAIN
            return answer
        if question.kind in (dns.SRV, dns.ANY):
            weight = max(1, 100 // len(targets))
            answer.records = [
                Record(question.name, dns.SRV, (0, weight, port, target))
                for target, port, _ in targets
            ]
            hosts = dict.fromkeys((target, address) for target, _, address in targets)
            answer.extra = [
                Record(target, dns.AAAA if ":" in a else dns.A, a) for target, a in hosts
            ]
        return answer

    def _reverse(self, question: Question) -> Answer | None:
        if not question.name.endswith(".in-addr.arpa"):
            return None
        address = ".".join(question.name[: -len(".in-addr.arpa")].split(".")[::-1])
        names = self._source.by_address(address)
        if not names:
            return None
        records = [Record(question.name, dns.PTR, f"{name}.svc.{self.domain}") for name in names]
        return Answer(
            records=records if question.kind in (dns.PTR, dns.ANY) else [], authority=self.domain
        )


class InformerSource:
    """The zone's objects out of a client's informers."""

    def __init__(self, informers: Any) -> None:
        self._services, self._slices = (
            informers.of(core_v1.Service),
            informers.of(discovery_v1.EndpointSlice),
        )
        self._namespaces = informers.of(core_v1.Namespace)
        self._services.index("address", lambda s: [s.spec.cluster_ip])
        self._slices.index(
            "service",
            lambda s: [
                f"{s.metadata.namespace}/{s.metadata.labels.get('kubernetes.io/service-name', '')}"
            ],
        )
        self._slices.index("address", lambda s: [a for e in s.endpoints for a in e.addresses])

    def service(self, namespace: str, name: str) -> core_v1.Service | None:
        found: core_v1.Service | None = self._services.get(f"{namespace}/{name}")
        return found

    def slices(self, namespace: str, name: str) -> list[discovery_v1.EndpointSlice]:
        return list(self._slices.by("service", f"{namespace}/{name}"))

    def namespace_exists(self, name: str) -> bool:
        return self._namespaces.get(name) is not None

    def by_address(self, address: str) -> list[str]:
        names = [
            f"{s.metadata.name}.{s.metadata.namespace}"
            for s in self._services.by("address", address)
        ]
        for one in self._slices.by("address", address):
            service = self.service(
                one.metadata.namespace, one.metadata.labels.get("kubernetes.io/service-name", "")
            )
            if service is None or service.spec.cluster_ip != "None":
                continue
            for endpoint in one.endpoints:
                if address in endpoint.addresses:
                    names.append(
                        f"{endpoint.hostname or pod_label(address)}.{service.metadata.name}.{service.metadata.namespace}"
                    )
        return names
