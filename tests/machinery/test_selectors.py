"""Selectors: what they match, how they are written, and what is none."""

from __future__ import annotations

import pytest

from tiphys.api.meta_v1 import LabelSelector, LabelSelectorRequirement
from tiphys.machinery.selectors import (
    EVERYTHING,
    NOTHING,
    Requirement,
    Selector,
    SelectorError,
    from_label_selector,
    from_labels,
    integer,
    node_requirement,
    parse_fields,
    parse_labels,
)

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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a=b", "a=b"),
        ("a==b", "a=b"),
        ("a != b", "a!=b"),
        ("a=", "a="),
        ("a!=,b", "a!=,b"),
        (" b , a ", "a,b"),  # in the order of keys
        ("!a", "!a"),
        ("a in (c,b)", "a in (b,c)"),
        ("a notin (b)", "a notin (b)"),
        ("a in (,b)", "a in (,b)"),
        ("a in ()", "a in ()"),
        ("a>1,b<2", "a>1,b<2"),
        ("", ""),
    ],
)
def test_a_selector_is_shown_as_it_would_be_written(text: str, shown: str) -> None:
    assert str(parse_labels(text)) == shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a=b,", "found '', expected: identifier after ','"),
        ("!", "found '', expected: identifier"),
        ("!=a", "found '!=', expected: !, identifier, or 'end of string'"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a,,b", "found ',', expected: identifier after ','"),
        ("a,=b", "found '=', expected: identifier after ','"),
        ("a,!", "unable to parse requirement: found '', expected: identifier"),
        ("!!a", "found '!', expected: identifier"),
        ("a>x", "values[0][a]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be"),
        ("a<+1", "values[0][a]: Invalid value: \"+1\": for 'Gt', 'Lt' operators"),
        ("a < " + "9" * 19, "for 'Gt', 'Lt' operators, the value must be an integer"),
        ("a near b", "found 'near', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "found 'b' expected: '('"),
        ("a in (b c)", "found 'c', expected: ',' or ')'"),
        ("a in (b", "found '', expected: ',' or ')'"),
        ("-a", 'key: Invalid value: "-a": '),
        ("a in (b,-c)", 'values[1][a]: Invalid value: "-c": '),
    ],
)
def test_what_is_no_selector_says_why(text: str, words: str) -> None:
    with pytest.raises(SelectorError) as refused:
        parse_labels(text)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("-5", -5),
        ("9223372036854775807", (1 << 63) - 1),
        ("9223372036854775808", None),
        ("-9223372036854775808", -(1 << 63)),
        ("-9223372036854775809", None),
        ("0" * 62 + "7", 7),
        ("0" * 63 + "7", None),
        ("5.0", None),
    ],
)
def test_an_integer_is_of_64_bits(text: str, number: int | None) -> None:
    assert integer(text) == number


MANY = tuple(f"v{number}" for number in range(17))
ALL = tuple(Requirement(f"k{number}", "exists") for number in range(17))
HAS_ALL = {f"k{number}": "1" for number in range(17)}


@pytest.mark.parametrize(
    ("requirements", "labels", "matches"),
    [
        # Each of 17 values, and so by the index.
        ((Requirement("a", "in", MANY),), {"a": "v16"}, True),
        ((Requirement("a", "in", MANY),), {"a": "v17"}, False),
        ((Requirement("a", "in", MANY),), {}, False),
        ((Requirement("a", "notin", MANY),), {"a": "v17"}, True),
        ((Requirement("a", "notin", MANY),), {"a": "v16"}, False),
        ((Requirement("a", "notin", MANY),), {}, True),
        ((Requirement("a", "in", MANY), Requirement("a", "in", MANY[:3])), {"a": "v2"}, True),
        ((Requirement("a", "in", MANY), Requirement("a", "in", MANY[:3])), {"a": "v3"}, False),
        ((Requirement("a", "in", MANY), Requirement("a", "!=", ("v1",))), {"a": "v1"}, False),
        ((Requirement("a", "notin", MANY), Requirement("a", "!=", ("w",))), {"a": "v1"}, False),
        ((Requirement("a", "notin", MANY), Requirement("a", "!=", ("w",))), {"a": "w"}, False),
        # 17 terms.
        (ALL, HAS_ALL, True),
        (ALL, HAS_ALL | {"more": "1"}, True),
        (ALL, {**HAS_ALL, "k0": ""}, True),
        (ALL[1:] + (Requirement("a", "=", ("b",)),), HAS_ALL | {"a": "b"}, True),
        (ALL[1:] + (Requirement("a", "=", ("b",)),), HAS_ALL | {"a": "c"}, False),
        (ALL, dict.fromkeys(list(HAS_ALL)[1:], "1"), False),
        (ALL, dict.fromkeys([*list(HAS_ALL)[1:], "more"], "1"), False),
        ((*ALL, Requirement("a", "!")), HAS_ALL, True),
        ((*ALL, Requirement("a", "!")), HAS_ALL | {"a": "b"}, False),
        ((*ALL, Requirement("a", "gt", ("3",))), HAS_ALL | {"a": "4"}, True),
        ((*ALL, Requirement("a", "gt", ("3",))), HAS_ALL | {"a": "3"}, False),
        ((*ALL, Requirement("a", "gt", ("3",))), HAS_ALL, False),
        ((*ALL, Requirement("a", "lt", ("3",))), HAS_ALL | {"a": "2"}, True),
        ((*ALL, Requirement("a", "gt", ("1",)), Requirement("a", "lt", ("3",))), HAS_ALL | {"a": "3"}, False),
    ],
)  # fmt: skip
def test_many_terms_and_values_match_as_few_do(
    requirements: tuple[Requirement, ...], labels: dict[str, str], matches: bool
) -> None:
    selector = Selector(requirements)
    assert selector._index is not None and selector.matches(labels) is matches
    one_by_one = [Selector((requirement,)) for requirement in requirements]
    assert all(requirement.matches(labels) for requirement in requirements) is matches
    assert all(each.matches(labels) for each in one_by_one) is matches


def test_few_terms_and_values_are_looked_at_one_by_one() -> None:
    assert Selector((Requirement("a", "in", MANY[:16]),))._index is None
    assert Selector(ALL[:16])._index is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("a=b", "b"), ("c,a=b", "b"), ("a in (b)", "b"), ("a in (b,c)", None), ("a!=b", None)],
)
def test_a_selector_may_say_what_a_label_is(text: str, value: str | None) -> None:
    assert parse_labels(text).exact("a") == value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a=b", [("a", "=", ("b",))]),
        ("a==b", [("a", "=", ("b",))]),
        ("a!=b,c=", [("a", "!=", ("b",)), ("c", "=", ("",))]),
        ("b=1,a=2", [("b", "=", ("1",)), ("a", "=", ("2",))]),  # in their order
        (r"a\=b=c\,d\\", [(r"a\=b", "=", ("c,d\\",))]),
        ("", []),
    ],
)
def test_a_selector_of_fields(text: str, shown: list[tuple[str, str, tuple[str, ...]]]) -> None:
    found = parse_fields(text).requirements
    assert [(one.key, one.operator, one.values) for one in found] == shown


@pytest.mark.parametrize("text", ["a", "a=b,c", "=b", "a>b"])
def test_what_is_no_selector_of_fields_is_refused(text: str) -> None:
    with pytest.raises(SelectorError, match=f"invalid selector: '{text}'; can't understand"):
        parse_fields(text)


def test_selectors_of_objects_are_as_those_of_requests() -> None:
    given = LabelSelector(
        match_labels={"b": "1", "a": "2"},
        match_expressions=[
            LabelSelectorRequirement(key="c", operator="In", values=["x", "y"]),
            LabelSelectorRequirement(key="aa", operator="NotIn", values=["x"]),
            LabelSelectorRequirement(key="d", operator="Exists"),
            LabelSelectorRequirement(key="e", operator="DoesNotExist"),
        ],
    )
    assert str(from_label_selector(given)) == "a=2,aa notin (x),b=1,c in (x,y),d,!e"
    assert from_label_selector(None) is None
    everything = from_label_selector(LabelSelector())
    assert everything == EVERYTHING and everything.matches({}) and not NOTHING.matches({"a": "b"})
    assert str(from_labels({"b": "1", "a": "2"})) == "a=2,b=1"
    assert str(node_requirement("a", "Gt", ["3"])) == "a>3"
    assert node_requirement("a", "Lt", ["3"]).matches({"a": "2"})
