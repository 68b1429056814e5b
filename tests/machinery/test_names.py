"""Names at the edges of their formats."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tiphys.machinery import names

Check = Callable[[str], list[str]]


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            names.dns_label_errors,
            ["a", "0a", "a-b", "a" * 63],
            ["", "a" * 64, "-a", "a-", "A", "a.b"],
        ),
        (
            names.dns_subdomain_errors,
            ["a", "a.b-c.0", "a" * 253],
            ["", "a" * 254, "a..b", ".a", "a.", "a_b"],
        ),
        (names.dns1035_errors, ["a", "a0", "a" * 63], ["0a", "a" * 64, "a-", ""]),
        (names.path_segment_errors, ["a", "...", "a:b"], [".", "..", "a/b", "a%b"]),
        (
            names.label_key_errors,
            ["a", "A_b.c", "x.io/a", "a" * 63, "b" * 253 + "/a"],
            ["", "a" * 64, "/a", "x.io/", "X/a", "a/b/c", "-a", "b" * 254 + "/a"],
        ),
        (names.label_value_errors, ["", "a", "A.b_c", "a" * 63], ["a" * 64, "-a", "a b", "a-"]),
        (
            names.config_key_errors,
            ["a", "-", "_a.B", "a" * 253],
            ["", ".", "..", "..a", "a" * 254, "a/b"],
        ),
        (
            names.port_name_errors,
            ["a", "a-1", "a" * 15],
            ["", "a" * 16, "1", "a--b", "-a", "a-", "A"],
        ),
    ],
)
def test_what_a_name_may_be(check: Check, good: list[str], bad: list[str]) -> None:
    assert {name: check(name) for name in good if check(name)} == {}
    assert [name for name in bad if not check(name)] == []


def test_every_broken_rule_is_named() -> None:
    assert names.label_key_errors("X/" + "-" * 64) == [
        f"prefix part {names.SUBDOMAIN_MESSAGE}",
        "name part must be no more than 63 bytes",
        names.QUALIFIED_MESSAGE,
    ]
    names.label_key_errors("X/").append("changed by whoever asked")
    assert "changed by whoever asked" not in names.label_key_errors("X/")


@pytest.mark.parametrize(
    ("text", "address"),
    [("10.0.0.1", True), ("::1", True), ("fe80::1%eth0", False), ("10.0.0", False), ("", False)],
)
def test_what_is_an_address(text: str, address: bool) -> None:
    assert names.is_ip(text) is address


def test_generated_names_are_no_longer_than_a_label() -> None:
    made = names.generated("a" * 100)
    assert len(made) == 63 and made[:58] == "a" * 58
    assert set(made[58:]) <= set(names.ALPHABET) and names.generated("a-") != names.generated("a-")
