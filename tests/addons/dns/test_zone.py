"""The names of a cluster, row by row of Kubernetes' DNS specification."""

from __future__ import annotations

import dns.rcode
import pytest

from tests.addons.dns.builders import DOMAIN, question, texts, zone

SVC = f"d.svc.{DOMAIN}"
IPV6 = "9." + "0." * 27 + "0.0.d.f.ip6.arpa"  # fd00::9
NONE: list[str] = []
SOA = f"SOA ns.dns.{DOMAIN}. hostmaster.{DOMAIN}. 1 7200 1800 86400 5"

ANSWERS = [
    # a cluster IP
    ("s", "A", "NOERROR", ["A 10.96.0.9"]),
    ("s", "AAAA", "NOERROR", NONE),
    ("s", "ANY", "NOERROR", ["A 10.96.0.9"]),
    ("s", "MX", "NOERROR", NONE),
    ("six", "AAAA", "NOERROR", ["AAAA fd00::9"]),
    ("six", "A", "NOERROR", NONE),
    ("none", "A", "NXDOMAIN", NONE),
    ("x.s", "A", "NXDOMAIN", NONE),
    ("10-1-0-1.s", "A", "NXDOMAIN", NONE),
    # endpoints: ready ones, and those that nothing is known of
    ("headless", "A", "NOERROR", ["A 10.1.0.1", "A 10.1.0.2", "A 10.1.0.4"]),
    ("headless", "AAAA", "NOERROR", NONE),
    ("web-0.headless", "A", "NOERROR", ["A 10.1.0.1"]),
    ("10-1-0-1.headless", "A", "NXDOMAIN", NONE),
    ("10-1-0-2.headless", "A", "NOERROR", ["A 10.1.0.2"]),
    ("web-2.headless", "A", "NXDOMAIN", NONE),
    ("x.web-0.headless", "A", "NXDOMAIN", NONE),
    ("eager", "A", "NOERROR", ["A 10.1.0.7"]),
    ("10-1-0-7.eager", "A", "NOERROR", ["A 10.1.0.7"]),
    ("empty", "A", "NXDOMAIN", NONE),
    # ports
    ("_http._tcp.s", "SRV", "NOERROR", [f"SRV 0 100 80 s.{SVC}."]),
    ("_http._tcp.s", "A", "NOERROR", NONE),
    ("_http._udp.s", "SRV", "NXDOMAIN", NONE),
    ("_dns._udp.s", "SRV", "NOERROR", [f"SRV 0 100 53 s.{SVC}."]),
    ("_dns._tcp.s", "SRV", "NOERROR", [f"SRV 0 100 5353 s.{SVC}."]),
    ("_ftp._tcp.s", "SRV", "NXDOMAIN", NONE),
    ("http._tcp.s", "SRV", "NXDOMAIN", NONE),
    ("_http.tcp.s", "SRV", "NXDOMAIN", NONE),
    (
        "_http._tcp.headless",
        "SRV",
        "NOERROR",
        [
            f"SRV 0 33 8080 web-0.headless.{SVC}.",
            f"SRV 0 33 8080 10-1-0-2.headless.{SVC}.",
            f"SRV 0 33 8080 10-1-0-4.headless.{SVC}.",
        ],
    ),
    ("_later._tcp.headless", "SRV", "NXDOMAIN", NONE),
    ("_http._tcp.eager", "SRV", "NOERROR", [f"SRV 0 100 8080 10-1-0-7.eager.{SVC}."]),
    ("_http._tcp.empty", "SRV", "NXDOMAIN", NONE),
    # aliases
    ("out", "A", "NOERROR", ["CNAME Example.org."]),
    ("out", "CNAME", "NOERROR", ["CNAME Example.org."]),
    ("x.out", "A", "NXDOMAIN", NONE),
    ("unsendable", "A", "SERVFAIL", NONE),
]


@pytest.mark.parametrize(("host", "kind", "rcode", "expected"), ANSWERS)
def test_a_service_is_answered(host: str, kind: str, rcode: str, expected: list[str]) -> None:
    answer = zone().answer(question(f"{host}.{SVC}", kind))
    assert answer is not None
    assert (dns.rcode.to_text(answer.rcode), texts(answer)) == (rcode, expected)


OTHERS = [
    (DOMAIN, "SOA", "NOERROR", [SOA]),
    (DOMAIN, "NS", "NOERROR", [f"NS ns.dns.{DOMAIN}."]),
    (DOMAIN, "A", "NOERROR", NONE),
    (f"ns.dns.{DOMAIN}", "A", "NOERROR", ["A 10.96.0.10"]),
    (f"svc.{DOMAIN}", "A", "NOERROR", NONE),
    (f"d.svc.{DOMAIN}", "A", "NOERROR", NONE),
    (f"none.svc.{DOMAIN}", "A", "NXDOMAIN", NONE),
    (f"dns-version.{DOMAIN}", "TXT", "NOERROR", ['TXT "1.1.0"']),
    (f"dns-version.{DOMAIN}", "A", "NOERROR", NONE),
    (f"10-1-0-7.d.pod.{DOMAIN}", "A", "NOERROR", ["A 10.1.0.7"]),
    (f"10-1-0-7.d.pod.{DOMAIN}", "AAAA", "NOERROR", NONE),
    (f"fd00--7.d.pod.{DOMAIN}", "AAAA", "NOERROR", ["AAAA fd00::7"]),
    (f"10-1-0-300.d.pod.{DOMAIN}", "A", "NXDOMAIN", NONE),
    (f"web.d.pod.{DOMAIN}", "A", "NXDOMAIN", NONE),
    (f"s.d.other.{DOMAIN}", "A", "NXDOMAIN", NONE),
    ("9.0.96.10.in-addr.arpa", "PTR", "NOERROR", [f"PTR s.{SVC}."]),
    ("9.0.96.10.in-addr.arpa", "A", "NOERROR", NONE),
    (IPV6, "PTR", "NOERROR", [f"PTR six.{SVC}."]),
    (f"dual.{SVC}", "A", "NOERROR", ["A 10.96.0.7"]),
    (f"dual.{SVC}", "AAAA", "NOERROR", ["AAAA fd00::7"]),
    ("1.0.1.10.in-addr.arpa", "PTR", "NOERROR", [f"PTR web-0.headless.{SVC}."]),
]


@pytest.mark.parametrize(("name", "kind", "rcode", "expected"), OTHERS)
def test_other_names_are_answered(name: str, kind: str, rcode: str, expected: list[str]) -> None:
    answer = zone().answer(question(name, kind))
    assert answer is not None
    assert (dns.rcode.to_text(answer.rcode), texts(answer)) == (rcode, expected)


@pytest.mark.parametrize(
    "name",
    ["example.org", "local", "mycluster.local", "9.9.9.9.in-addr.arpa", "1.0.0.2.ip6.arpa", "arpa"],
)
def test_names_of_others_are_not_answered(name: str) -> None:
    assert zone().answer(question(name)) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (f"s.{SVC}", "AAAA"),
        (f"none.{SVC}", "A"),
        (f"_ftp._tcp.s.{SVC}", "SRV"),
        (f"svc.{DOMAIN}", "A"),
        ("9.0.96.10.in-addr.arpa", "A"),
    ],
)
def test_an_answer_that_has_nothing_says_for_how_long(name: str, kind: str) -> None:
    answer = zone().answer(question(name, kind))
    assert answer is not None
    assert [rrset.to_text() for rrset in answer.authority] == [f"{DOMAIN}. 5 IN {SOA}"]


def test_an_answer_that_has_something_does_not() -> None:
    answer = zone().answer(question(f"s.{SVC}"))
    assert answer is not None and not answer.authority and answer.authoritative


def test_every_port_of_a_service_shares_the_weight() -> None:
    answer = zone().answer(question(f"s.{SVC}", "SRV"))
    assert answer is not None
    ports = ((80, 25), (53, 25), (5353, 25), (9, 25))
    assert texts(answer) == [f"SRV 0 {weight} {port} s.{SVC}." for port, weight in ports]


def test_many_targets_have_a_weight_all_the_same() -> None:
    small = zone()
    headless = small._source.slices("d", "headless")[0]
    headless.endpoints = headless.endpoints[:1] * 1
    headless.endpoints[0].addresses = [
        f"10.2.{number // 250}.{number % 250}" for number in range(200)
    ]
    answer = small.answer(question(f"_http._tcp.headless.{SVC}", "SRV"))
    assert answer is not None
    assert {rdata.weight for rdata in answer.records[0]} == {1}


def test_the_hosts_of_ports_come_with_their_addresses() -> None:
    answer = zone().answer(question(f"_http._tcp.headless.{SVC}", "SRV"))
    assert answer is not None
    hosts = [rrset.to_text() for rrset in answer.additional]
    assert hosts[0] == f"web-0.headless.{SVC}. 5 IN A 10.1.0.1" and len(hosts) == 3


def test_a_service_that_has_no_address_yet_has_no_records() -> None:
    young = zone()
    service = young._source.service("d", "s")
    assert service is not None
    service.spec.cluster_ip = ""
    answer = young.answer(question(f"s.{SVC}"))
    assert answer is not None and answer.rcode == 0 and not answer.records


SUBJECTS = [
    (f"s.{SVC}", "d/s"),
    (f"_http._tcp.s.{SVC}", "d/s"),
    (f"com.example.{SVC}", "d/example"),
    (f"d.svc.{DOMAIN}", "d"),
    (f"d.pod.{DOMAIN}", "d"),
    ("9.0.96.10.in-addr.arpa", "10.96.0.9"),
    (IPV6, "fd00::9"),
    (f"x{IPV6[1:]}", ""),
    (f"9.{IPV6}", ""),
    ("0.96.10.in-addr.arpa", ""),
    (f"ns.dns.{DOMAIN}", "kube-system/kube-dns"),
    (DOMAIN, "kube-system/kube-dns"),
    (f"dns-version.{DOMAIN}", ""),
]


@pytest.mark.parametrize(("name", "subject"), SUBJECTS)
def test_an_answer_depends_on_one_subject(name: str, subject: str) -> None:
    assert zone().subject(question(name).labels) == subject
