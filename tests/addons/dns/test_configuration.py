"""What the two ConfigMaps mean."""

from __future__ import annotations

import dns.name
import dns.reversename
import pytest

from tiphys.addons.dns.configuration import Configuration, Server, read


def corefile(*lines: str) -> Configuration:
    return read({"Corefile": "\n".join(lines)}, {})


def servers(configuration: Configuration, name: str) -> list[str]:
    forwarding = configuration.forwarding(dns.name.from_text(name))
    return [f"{server.address} {server.port}" for server in forwarding.servers]


def test_nothing_said_leaves_every_name_to_the_machines_servers() -> None:
    configuration = read({}, {})
    assert servers(configuration, "example.org") == [] and not configuration.problems
    assert configuration.seconds_kept(dns.name.from_text("example.org")) == 30


def test_the_most_specific_zone_says_who_is_asked() -> None:
    configuration = corefile(
        "corp.example {\nforward . 192.0.2.1\n}",
        "lab.corp.example:53 {\nforward . dns://192.0.2.2:5353 [2001:db8::1]:54 2001:db8::2\n}",
        ".:53 {\nforward . 192.0.2.3 192.0.2.4\nforward org 192.0.2.5\n}",
    )
    assert not configuration.problems
    assert servers(configuration, "a.corp.example") == ["192.0.2.1 53"]
    assert servers(configuration, "a.lab.corp.example") == [
        "192.0.2.2 5353",
        "2001:db8::1 54",
        "2001:db8::2 53",
    ]
    assert servers(configuration, "a.org") == ["192.0.2.5 53"]
    assert servers(configuration, "a.com") == ["192.0.2.3 53", "192.0.2.4 53"]


@pytest.mark.parametrize(
    ("network", "address", "below"),
    [
        ("10.20.0.0/16", "10.20.3.4", True),
        ("10.20.0.0/16", "10.21.3.4", False),
        ("10.20.0.0/20", "10.20.200.4", True),  # cut to whole labels
        ("2001:db8::/32", "2001:db8::7", True),
        ("2001:db8::/32", "2001:db9::7", False),
    ],
)
def test_a_network_stands_for_the_names_of_its_addresses(
    network: str, address: str, below: bool
) -> None:
    configuration = corefile(f"{network} {{\nforward . 192.0.2.1\n}}")
    name = dns.reversename.from_address(address).to_text()
    assert servers(configuration, name) == (["192.0.2.1 53"] if below else [])


def test_stub_domains_of_kube_dns_hold_beside_a_corefile() -> None:
    configuration = read(
        {"Corefile": ". {\nforward . 192.0.2.3\n}\nacme.local {\nforward . 192.0.2.9\n}"},
        {
            "stubDomains": '{"acme.local": ["1.2.3.4:5353"]}',
            "upstreamNameservers": '["8.8.8.8", "8.8.4.4"]',
        },
    )
    assert servers(configuration, "a.acme.local") == ["1.2.3.4 5353"]
    assert servers(configuration, "example.org") == ["8.8.8.8 53", "8.8.4.4 53"]


def test_an_answer_is_kept_as_long_as_the_nearest_zone_says() -> None:
    configuration = corefile(
        ". {\ncache 20\n}", "org {\ncache\n}", "a.org {\ncache 5 b.a.org c.a.org\n}"
    )
    kept = {
        name: configuration.seconds_kept(dns.name.from_text(name))
        for name in ("com", "x.org", "b.a.org", "d.a.org")
    }
    assert kept == {"com": 20, "x.org": 30, "b.a.org": 5, "d.a.org": 30}


PROBLEMS = [
    ("Corefile", ". {\nrewrite name a b\n}", "line 2: rewrite is not carried out by this server"),
    ("Corefile", ". {\nforward .\n}", "line 2: forward needs a zone and a server"),
    ("Corefile", ". {\nforward . ns.example.org\n}", "is no address of a server"),
    ("Corefile", ". {\nforward . 1.2.3.4:0\n}", "'1.2.3.4:0' has no such port"),
    ("Corefile", ". {\nforward . 1.2.3.4:\u00b2\n}", "has no such port"),
    ("Corefile", ". {\nforward . tls://9.9.9.9\n}", "only servers without TLS can be asked"),
    ("Corefile", ". {\nforward . " + "1.2.3.4 " * 16 + "\n}", "forward has more than 15 servers"),
    ("Corefile", ". {\nforward . 1.2.3.4 {\ntls_servername a\n}\n}", "tls_servername is not"),
    ("Corefile", ". {\nhosts /etc/hosts\n}", "hosts cannot read a file here"),
    ("Corefile", ". {\nhosts {\nx a.org\n}\n}", "'x' does not appear to be an IPv4 or IPv6"),
    ("Corefile", "tls://. {\n}", "'tls://.' is not served over that protocol"),
    ("Corefile", "10.0.0.0/99 {\n}", "'10.0.0.0/99' is no network"),
    ("Corefile", "a" * 64 + " {\nerrors\n}", "is no zone"),
    ("Corefile", ". {", "line 1: the block is not closed"),
    ("Corefile", "#" * 70_000, "longer than 65536 characters"),
    ("stubDomains", "[]", "stubDomains cannot be read"),
    ("stubDomains", '{"a.b": ["x"]}', "stubDomains: 'x' is no address of a server"),
    ("upstreamNameservers", "8.8.8.8", "upstreamNameservers cannot be read"),
]


@pytest.mark.parametrize(("key", "text", "problem"), PROBLEMS)
def test_what_cannot_be_followed_is_said_and_the_rest_holds(
    key: str, text: str, problem: str
) -> None:
    coredns = {"Corefile": text} if key == "Corefile" else {}
    kube_dns = {} if coredns else {key: text, "stubDomains": text if key == "stubDomains" else ""}
    configuration = read(coredns, kube_dns)
    assert len(configuration.problems) == 1 and problem in configuration.problems[0]
    assert configuration.forwarding(dns.name.from_text("example.org")).servers == ()


def test_what_is_wrong_in_one_line_does_not_undo_another() -> None:
    configuration = corefile(". {\nrewrite name a b\nforward . 192.0.2.3\n}")
    assert servers(configuration, "a.com") == ["192.0.2.3 53"]
    assert configuration.forwardings[0].servers == (Server("192.0.2.3"),)
