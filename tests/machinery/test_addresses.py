"""Which addresses may be given out."""

from __future__ import annotations

import pytest

from tiphys.machinery.addresses import authority, endpoint_problems, is_global_unicast, parsed


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
