"""How triggers read what they are told."""

from __future__ import annotations

import pytest

from tiphys.addons.keda.locating import LocationError, value_in
from tiphys.addons.keda.parameters import Given, ParameterError, Seconds, parameter, read


class Asked:
    queue: str = parameter("queueName", "queue")
    length: int = parameter(default="5")
    ratio: float = parameter(optional=True)
    wait: Seconds = parameter(optional=True)
    secure: bool = parameter(default="false")
    hosts: list[str] = parameter(optional=True)
    parts: list[int] = parameter(optional=True, range_separator="-")
    labels: dict[str, str] = parameter(optional=True)
    mode: str = parameter(default="a", enum="a b")
    password: str = parameter(places="metadata env auth", optional=True)


def test_values_have_the_types_of_their_attributes() -> None:
    found = read(
        Asked,
        Given(
            {"queue": " q ", "ratio": "0.5", "wait": "1m30s", "secure": "true",
             "hosts": "a, b", "parts": "1,3-5", "labels": "x=1, y=2"},
        ),
    )  # fmt: skip
    assert (found["queue"], found["length"], found["ratio"]) == ("q", 5, 0.5)
    assert (found["wait"], found["secure"], found["hosts"]) == (90.0, True, ["a", "b"])
    assert (found["parts"], found["labels"]) == ([1, 3, 4, 5], {"x": "1", "y": "2"})
    assert read(Asked, Given({"queue": "q", "wait": "1500"}))["wait"] == 1.5


def test_places_are_looked_up_in_their_order() -> None:
    metadata = {"queue": "q", "passwordFromEnv": "PW"}
    given = Given(metadata, auth={"password": "b"}, env={"PW": "a"})
    assert read(Asked, given)["password"] == "a"
    assert read(Asked, Given({"queue": "q"}, auth={"password": "b"}))["password"] == "b"


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ParameterError) as refused:
        read(Asked, Given({"length": "many", "mode": "c", "secure": "perhaps"}))
    assert str(refused.value).splitlines() == [
        'missing required parameter "queueName,queue" in [triggerMetadata]',
        'unable to set param "length" value "many": unable to unmarshal to field type int64: '
        "invalid character 'm' looking for beginning of value",
        'unable to set param "secure" value "perhaps": unable to parse boolean value "perhaps": '
        'strconv.ParseBool: parsing "perhaps": invalid syntax',
        'parameter "mode" value "c" must be one of [a b]',
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("soon", 'unable to parse duration value "soon": must be either a duration string'),
        ("-1s", 'duration cannot be negative: "-1s"'),
        ("-1", 'duration cannot be negative: "-1"'),
    ],
)
def test_a_time_that_is_none_is_refused(text: str, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        read(Asked, Given({"queue": "q", "wait": text}))


def test_parameters_are_in_places_that_there_are() -> None:
    with pytest.raises(ValueError, match="cellar: parameters are in "):
        parameter("a", places="metadata cellar")


JSON = b'{"a":{"b":[{"n":"x","v":3},{"n":"y","v":"1500m"}],"d.e":7}}'
XML = b'<?xml version="1.0"?><r><q name="a"><len>4</len></q><s>1</s><s>2</s></r>'
YAML = b"a:\n  b:\n  - v: 3\n  - v: 2Ki\n"
TEXT = b'# TYPE m gauge\nm{a="x"} 1\nm{a="y"} 2.5\nn 7'


@pytest.mark.parametrize(
    ("body", "form", "location", "expected"),
    [
        (JSON, "json", "a.b.0.v", 3),
        (JSON, "json", "a.b.1.v", 1.5),
        (JSON, "json", "a.b.#", 2),
        (JSON, "json", 'a.b.#(n=="y").v', 1.5),
        (JSON, "json", "a.d\\.e", 7),
        (XML, "xml", "r.q.len", 4),
        (XML, "xml", "r.s.1", 2),
        (YAML, "yaml", "a.b.1.v", 2048),
        (TEXT, "prometheus", "n", 7),
        (TEXT, "prometheus", 'm{a="y"}', 2.5),
    ],
)
def test_numbers_are_found_where_they_stand(
    body: bytes, form: str, location: str, expected: float
) -> None:
    assert value_in(body, location, form) == expected


@pytest.mark.parametrize(
    ("body", "form", "location", "words"),
    [
        (JSON, "json", "a.x", 'valueLocation "a.x" must point to a numeric value .* got Null'),
        (JSON, "json", "a", "got JSON"),
        (JSON, "json", "a.b.0.n", "points to a string that is not parseable as a Quantity"),
        (XML, "xml", "r.t", "key 't' not found in path 'r.t'"),
        (YAML, "yaml", "a.b", "path 'a.b' does not lead to a value"),
        (TEXT, "prometheus", "z", "metric 'z' not found"),
        (TEXT, "prometheus", 'm{a="z"}', "value m.* not found"),
    ],
)
def test_what_is_no_number(body: bytes, form: str, location: str, words: str) -> None:
    with pytest.raises(LocationError, match=words):
        value_in(body, location, form)
