from __future__ import annotations

import dns.message
import dns.rdatatype

from tests.network.test_rules import service, slice_of
from tiphys.api import core_v1, discovery_v1
from tiphys.network.dns.message import build, parse
from tiphys.network.dns.zone import Zone


class Source:
    """A plain-secret cluster of three services."""

    def __init__(self) -> None:
        external = service("out", "")
        external.spec.type, external.spec.external_name = "ExternalName", "example.org"
        self.services = {"s": service(), "headless": service("headless", "None"), "out": external}
        named = slice_of("headless", "10.1.0.1", "10.1.0.2")
        named.endpoints[0].hostname = "web-0"
        self.slice = named

    def service(self, namespace: str, name: str) -> core_v1.Service | None:
        return self.services.get(name) if namespace == "d" else None

    def slices(self, namespace: str, name: str) -> list[discovery_v1.EndpointSlice]:
        return [self.slice] if name == "headless" else []

    def namespace_exists(self, name: str) -> bool:
        return name == "d"

    def by_address(self, address: str) -> list[str]:
        return {"10.96.0.9": ["s.d"], "10.1.0.1": ["web-0.headless.d"]}.get(address, [])


def ask(name: str, kind: str = "A") -> tuple[str, list[str]]:
    """(rcode, answers), read by another implementation."""
    question = parse(dns.message.make_query(name, kind).to_wire())
    answer = Zone("cluster.local", Source()).answer(question)
    if answer is None:
        return "FORWARD", []
    reply = dns.message.from_wire(build(question, answer, 4096))
    return dns.rcode.to_text(reply.rcode()), sorted(
        rd.to_text() for rr in reply.answer for rd in rr
    )


def test_services_have_their_address() -> None:
    assert ask("s.d.svc.cluster.local") == ("NOERROR", ["10.96.0.9"])
    assert ask("S.D.SVC.cluster.local.") == ("NOERROR", ["10.96.0.9"])
    assert ask("s.d.svc.cluster.local", "AAAA") == ("NOERROR", [])
    assert ask("none.d.svc.cluster.local") == ("NXDOMAIN", [])
    assert ask("x.s.d.svc.cluster.local") == ("NXDOMAIN", [])


def test_headless_services_have_their_endpoints() -> None:
    assert ask("headless.d.svc.cluster.local") == ("NOERROR", ["10.1.0.1", "10.1.0.2"])
    assert ask("web-0.headless.d.svc.cluster.local") == ("NOERROR", ["10.1.0.1"])
    assert ask("10-1-0-2.headless.d.svc.cluster.local") == ("NOERROR", ["10.1.0.2"])


def test_ports_have_srv_records() -> None:
    assert ask("_http._tcp.s.d.svc.cluster.local", "SRV") == (
        "NOERROR",
        ["0 100 80 s.d.svc.cluster.local."],
    )
    assert len(ask("_http._tcp.headless.d.svc.cluster.local", "SRV")[1]) == 2
    assert ask("s.d.svc.cluster.local", "SRV") == (
        "NOERROR",
        ["0 100 80 s.d.svc.cluster.local."],
    ), "every port of it"
    assert len(ask("headless.d.svc.cluster.local", "SRV")[1]) == 2
    assert ask("_ftp._tcp.s.d.svc.cluster.local", "SRV")[0] == "NXDOMAIN"


def test_addresses_have_names_and_aliases_lead_out() -> None:
    assert ask("9.0.96.10.in-addr.arpa", "PTR") == ("NOERROR", ["s.d.svc.cluster.local."])
    assert ask("1.0.1.10.in-addr.arpa", "PTR") == (
        "NOERROR",
        ["web-0.headless.d.svc.cluster.local."],
    )
    assert ask("out.d.svc.cluster.local", "CNAME") == ("NOERROR", ["example.org."])
    assert ask("10-1-0-7.d.pod.cluster.local") == ("NOERROR", ["10.1.0.7"])
    assert ask("example.org")[0] == "FORWARD"


def test_an_answer_that_is_too_long_is_cut() -> None:
    source = Source()
    source.slice = slice_of("headless", *(f"10.1.{i // 250}.{i % 250}" for i in range(500)))
    question = parse(dns.message.make_query("headless.d.svc.cluster.local", "A").to_wire())
    answer = Zone("cluster.local", source).answer(question)
    assert answer is not None
    reply = build(question, answer, 512)
    assert len(reply) <= 512 and dns.message.from_wire(reply).flags & 0x0200
