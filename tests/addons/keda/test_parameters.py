"""How triggers read what they are told."""

from __future__ import annotations

from typing import Any

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


# --- one value at a time ---


def parsed(hint: Any, text: str, **more: Any) -> Any:
    """The value of a parameter of that type, or what is wrong with it."""
    made = type("One", (), {"__annotations__": {"one": hint}, "one": parameter(**more)})
    try:
        return read(made, Given({"one": text}))["one"]
    except ParameterError as error:
        return str(error).removeprefix(f'unable to set param "one" value "{text}": ')


INT = "unable to unmarshal to field type int64: "
FLOAT = "unable to unmarshal to field type float64: "


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (int, "7", 7),
        (int, "-7", -7),
        (int, "9223372036854775807", 2**63 - 1),
        (int, "9223372036854775808", f"{INT}json: cannot unmarshal number 9223372036854775808"),
        (int, "1.5", f"{INT}json: cannot unmarshal number 1.5 into Go value of type int64"),
        (int, "true", f"{INT}json: cannot unmarshal bool into Go value of type int64"),
        (int, '"x"', f"{INT}json: cannot unmarshal string into Go value of type int64"),
        (int, "[]", f"{INT}json: cannot unmarshal array into Go value of type int64"),
        (int, "{}", f"{INT}json: cannot unmarshal object into Go value of type int64"),
        (int, "x", f"{INT}invalid character 'x' looking for beginning of value"),
        (int, "NaN", f"{INT}invalid character 'N' looking for beginning of value"),
        (float, "1.5", 1.5),
        (float, "2", 2.0),
        (float, "true", f"{FLOAT}json: cannot unmarshal bool into Go value of type float64"),
        (float, "Infinity", f"{FLOAT}invalid character 'I'"),
        (float | None, "1.5", 1.5),
        (bool, "T", True),
        (bool, "0", False),
        (bool, "yes", 'unable to parse boolean value "yes": strconv.ParseBool'),
        (str, "x", "x"),
        (Seconds, "2m", 120.0),
        (Seconds, "0", 0.0),
        (Seconds, "1500", 1.5),
        (list[str], "a, b ,", ["a", "b", ""]),
        (list[int], "1, 2", [1, 2]),
        (list[int], "1-2", f"{INT}invalid character '1' looking for beginning of value"),
        (dict[str, str], "a=1, b = 2", {"a": "1", "b": "2"}),
        (dict[str, str], "a", 'expected format key=value, got "a"'),
        (dict[str, str], "a=b=c", 'expected format key=value, got "a=b=c"'),
    ],
)
def test_a_text_has_the_value_of_its_type(hint: Any, text: str, value: Any) -> None:
    found = parsed(hint, text)
    if isinstance(value, str) and hint is not str:
        assert found.startswith(value)
    else:
        assert found == value and isinstance(found, type(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3-5", [3, 4, 5]),
        ("3-3", [3]),
        ("5-3", []),
        ("1,7-8", [1, 7, 8]),
        ("1-x", f"{INT}invalid character 'x'"),
        ("1-10000", list(range(1, 10_001))),
        ("0-10000", "a range has at most 10000 numbers"),
    ],
)
def test_numbers_may_be_a_range(text: str, value: Any) -> None:
    found = parsed(list[int], text, range_separator="-")
    assert found.startswith(value) if isinstance(value, str) else found == value


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("a", ""),
        ("a, c", ""),
        ("a,b", 'parameter "one" value "a,b" must contain only one of [a b]'),
        ("d", 'parameter "one" value "d" must be one of [a b c]'),
        ("a,d", 'parameter "one" value "a,d" must be one of [a b c]'),
    ],
)
def test_words_are_of_a_list_and_some_exclude_each_other(text: str, wrong: str) -> None:
    found = parsed(list[str], text, enum="a b c", exclusive="a b")
    assert found == wrong if wrong else isinstance(found, list)


@pytest.mark.parametrize(
    ("hint", "zero"),
    [(int, 0), (str, ""), (bool, False), (float, 0.0), (list[str], []), (dict[str, str], {}),
     (int | None, None)],
)  # fmt: skip
def test_what_is_not_given_is_the_types_zero(hint: Any, zero: Any) -> None:
    made = type("One", (), {"__annotations__": {"one": hint}, "one": parameter(optional=True)})
    assert read(made, Given({}))["one"] == zero


def test_what_is_deprecated_is_refused_by_its_words_when_it_is_given() -> None:
    made = type(
        "One", (), {"__annotations__": {"one": str}, "one": parameter(deprecated="use two")}
    )
    assert read(made, Given({}))["one"] == ""
    with pytest.raises(ParameterError, match="scaler desk info: use two"):
        read(made, Given({"one": "x"}), "desk")


def test_a_parameter_that_is_missing_says_where_it_may_be() -> None:
    made = type("One", (), {"__annotations__": {"one": str}, "one": parameter(places="auth env")})
    with pytest.raises(ParameterError) as refused:
        read(made, Given({"one": "metadata is no such place"}))
    text = str(refused.value)
    assert (
        text.startswith('missing required parameter "one" in [') and "triggerMetadata" not in text
    )


def test_an_attribute_is_called_in_the_case_of_manifests() -> None:
    made = type(
        "One", (), {"__annotations__": {"long_name_here": str}, "long_name_here": parameter()}
    )
    assert read(made, Given({"longNameHere": "x"})) == {"long_name_here": "x"}
