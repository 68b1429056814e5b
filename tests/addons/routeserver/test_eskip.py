"""eskip: what is written is read the same, and what is none is refused."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.addons.routeserver.eskip import (
    Backend,
    Call,
    Endpoint,
    EskipError,
    Route,
    read_filters,
    read_predicates,
    read_routes,
    table_text,
)

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True).filter(
    lambda name: (
        name not in ("Any", "Path", "Host", "PathRegexp", "Method", "Header", "HeaderRegexp")
    )
)
numbers = st.floats(min_value=0, max_value=1e9, allow_nan=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
calls = st.builds(Call, names, st.lists(st.one_of(numbers, texts), max_size=3).map(tuple))
endpoints = st.builds(Endpoint, st.just("http://10.0.0.1:80"), st.sampled_from(["", "a b", "z1"]))
backends = st.one_of(
    st.sampled_from([Backend(kind) for kind in ("shunt", "loopback", "dynamic", "forward")]),
    st.just(Backend("network", "https://example.org")),
    st.builds(
        lambda each: Backend("lb", "", "random", tuple(each)), st.lists(endpoints, min_size=1)
    ),
)
routes = st.builds(
    Route,
    names,
    st.lists(calls, max_size=3).map(tuple),
    st.lists(calls, max_size=3).map(tuple),
    backends,
)
expressions = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\\[]\a\b\f\n\r\t\v"), max_size=9
)


@given(st.lists(routes, max_size=4))
def test_what_is_written_is_read(table: list[Route]) -> None:
    assert read_routes(table_text(table)) == table


@given(expressions)
def test_expressions_are_read_as_they_were(expression: str) -> None:
    route = Route("a", (Call("Host", (expression,)),))
    assert read_routes(table_text([route])) == [route]


def test_an_expression_with_everything_in_it() -> None:
    route = Route("a", (Call("PathRegexp", (r"^/a[/\]]\d+\/(b|c)\\$",)),))
    assert read_routes(table_text([route])) == [route]


def test_a_table_with_comments_and_without_a_last_semicolon() -> None:
    text = '// all\na: Path("/a") -> <shunt>; // one\nb: * -> `http://b`'
    first, second = read_routes(text)
    assert first == Route("a", (Call("Path", ("/a",)),))
    assert second == Route("b", (), (), Backend("network", "http://b"))


@pytest.mark.parametrize(
    "text",
    [
        "a: ",
        "a: * -> ",
        "a: * -> <nowhere>",
        'a: * -> "http://a" b: * -> <shunt>',
        'a: Path("/a") && Path("/b") -> <shunt>',
        'a: Header("x") -> <shunt>',
        'a: * -> <random, "http://a", "https://b">',
        "a: Path(/a -> <shunt>",
        f"a: W({'9' * 400}) -> <shunt>",
        "é: * -> <shunt>",
    ],
)
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(EskipError):
        read_routes(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_routes, read_filters, read_predicates):
        try:
            read(text)
        except EskipError:
            pass


def test_a_long_text_is_refused_soon() -> None:
    for text in ("[" * 100_000, "/" + "[a" * 50_000, '"' + "\\" * 99_999, "a(" * 50_000):
        began = time.process_time()
        with pytest.raises(EskipError):
            read_filters(text)
        assert time.process_time() - began < 1
