"""YAML of requests, as go-yaml v2 reads it: what scalars mean, what keys may be, what is too much."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.machinery import yaml_reading
from tiphys.machinery.yaml_reading import YamlError, read


def value_of(text: str) -> Any:
    return read(f"v: {text}\n".encode())[0]["v"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True), ("Y", True), ("on", True), ("TRUE", True),
        ("no", False), ("n", False), ("OFF", False), ("False", False),
        ("yEs", "yEs"), ("yesterday", "yesterday"), ("none", "none"), ("office", "office"),
        ("", None), ("~", None), ("null", None), ("NULL", None), ("nUll", "nUll"), ("~a", "~a"),
        ("0", 0), ("7", 7), ("-7", -7), ("+7", 7), ("1_000", 1000), ("_1", "_1"),
        ("010", 8), ("0o10", 8), ("-0o10", -8), ("08", 8.0), ("0x1F", 31), ("0XfF", 255),
        ("0b101", 5), ("-0B11", -3), ("0b2", "0b2"), ("0xg", "0xg"), ("00", 0),
        ("18446744073709551615", 2**64 - 1), ("18446744073709551616", float(2**64)),
        ("-9223372036854775808", -(2**63)), ("-9223372036854775809", float(-(2**63) - 1)),
        ("1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("-.5", -0.5), ("1e3", 1000.0), ("1E-2", 0.01),
        ("._5", "._5"), ("1_0.5", 10.5), ("1e400", "1e400"), ("1.2.3", "1.2.3"),
        ("12:30", "12:30"), ("2026-01-02", "2026-01-02"), ("+", "+"), (".", "."), ("-a", "-a"),
        ("=", "="), ("'7'", "7"), ('"yes"', "yes"), ("a b", "a b"), ("é", "é"),
        ("9" * 401, "9" * 401), ("9" * 300, float("9" * 300)), ("1" + "_" * 400, 1),
        ("-0", 0), ("+0x1", 1),
    ],
)  # fmt: skip
def test_what_a_scalar_means(text: str, value: Any) -> None:
    read_value = value_of(text)
    assert read_value == value and type(read_value) is type(value)


@pytest.mark.parametrize(
    ("text", "told"),
    [(".nan", "NaN"), (".NAN", "NaN"), (".inf", "+Inf"), ("+.Inf", "+Inf"), ("-.INF", "-Inf")],
)
def test_numbers_that_json_does_not_have_are_refused(text: str, told: str) -> None:
    with pytest.raises(YamlError) as refused:
        value_of(text)
    assert str(refused.value) == f"json: unsupported value: {told}"
    assert value_of(f"'{text}'") == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!!str 7", "7"), ("! 7", "7"), ("!!int 7", 7), ("!!float 7", 7.0), ("!!float 1.5", 1.5),
        ("!!bool yes", True), ("!!null ~", None), ("!!null ''", None),
        ("!!timestamp 2026-01-02", "2026-01-02"), ("!own 7", "7"), ("!!binary aGk=", "hi"),
        ("!!binary /w==", "\ufffd"), ("!!int '7'", 7),
    ],
)  # fmt: skip
def test_what_a_tag_says_a_scalar_is(text: str, value: Any) -> None:
    read_value = value_of(text)
    assert read_value == value and type(read_value) is type(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("!!int a", "yaml: cannot decode !!str `a` as a !!int"),
        ("!!int 1.5", "yaml: cannot decode !!float `1.5` as a !!int"),
        ("!!int yes", "yaml: cannot decode !!bool `yes` as a !!int"),
        ("!!float yes", "yaml: cannot decode !!bool `yes` as a !!float"),
        ("!!float ~", "yaml: cannot decode !!null `~` as a !!float"),
        ("!!bool 7", "yaml: cannot decode !!int `7` as a !!bool"),
        ("!!null 7", "yaml: cannot decode !!int `7` as a !!null"),
        ("!!timestamp 7", "yaml: cannot decode !!int `7` as a !!timestamp"),
        ("!!binary a", "yaml: !!binary value contains invalid base64 data"),
    ],
)
def test_a_tag_that_does_not_fit_is_refused(text: str, words: str) -> None:
    with pytest.raises(YamlError) as refused:
        value_of(text)
    assert str(refused.value) == words


@pytest.mark.parametrize(
    ("key", "name"),
    [("a", "a"), ("yes", "true"), ("no", "false"), ("7", "7"), ("1.5", "1.5"), ("1e10", "1e+10")],
)
def test_keys_become_text(key: str, name: str) -> None:
    assert read(f"{key}: v\n".encode())[0] == {name: "v"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("~: v", "unsupported map key of type: <nil>, line 1"),
        ("\n? [a]\n: v", "unsupported map key of type: []interface {}, line 2"),
        ("? {a: b}\n: v", "unsupported map key of type: map[interface {}]interface {}, line 1"),
    ],
)
def test_keys_that_json_does_not_have_are_refused(text: str, words: str) -> None:
    with pytest.raises(YamlError) as refused:
        read(text.encode())
    assert str(refused.value) == words


def test_a_key_that_is_there_twice_is_told_with_its_line_and_the_last_counts() -> None:
    value, told = read(b"a: 1\nb: 2\na: 3\nb: 4\n")
    assert value == {"a": 3, "b": 4}
    assert told == [
        "yaml: unmarshal errors:\n"
        '  line 3: key "a" already set in map\n'
        '  line 4: key "b" already set in map'
    ]
    assert read(b"a: {b: 1}\nb: 2\n")[1] == []


def test_the_first_of_several_documents_counts() -> None:
    assert read(b"a: 1\n---\na: 2\n")[0] == {"a": 1}
    assert read(b"") == (None, []) == read(b"# nothing\n")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: &x 1\nb: *x", {"a": 1, "b": 1}),
        ("- &x a\n- *x : b", ["a", {"a": "b"}]),
        ("- &x {a: 1}\n- {b: *x}", [{"a": 1}, {"b": {"a": 1}}]),
        ("- &x 1\n- &x 2\n- *x", [1, 2, 2]),
        ("- &x {a: 1, b: 1}\n- {<<: *x, a: 2}", [{"a": 1, "b": 1}, {"a": 2, "b": 1}]),
        ("- &x {a: 1}\n- {b: 2, <<: *x}", [{"a": 1}, {"b": 2, "a": 1}]),
        ("- &x {a: 1}\n- &y {a: 2, b: 2}\n- {<<: [*x, *y]}", [{"a": 1}, {"a": 2, "b": 2}, {"a": 1, "b": 2}]),
        ("{'<<': 1}", {"<<": 1}),  # in quotes it is a key as others are
        ("[<<, a]", ["<<", "a"]),
        ("{a: <<}", {"a": "<<"}),
    ],
)  # fmt: skip
def test_what_aliases_and_merges_bring(text: str, value: Any) -> None:
    assert read(text.encode())[0] == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: *x", "yaml: unknown anchor 'x' referenced"),
        ("a: &x [*x]", "yaml: anchor 'x' value contains itself"),
        ("- &x 1\n- &x [*x]", "yaml: anchor 'x' value contains itself"),
        ("{<<: 1}", "yaml: map merge requires map or sequence of maps as the value"),
        ("{<<: [1]}", "yaml: map merge requires map or sequence of maps as the value"),
        ("a: b: c", "yaml: line 1: mapping values are not allowed in this context"),
        ("a: \"\n", "yaml: line 2: found unexpected end of stream"),
        ("a: \x01", "yaml: "),
    ],
)  # fmt: skip
def test_what_is_no_yaml_says_why(text: str, words: str) -> None:
    with pytest.raises(YamlError) as refused:
        read(text.encode())
    assert str(refused.value).startswith(words)


def test_bytes_that_are_no_text_are_no_yaml() -> None:
    with pytest.raises(YamlError, match=r"^yaml: "):
        read(b"a: \xff\xfe")


# --- how much aliases may bring ---


def repeated(size: int, times: int) -> bytes:
    """A list of so many numbers, and so many aliases of it."""
    numbers = ",".join(["1"] * size)
    return f"a: &x [{numbers}]\nb: [{','.join(['*x'] * times)}]\n".encode()


@pytest.mark.parametrize(
    ("size", "times", "is_read"),
    [
        (98, 1, True),  # 100 nodes are repeated
        (500, 2, True),
        (8, 100, True),  # 91 % of 1,000 nodes
        (5, 1000, True),  # 86 %
        (1000, 110, True),  # just below 99 %
        (1000, 111, False),
    ],
)
def test_a_document_may_repeat_so_much_of_itself(size: int, times: int, is_read: bool) -> None:
    if is_read:
        assert len(read(repeated(size, times))[0]["b"]) == times
        return
    with pytest.raises(YamlError, match="document contains excessive aliasing"):
        read(repeated(size, times))


@pytest.mark.parametrize(
    ("nodes", "share"),
    [(1, 0.99), (400_000, 0.99), (2_200_000, 0.545), (4_000_000, 0.10), (9_000_000, 0.10)],
)
def test_the_larger_a_document_is_the_less_of_it_may_be_repeated(nodes: int, share: float) -> None:
    assert yaml_reading._share(nodes) == pytest.approx(share)
    assert yaml_reading._share(400_001) < 0.99 and yaml_reading._share(3_999_999) > 0.10


def test_small_documents_may_repeat_themselves_as_they_like() -> None:
    """Below 100 repeated nodes, or 1,000 nodes in all, no share is too large."""
    bomb = ["a: &a [1,1,1,1,1,1,1,1,1]"]
    bomb += [f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]" for old, new in ("ab", "bc")]
    assert len(read("\n".join(bomb).encode())[0]["c"]) == 9
    bomb += [f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]" for old, new in ("cd", "de", "ef")]
    with pytest.raises(YamlError, match="excessive aliasing"):
        read("\n".join(bomb).encode())


def test_text_that_aliases_repeat_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_reading, "_MOST_TEXT", 100)
    assert read(b"- &x " + b"a" * 50 + b"\n- *x\n")[0] == ["a" * 50] * 2
    with pytest.raises(YamlError, match="excessive aliasing"):
        read(b"- &x " + b"a" * 51 + b"\n- *x\n")
    with pytest.raises(YamlError, match="excessive aliasing"):
        read(b"- &x [" + b"a" * 40 + b"," + b"b" * 10 + b"]\n- *x\n- *x\n")
