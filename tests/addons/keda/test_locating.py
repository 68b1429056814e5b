"""A number in a document, by the paths of gjson, of keys, and of Prometheus' selectors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tiphys.addons.keda.locating import LocationError, find_json, value_in

DOCUMENT = {
    "a": {"b": 3, "c.d": 4},
    "text": "1500m",
    "word": "many",
    "yes": True,
    "none": None,
    "rows": [
        {"name": "x", "n": 1, "ok": True},
        {"name": "y", "n": 2},
        {"name": "z", "n": 3, "in": {"deep": 5}},
    ],
}
JSON = json.dumps(DOCUMENT).encode()


def found(body: bytes, location: str, form: str = "json") -> float | str:
    """The number, or what is wrong."""
    try:
        return value_in(body, location, form)
    except LocationError as error:
        return str(error)


def wrong(location: str, kind: str) -> str:
    return (
        f'valueLocation "{location}" must point to a numeric value or a string parseable as a '
        f"Quantity, got {kind}"
    )


@pytest.mark.parametrize(
    ("location", "value"),
    [
        ("a.b", 3),
        ("a|b", 3),
        (r"a.c\.d", 4),
        ("text", 1.5),
        ("rows.#", 3),
        ("rows.1.n", 2),
        ("rows.2.in.deep", 5),
        ('rows.#(name=="y").n', 2),
        ("rows.#(name==y).n", 2),
        ("rows.#(n>1).n", 2),
        ("rows.#(n>=3).n", 3),
        ("rows.#(n<2).n", 1),
        ("rows.#(n<=1).n", 1),
        ("rows.#(n!=1).n", 2),
        ("rows.#(n==3).in.deep", 5),
        ("rows.#(in.deep==5).n", 3),
        ("rows.#(ok==true).n", 1),
    ],
)
def test_a_path_leads_to_a_number(location: str, value: float) -> None:
    """The paths are gjson's: https://github.com/tidwall/gjson/blob/master/SYNTAX.md."""
    assert found(JSON, location) == value


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("a", "JSON"),
        ("rows", "JSON"),
        ("yes", "True"),
        ("none", "Null"),
        ("missing", "Null"),
        ("a.b.c", "Null"),
        ("rows.3.n", "Null"),
        ("rows.x", "Null"),
        ("rows.-1", "Null"),
        ("rows.#.n", "JSON"),
        ('rows.#(name=="none").n', "Null"),
        ('rows.#(name>"y")#.n', "JSON"),
        ("rows.#(n)", "Null"),
        ("rows.#(name>1).n", "Null"),
        ('rows.#(n>"1").n', "Null"),
    ],
)
def test_what_is_no_number_is_named(location: str, kind: str) -> None:
    assert found(JSON, location) == wrong(location, kind)


def test_a_text_is_a_quantity_or_nothing() -> None:
    text = 'valueLocation "word" points to a string that is not parseable as a Quantity'
    assert found(JSON, "word") == text
    assert found(b"{", "a") == wrong("a", "Null")
    assert found(b"[" * 100_000, "a") == wrong("a", "Null")
    assert found(JSON, "a", "csv") == "format csv not supported"


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        (["rows", "#", "n"], [1, 2, 3]),
        (["rows", "#", "ok"], [True]),
        (["rows", "#(n>1)#", "name"], ["y", "z"]),
        (["rows", "#(n>1)#"], DOCUMENT["rows"][1:]),  # type: ignore[index]
        (["rows", '#(name>="y")#', "n"], [2, 3]),
        (["rows", '#(name<"y")#', "n"], [1]),
        (["rows", '#(name<="y")#', "n"], [1, 2]),
        (["rows", "#(n!=2)#", "n"], [1, 3]),
        (["rows", "#(n>5)#", "n"], []),
        (["text", "x"], None),
    ],
)
def test_queries_choose_rows(parts: list[str], value: Any) -> None:
    assert find_json(DOCUMENT, parts) == value


# --- XML and YAML ---

XML = b"""<a x="7"><b>3</b><b>4</b><c y="5">6</c><d> text </d><e/><f><g>8</g></f></a>"""


@pytest.mark.parametrize(
    ("location", "value"),
    [
        ("a.-x", 7),
        ("a.b.0", 3),
        ("a.b.1", 4),
        ("a.c.-y", 5),
        ("a.c.#text", 6),
        ("a.f.g", 8),
        ("a.c", "path 'a.c' does not lead to a value"),
        ("a.b", "path 'a.b' does not lead to a value"),
        ("a.b.2", "key '2' not found in path 'a.b.2'"),
        ("a.z", "key 'z' not found in path 'a.z'"),
        ("a.d", 'valueLocation "a.d" points to a string that is not parseable as a Quantity'),
        ("a.e", 'valueLocation "a.e" points to a string that is not parseable as a Quantity'),
    ],
)
def test_xml_is_read_by_elements_and_attributes(location: str, value: float | str) -> None:
    assert found(XML, location, "xml") == value


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"<a>", "xml: no element found"),
        (b'<!DOCTYPE a [<!ENTITY x "1">]><a>&x;</a>', "xml: a document type is not read"),
    ],
)
def test_what_is_no_xml_says_so(body: bytes, text: str) -> None:
    assert str(found(body, "a", "xml")).startswith(text)


@pytest.mark.parametrize(
    ("location", "value"),
    [
        ("a.b", 3),
        ("a.5", 6),
        ("rows.1", 2.5),
        ("text", 1500),
        ("a.b.c", 3),
        ("a", "path 'a' does not lead to a value"),
        ("ok", wrong("ok", "bool")),
        ("none", wrong("none", "NoneType")),
        ("day", wrong("day", "date")),
    ],
)
def test_yaml_is_read_by_keys_and_places(location: str, value: float | str) -> None:
    body = b"a: {b: 3, 5: 6}\nrows: [1, 2.5]\ntext: 1.5k\nok: true\nnone: null\nday: 2026-01-01\n"
    assert found(body, location, "yaml") == value


def test_yaml_is_short() -> None:
    body = b"a: 1\n#"
    longest = body + b"x" * ((256 << 10) - len(body))
    assert found(longest, "a", "yaml") == 1
    assert found(longest + b"x", "a", "yaml") == "the answer has more than 262144 bytes"
    assert str(found(b"a: [", "a", "yaml")).startswith("yaml: ")


# --- Prometheus ---

PAGE = b"""# TYPE jobs gauge\r
jobs{queue="a",state="new"} 3
jobs{queue="b",state="new"} 4
jobs{queue="q\\"x",state="old"} 5
total 6
"""


@pytest.mark.parametrize(
    ("location", "value"),
    [
        ("total", 6),
        (" total ", 6),
        ("jobs", 3),
        ('jobs{queue="b"}', 4),
        ('jobs{queue="b", state="new"}', 4),
        ('jobs{ queue = "b" , }', 4),
        ('{__name__="jobs",queue="b"}', 4),
        ('jobs{queue!="b"}', 4),
        (r'jobs{queue="q\"x"}', 5),
        ('jobs{queue="c"}', 'value jobs{queue="c"} not found'),
        ("none", "metric 'none' not found"),
        ("total{}", 6),
        ("jobs{queue}", 'unexpected "queue" in label matching'),
        ('jobs{queue="b"state="new"}', 'unexpected "queue="b"state="new"" in label matching'),
        ("a b", 'unexpected "a b" in a metric selector'),
    ],
)
def test_a_page_of_metrics_is_read_by_a_selector(location: str, value: float | str) -> None:
    assert found(PAGE, location, "prometheus") == value


def test_what_is_no_page_of_metrics_says_so() -> None:
    text = str(found(b"jobs{ 3\n", "jobs", "prometheus"))
    assert text.startswith("prometheus format parsing error: ")
