"""Host names and the order of rules."""

from __future__ import annotations

import pytest

from tiphys.addons.gateway.model import (
    Match,
    PathMatch,
    Rule,
    covering,
    covers,
    intersection,
    precedence,
    specificity,
)


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ("*", "a.example", "a.example"),
        ("*.example", "a.example", "a.example"),
        ("*.example", "a.b.example", "a.b.example"),
        ("*.example", "*.b.example", "*.b.example"),
        ("*.example", "example", None),
        ("a.example", "b.example", None),
        ("*.example", "badexample", None),
    ],
)
def test_host_names_have_in_common(one: str, other: str, common: str | None) -> None:
    assert intersection(one, other) == intersection(other, one) == common
    assert common is None or covers(one, common)


@pytest.mark.parametrize("name", ["a.b.example", "*.b.example", "*.example", "example", "*"])
def test_what_covers_a_name_is_found_from_the_narrowest_to_the_widest(name: str) -> None:
    names = ["a.b.example", "*.b.example", "*.example", "example", "*"]
    wider = sorted((one for one in names if covers(one, name)), key=specificity)
    assert [one for one in covering(name) if one in names] == wider


def test_rules_are_ordered_by_path_then_method_then_headers() -> None:
    rules = [
        Rule(Match(PathMatch("Prefix", "/a"))),
        Rule(Match(PathMatch("Prefix", "/a"), "GET")),
        Rule(Match(PathMatch("Prefix", "/a/b"))),
        Rule(Match(PathMatch("Exact", "/a"))),
    ]
    assert [rules.index(one) for one in sorted(rules, key=precedence)] == [3, 2, 1, 0]
