"""What the two ConfigMaps mean."""

from __future__ import annotations

import dns.name
import dns.reversename
import pytest

from tiphys.addons.dns import configuration as module
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


@pytest.mark.parametrize(
    ("written", "server"),
    [
        ("192.0.2.1", Server("192.0.2.1", 53)),
        ("192.0.2.1:5353", Server("192.0.2.1", 5353)),
        ("dns://192.0.2.1:1", Server("192.0.2.1", 1)),
        ("192.0.2.1:65535", Server("192.0.2.1", 65535)),
        ("192.0.2.1:00053", Server("192.0.2.1", 53)),
        ("2001:db8::1", Server("2001:db8::1", 53)),
        ("[2001:db8::1]", Server("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", Server("2001:db8::1", 5353)),
    ],
)
def test_where_a_server_is(written: str, server: Server) -> None:
    assert module._server(written) == server


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("tls://192.0.2.1", "only servers without TLS can be asked"),
        ("192.0.2.1:0", "has no such port"),
        ("192.0.2.1:65536", "has no such port"),
        ("192.0.2.1:000053", "has no such port"),
        ("192.0.2.1:", "has no such port"),
        ("192.0.2.1:dns", "has no such port"),
        ("192.0.2.1:٥٣", "has no such port"),
        ("[2001:db8::1]5353x", "has no such port"),
        ("192.0.2", "is no address of a server"),
        ("ns.example.org", "is no address of a server"),
        ("[192.0.2.1", ""),
    ],
)
def test_where_a_server_cannot_be(written: str, problem: str) -> None:
    if not problem:
        assert module._server(written) == Server("192.0.2.1", 53)
        return
    with pytest.raises(ValueError, match=problem):
        module._server(written)


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        ("example.org", "example.org."),
        ("EXAMPLE.org:53", "example.org."),
        ("dns://example.org", "example.org."),
        (".", "."),
        (".:53", "."),
        ("10.20.0.0/16", "20.10.in-addr.arpa."),
        ("10.20.30.0/20", "20.10.in-addr.arpa."),
        ("10.0.0.0/8", "10.in-addr.arpa."),
        ("2001:db8::/32", "8.b.d.0.1.0.0.2.ip6.arpa."),
    ],
)
def test_what_a_zone_is(written: str, zone: str) -> None:
    assert module._zone(written).to_text() == zone


@pytest.mark.parametrize("written", ["tls://example.org", "10.0.0.0/33", "a..b", "x" * 64])
def test_what_is_no_zone(written: str) -> None:
    with pytest.raises(ValueError, match=r"is not served|is no network|is no zone"):
        module._zone(written)


@pytest.mark.parametrize(
    ("text", "seconds"), [("cache 5", 5), ("cache 86400", 86400), ("cache 99999", 86400)]
)
def test_a_number_of_seconds_is_a_day_at_the_most(text: str, seconds: int) -> None:
    assert corefile(f". {{\n{text}\n}}").longest[dns.name.root] == seconds


def test_names_of_a_block_of_hosts_are_of_all_its_addresses() -> None:
    block = "10.0.0.1 a.x b.x\n2001:db8::1 a.x\nttl 5\nno_reverse\nfallthrough"
    [hosts] = corefile(f". {{\nhosts {{\n{block}\n}}\n}}").hosts
    names = {name.to_text(): found for name, found in hosts.addresses.items()}
    assert names == {"a.x.": ["10.0.0.1", "2001:db8::1"], "b.x.": ["10.0.0.1"]}
    assert (hosts.ttl, hosts.fallthrough) == (5, True)
