"""Names that an administrator has written down."""

from __future__ import annotations

import dns.rcode
import pytest

from tests.addons.dns.builders import question, texts
from tiphys.addons.dns.configuration import read
from tiphys.addons.dns.hosts import answer_of_hosts

FALLING = """
corp.example { hosts {
    192.0.2.1 a.corp.example both.corp.example
    2001:db8::1 both.corp.example
    ttl 60
    fallthrough
}
}
strict.example { hosts {
    192.0.2.9 a.strict.example
}
}"""
CONFIGURED = read({"Corefile": FALLING}, {}).hosts

ANSWERS = [
    ("a.corp.example", "A", ["A 192.0.2.1"]),
    ("both.corp.example", "A", ["A 192.0.2.1"]),
    ("both.corp.example", "AAAA", ["AAAA 2001:db8::1"]),
    ("a.corp.example", "AAAA", []),
    ("none.corp.example", "A", None),
    ("a.corp.example.org", "A", None),
    ("a.strict.example", "A", ["A 192.0.2.9"]),
]


@pytest.mark.parametrize(("name", "kind", "expected"), ANSWERS)
def test_a_name_has_the_addresses_that_are_written(
    name: str, kind: str, expected: list[str] | None
) -> None:
    answer = answer_of_hosts(question(name, kind), CONFIGURED)
    assert (texts(answer) if answer is not None else None) == expected
    if answer is not None and answer.records and "corp" in name:
        assert answer.records[0].ttl == 60


def test_without_fallthrough_other_names_of_the_zone_do_not_exist() -> None:
    answer = answer_of_hosts(question("b.strict.example"), CONFIGURED)
    assert answer is not None and answer.rcode == dns.rcode.NXDOMAIN


def test_addresses_have_their_names_in_the_zone_of_the_root() -> None:
    hosts = read({"Corefile": ". {\nhosts {\n192.0.2.1 a.example b.example\nfallthrough\n}\n}"}, {})
    answer = answer_of_hosts(question("1.2.0.192.in-addr.arpa", "PTR"), hosts.hosts)
    assert answer is not None and texts(answer) == ["PTR a.example.", "PTR b.example."]
    assert answer_of_hosts(question("2.2.0.192.in-addr.arpa", "PTR"), hosts.hosts) is None
