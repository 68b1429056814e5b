"""Questions and answers."""

from __future__ import annotations

import dns.name
import dns.rrset
import pytest
from dns.rdata import from_text
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from tests.addons.dns.builders import question, texts
from tiphys.addons.dns.answers import Answer, address_record, labels_of, only

NAME = question("s.d").name


@pytest.mark.parametrize(
    ("name", "labels"),
    [("S.d.Local.", ("s", "d", "local")), (".", ()), ("a\\.b.c.", ("a.b", "c"))],
)
def test_labels_are_in_lower_case_without_the_roots(name: str, labels: tuple[str, ...]) -> None:
    assert labels_of(dns.name.from_text(name)) == labels


ADDRESSES = [address_record("10.0.0.1"), address_record("fd00::1"), address_record("10.0.0.2")]
ASKED = [
    ("A", ["A 10.0.0.1", "A 10.0.0.2"]),
    ("AAAA", ["AAAA fd00::1"]),
    ("ANY", ["A 10.0.0.1", "A 10.0.0.2", "AAAA fd00::1"]),
    ("TXT", []),
]


@pytest.mark.parametrize(("kind", "expected"), ASKED)
def test_only_records_of_the_type_that_is_asked_for_answer(kind: str, expected: list[str]) -> None:
    assert texts(only(question("s.d", kind), ADDRESSES)) == expected


def test_addresses_alone_are_turned() -> None:
    rows = [from_text(RdataClass.IN, RdataType.TXT, f'"{number}"') for number in range(3)]
    answer = only(question("s.d", "ANY"), [*ADDRESSES, *rows])
    first, second = answer.in_order(0), answer.in_order(1)
    assert answer.orders == 2
    assert texts(first)[:2] == ["A 10.0.0.1", "A 10.0.0.2"]
    assert texts(second)[:2] == ["A 10.0.0.2", "A 10.0.0.1"]
    assert texts(second)[2:] == texts(first)[2:]


def test_records_are_of_the_name_that_is_asked_for_for_five_seconds() -> None:
    [records] = only(question("s.d"), ADDRESSES).records
    assert (records.name, records.ttl) == (NAME, 5)


def test_an_answer_that_ends_with_an_alias_leads_on() -> None:
    alias = dns.rrset.from_text(NAME, 5, "IN", "CNAME", "other.")
    address = dns.rrset.from_text("other.", 5, "IN", "A", "10.0.0.1")
    assert Answer(records=[alias]).alias == dns.name.from_text("other.")
    assert Answer(records=[alias, address]).alias is None
    assert Answer().alias is None


def test_any_accepts_every_type() -> None:
    assert question("s", "ANY").accepts(RdataType.A) and question("s", "A").accepts(RdataType.A)
    assert not question("s", "A").accepts(RdataType.AAAA)
