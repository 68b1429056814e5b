"""Which addresses may be given out."""

from __future__ import annotations

import pytest

from tiphys.machinery.addresses import (
    authority,
    endpoint_problems,
    is_global_unicast,
    led_by,
    parsed,
    plain,
)


@pytest.mark.parametrize(
    ("text", "reachable", "problems"),
    [
        ("10.0.0.1", True, 0),
        ("2001:db8::1", True, 0),
        ("127.0.0.1", False, 1),
        ("::1", False, 1),
        ("::ffff:127.0.0.1", False, 1),  # an IPv4 address in IPv6's form
        ("169.254.1.1", False, 1),
        ("fe80::1", False, 1),
        ("fe80::1%eth0", False, 1),
        ("0.0.0.0", False, 1),
        ("224.0.0.1", False, 1),
        ("224.0.1.1", False, 0),
        ("ff02::1", False, 1),
        ("ff05::1", False, 0),
        ("255.255.255.255", False, 0),
        ("localhost", False, 1),
    ],
)
def test_what_an_address_is_for(text: str, reachable: bool, problems: int) -> None:
    assert is_global_unicast(text) is reachable
    assert len(endpoint_problems(text)) == problems


def test_an_address_with_a_zone_is_none() -> None:
    assert parsed("fe80::1%eth0") is None and str(parsed("::ffff:10.0.0.1")) == "10.0.0.1"


def test_an_ipv6_address_has_brackets_in_a_url() -> None:
    assert (authority("::1", 80), authority("a.b", 80)) == ("[::1]:80", "a.b:80")


def test_an_ipv4_client_of_a_socket_of_both_versions_is_known_by_its_own_address() -> None:
    assert plain("::ffff:192.0.2.1") == plain("192.0.2.1") == "192.0.2.1"
    assert plain("2001:db8::1") == "2001:db8::1"


def test_a_pods_first_address_is_of_its_nodes_first_family() -> None:
    both = ("10.1.0.1", "fd01::1")
    assert led_by(both, "192.0.2.1") == both
    assert led_by(both, "2001:db8::1") == ("fd01::1", "10.1.0.1")
    assert led_by(both[:1], "2001:db8::1") == both[:1]
