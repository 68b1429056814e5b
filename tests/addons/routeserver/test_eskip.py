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
from tiphys.addons.routeserver.eskip.reading import endpoint_of

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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a(", "it ends too early"),
        ("a() b()", "position 4: unexpected 'b'"),
        ("a(,)", "position 2: unexpected ','"),
        ("a(1 2)", "position 4: unexpected '2'"),
        ("a() -> 5", "position 7: unexpected '5'"),
        ("a() é", "after ')', position 4: nothing of eskip begins so"),
        ("é", "after '', position 0: nothing of eskip begins so"),
        (f"a({'9' * 400})", "a number is too large"),
    ],
)
def test_where_a_text_ends_to_be_eskip_is_said(text: str, message: str) -> None:
    with pytest.raises(EskipError) as refused:
        read_filters(text)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("predicates", "message"),
    [
        ('Path("/a") && Path("/b")', "duplicate Path predicate"),
        ('Method("A") && Method("B")', "duplicate Method predicate"),
        ('Header("a", "b") && Header("a", "c")', "duplicate Header predicate"),
        ('Header("a", "b") && Header("b", "c")', ""),
        ("Host(/a/) && Host(/b/)", ""),
        ("Path(1)", "Path predicate expects 1 string arguments"),
        ('Path("a", "b")', "Path predicate expects 1 string arguments"),
        ('Header("a")', "Header predicate expects 2 string arguments"),
        ('Header("a", 1)', "Header predicate expects 2 string arguments"),
        ("Weight(1)", ""),
    ],
)
def test_a_table_is_checked_for_what_cannot_be_meant(predicates: str, message: str) -> None:
    """Skipper's eskip checks these when it parses a table, and no others."""
    text = f"a: {predicates} -> <shunt>"
    if not message:
        assert len(read_routes(text)) == 1
        return
    with pytest.raises(EskipError, match=message):
        read_routes(text)


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        (r'"a\"b\\c\n"', 'a"b\\c\n'),
        (r"`a\`b`", "a`b"),
        (r'"a\`b"', r"a\`b"),
        (r'"\q"', r"\q"),
        (r"/a\/b\d[/]/", r"a/b\d[/]"),
        ("-1.5", -1.5),
        (".5", 0.5),
        ("10", 10.0),
    ],
)
def test_an_argument_is_read(text: str, argument: object) -> None:
    [call] = read_filters(f"a({text})")
    assert call.args == (argument,)


@pytest.mark.parametrize(
    ("argument", "text"),
    [(1.0, "1"), (0.5, "0.5"), (1e-7, "0.0000001"), (1e21, "1" + "0" * 21), ("a\n", r'"a\n"')],
)
def test_a_number_has_no_exponent(argument: float | str, text: str) -> None:
    route = Route("a", (), (Call("f", (argument,)),))
    assert table_text([route]) == f"a: * -> f({text}) -> <shunt>;"


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("http://a", Endpoint("http://a")),
        ("http://a?zone=z", Endpoint("http://a", "z")),
        ("http://a?zone=", Endpoint("http://a?zone=")),
        ("http://a?timezone=z", Endpoint("http://a?timezone=z")),
        ("http://a?x=1&zone=z&y=", Endpoint("http://a?x=1&y=", "z")),
        ("http://[::1?zone=z", Endpoint("http://[::1?zone=z")),
    ],
)
def test_the_zone_of_an_endpoint_is_in_its_query(address: str, endpoint: Endpoint) -> None:
    assert endpoint_of(address) == endpoint


def test_only_the_first_route_may_have_no_id() -> None:
    [route] = read_routes("* -> <shunt>")
    assert route.id == ""
    for text in ("* -> <shunt>; * -> <shunt>", "a: * -> <shunt>; * -> <shunt>"):
        with pytest.raises(EskipError, match=r"unexpected '\*'"):
            read_routes(text)


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("<loopback>", Backend("loopback")),
        ("<dynamic>", Backend("dynamic")),
        ("<forward>", Backend("forward")),
        ('<"http://a">', Backend("lb", "", "", (Endpoint("http://a"),))),
        (
            '<random, "http://a", "http://b">',
            Backend("lb", "", "random", (Endpoint("http://a"), Endpoint("http://b"))),
        ),
    ],
)
def test_a_backend_is_read(backend: str, expected: Backend) -> None:
    assert read_routes(f"a: * -> {backend}")[0].backend == expected


@pytest.mark.parametrize(
    ("predicate", "text"),
    [
        (Call("Host", ("^a$",)), "Host(/^a$/)"),
        (Call("Host", ("",)), 'Host("")'),  # two slashes begin a comment
        (Call("HeaderRegexp", ("X-A", "b/c")), r'HeaderRegexp("X-A", /b\/c/)'),
        (Call("PathRegexp", ("a", "b")), 'PathRegexp("a", "b")'),
        (Call("Path", ("/a",)), 'Path("/a")'),
    ],
)
def test_an_expression_is_written_between_slashes(predicate: Call, text: str) -> None:
    assert table_text([Route("a", (predicate,))]) == f"a: {text} -> <shunt>;"


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
