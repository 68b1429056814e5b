"""What pods are called inside, and how they resolve names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.builders import pod
from tiphys.node.naming import (
    ClusterDNS,
    HostNameError,
    Resolver,
    host_and_domain,
    host_in_kernel,
    machine_resolver,
    resolver_of,
)

DNS = ClusterDNS(["10.0.0.10"], "cluster.local")
MACHINE = Resolver(["192.0.2.1"], ["example.com", "cluster.local"], ["timeout:1"])
OF_CLUSTER = ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.com"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, ("p", "")),
        ({"hostname": "h"}, ("h", "")),
        ({"subdomain": "s"}, ("p", "s.default.svc.cluster.local")),
        ({"hostname": "h", "subdomain": "s"}, ("h", "s.default.svc.cluster.local")),
        ({"hostnameOverride": "o.example.com", "subdomain": "s"}, ("o.example.com", "")),
        ({"hostname": "x" * 62 + "-y"}, ("x" * 62, "")),
        ({"hostname": "x" * 64}, ("x" * 63, "")),
    ],
)
def test_host_names_and_domains(spec: dict[str, Any], expected: tuple[str, str]) -> None:
    assert host_and_domain(pod(**spec), "cluster.local") == expected


@pytest.mark.parametrize(
    ("as_fqdn", "host", "domain", "expected"),
    [
        (False, "h", "d", "h"),
        (True, "h", "d", "h.d"),
        (True, "h", "", "h"),
        (True, "h" * 32, "d" * 31, f"{'h' * 32}.{'d' * 31}"),
    ],
)
def test_the_kernel_may_have_the_whole_name(
    as_fqdn: bool, host: str, domain: str, expected: str
) -> None:
    assert host_in_kernel(pod(setHostnameAsFQDN=as_fqdn), host, domain) == expected


def test_a_whole_name_may_have_64_characters() -> None:
    too_long = r"is too long \(64 characters is the max, 65 characters requested\)"
    with pytest.raises(HostNameError, match=too_long):
        host_in_kernel(pod(setHostnameAsFQDN=True), "h" * 32, "d" * 32)


@pytest.mark.parametrize(
    ("policy", "host_network", "expected"),
    [
        ("ClusterFirst", False, Resolver(["10.0.0.10"], OF_CLUSTER, ["ndots:5"])),
        ("ClusterFirst", True, MACHINE),
        ("ClusterFirstWithHostNet", True, Resolver(["10.0.0.10"], OF_CLUSTER, ["ndots:5"])),
        ("ClusterFirstWithHostNet", False, Resolver(["10.0.0.10"], OF_CLUSTER, ["ndots:5"])),
        ("Default", False, MACHINE),
        ("None", False, Resolver([], [], [])),
    ],
)
def test_dns_policies(policy: str, host_network: bool, expected: Resolver) -> None:
    assert resolver_of(pod(dnsPolicy=policy, hostNetwork=host_network), DNS, MACHINE) == expected


def test_a_dns_config_adds_to_the_policy_and_overrides_its_options() -> None:
    config = {
        "nameservers": ["192.0.2.9", "192.0.2.1"],
        "searches": ["more.example"],
        "options": [{"name": "timeout", "value": "3"}, {"name": "edns0"}],
    }
    resolver = resolver_of(pod(dnsPolicy="Default", dnsConfig=config), DNS, MACHINE)
    assert resolver.servers == ["192.0.2.1", "192.0.2.9"]
    assert resolver.searches == ["example.com", "cluster.local", "more.example"]
    assert resolver.options == ["timeout:3", "edns0"]


def test_the_machines_own_resolver(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# comment\n\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver\n"
        "search a b\nsearch c\noptions ndots:2\noptions edns0 trust-ad\n"
    )
    expected = Resolver(["192.0.2.1", "192.0.2.2"], ["c"], ["ndots:2", "edns0", "trust-ad"])
    assert machine_resolver(file) == expected
    assert machine_resolver(tmp_path / "none") == Resolver([], [], [])
