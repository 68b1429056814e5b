from __future__ import annotations

import pytest

from tiphys.machinery.selectors import SelectorError, parse_fields, parse_labels

LABELS = {"a": "b", "n": "5", "tier": "web"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("a=b", True),
        ("a==b", True),
        ("a!=b", False),
        ("x!=b", True),
        ("a", True),
        ("!a", False),
        ("!x", True),
        ("a in (b, c)", True),
        ("a notin (b)", False),
        ("x notin (b)", True),
        ("n>4", True),
        ("n<5", False),
        ("a=b,tier=web", True),
        ("a=b,tier=db", False),
        ("a=", False),
    ],
)
def test_labels(text: str, matches: bool) -> None:
    assert parse_labels(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("value", "matches"),
    [("+5", True), ("05", True), ("1_0", False), ("٥", False), ("9" * 20, False), ("", False)],
)
def test_numbers_are_those_that_go_reads(value: str, matches: bool) -> None:
    assert parse_labels("n>4").matches({"n": value}) is matches


@pytest.mark.parametrize("bad", ["n>x", "n>" + "9" * 20, "a=/x", "-a=b"])
def test_bad_selectors_are_refused(bad: str) -> None:
    with pytest.raises(SelectorError):
        parse_labels(bad)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("=b", "found '=', expected: !, identifier, or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a=b,", "found '', expected: identifier after ','"),
        ("a=b,=c", "found '=', expected: identifier after ','"),
        ("a==!", "unable to parse requirement: found '!', expected: identifier"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (b,", "unable to parse requirement: found '', expected: ',', or identifier"),
        ("a in (b=)", "unable to parse requirement: found '=', expected: ',' or ')'"),
    ],
)
def test_selectors_that_cannot_be_read_say_where(bad: str, says: str) -> None:
    with pytest.raises(SelectorError) as refused:
        parse_labels(bad)
    assert str(refused.value) == says


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a in ()", ("",)),
        ("a in (,b)", ("", "b")),
        ("a in (b,)", ("b", "")),
        ("a in (b,,c)", ("b", "", "c")),
    ],
)
def test_values_may_be_empty(text: str, values: tuple[str, ...]) -> None:
    [requirement] = parse_labels(text).requirements
    assert requirement.values == values


def test_fields_with_escapes() -> None:
    selector = parse_fields(r"metadata.name=a\,b,spec.nodeName!=x")
    assert selector.matches({"metadata.name": "a,b", "spec.nodeName": "y"})
    assert not selector.matches({"metadata.name": "a,b", "spec.nodeName": "x"})
