from __future__ import annotations

import operator
from typing import Any

import pytest

from tiphys.api import core_v1
from tiphys.machinery import decoding, fieldvalidation, yaml_reading


def test_nulls_count_as_absent() -> None:
    pod = decoding.typed(
        b'{"metadata":{"name":"a","labels":null},"spec":{"containers":[{"name":"c","env":null}],"volumes":null}}',
        core_v1.Pod,
    )
    assert pod.metadata.labels == {} and pod.spec.containers[0].env == []


def test_wrong_types_name_the_field() -> None:
    with pytest.raises(decoding.DecodeError, match=r"spec\.containers"):
        decoding.typed(b'{"spec":{"containers":"x"}}', core_v1.Pod)


def test_unknown_and_duplicate_fields_are_found() -> None:
    body = b'{"metadata":{"name":"a","name":"b"},"spec":{"containers":[{"name":"c","imagee":"x"}],"foo":1}}'
    problems = fieldvalidation.field_problems(body, decoding.plain(body), core_v1.Pod)
    assert problems == [
        'duplicate field "metadata.name"',
        'unknown field "spec.containers[0].imagee"',
        'unknown field "spec.foo"',
    ]


def test_free_form_maps_have_no_unknown_fields() -> None:
    body = b'{"data":{"anything":"x"},"metadata":{"labels":{"a.b/c":"d"}}}'
    assert fieldvalidation.field_problems(body, decoding.plain(body), core_v1.ConfigMap) == []


def test_what_is_given_twice_is_told_with_its_path() -> None:
    data = b'{"spec":{"a":1,"a":2,"list":[{"x":1},{"y":1,"y":2}]},"spec2":{"a":1}}'
    assert fieldvalidation.duplicate_fields(data) == ["spec.a", "spec.list[1].y"]


def test_problems_come_in_the_order_of_the_document_and_an_unknown_field_is_told_once() -> None:
    body = b'{"spec":{"z":1,"z":2,"nodeName":"a","nodeName":"b","containers":[{"a":1,"image":"x","image":"y"}]}}'
    assert fieldvalidation.field_problems(body, decoding.plain(body), core_v1.Pod) == [
        'unknown field "spec.z"',
        'duplicate field "spec.nodeName"',
        'unknown field "spec.containers[0].a"',
        'duplicate field "spec.containers[0].image"',
    ]


def test_keys_given_twice_in_yaml_are_told_with_their_lines() -> None:
    body = b"spec:\n  a: 1\n  b: 2\n  a: 3\nkind: X\nkind: Y\n"
    lines = '  line 4: key "a" already set in map\n  line 6: key "kind" already set in map'
    assert yaml_reading.read(body)[1] == [f"yaml: unmarshal errors:\n{lines}"]
    assert yaml_reading.read(b"a: [1, {b: 2}]") == ({"a": [1, {"b": 2}]}, [])


def test_doubtful_members_of_a_json_patch_are_told() -> None:
    body = b'[{"op":"add","path":"/a","value":{"x":1},"foo":"bar"},{"op":"remove","path":"/a","path":"/b"}]'
    expected = ['json patch unknown field "[0].foo"', 'json patch duplicate field "[1].path"']
    assert fieldvalidation.json_patch_problems(body) == expected


@pytest.mark.parametrize(
    ("body", "path", "value"),
    [
        (b'{"spec":{"containers":[null]}}', "spec.containers", [core_v1.Container()]),
        (b'{"metadata":{"labels":{"a":null}}}', "metadata.labels", {"a": ""}),
        (b'{"metadata":{"generation":null,"finalizers":[null]}}', "metadata.finalizers", [""]),
        (b'{"spec":{"nodeSelector":null}}', "spec.node_selector", {}),
        (b'{"spec":{"overhead":{"cpu":null},"hostname":null}}', "spec.overhead", {"cpu": "0"}),
        (
            b'{"spec":{"securityContext":{"supplementalGroups":[null]},"hostname":null}}',
            "spec.security_context.supplemental_groups",
            [0],
        ),
    ],
)
def test_a_null_is_the_zero_value_of_what_it_stands_for(body: bytes, path: str, value: Any) -> None:
    assert operator.attrgetter(path)(decoding.typed(body, core_v1.Pod)) == value


def test_bytes_may_have_line_breaks_in_them() -> None:
    secret = decoding.typed(b'{"data":{"a":"YW\\r\\nJj"}}', core_v1.Secret)
    assert secret.data == {"a": b"abc"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "unexpected end of JSON input"),
        (b"{", "unexpected end of JSON input"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b'{"a":[1 2]}', "invalid character '2' after array element"),
        (b'{"a":[1] "b":2}', "invalid character '\"' after object key:value pair"),
        (b"{,}", "invalid character ',' looking for beginning of object key string"),
        (b"x", "invalid character 'x' looking for beginning of value"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b'{"kind":"\xff"}', "invalid UTF-8"),
        (b'{"kind":1}', "json: cannot unmarshal number into Go struct field .kind of type string"),
    ],
)
def test_what_is_no_json_is_told_in_gos_words(body: bytes, message: str) -> None:
    with pytest.raises(decoding.DecodeError) as refused:
        decoding.typed(body, core_v1.Pod)
    assert refused.value.unread
    assert str(refused.value) == f"couldn't get version/kind; json parse error: {message}"


@pytest.mark.parametrize(
    ("value", "count"),
    [({}, 0), ({"a": 1}, 1), ({"a": {"b": [{"c": 1}, 2, {"d": 1}]}}, 4), ([[{"a": 1}]], 1), (3, 0)],
)
def test_keys_are_counted_at_every_depth(value: Any, count: int) -> None:
    assert fieldvalidation.count_keys(value) == count


@pytest.mark.parametrize(
    ("body", "unknown", "keys"),
    [
        ({"metadata": {"labels": {"x": "y"}}}, [], 3),
        ({"metadata": None, "foo": None}, ["foo"], 2),
        (
            {"spec": {"containers": [{"name": "a"}, {"nam": {"b": 1}}]}},
            ["spec.containers[1].nam"],
            5,
        ),
        ({"spec": []}, [], 1),
    ],
)
def test_fields_are_counted_and_those_that_are_unknown_are_named(
    body: Any, unknown: list[str], keys: int
) -> None:
    assert fieldvalidation.check_fields(body, core_v1.Pod) == (keys, unknown)


@pytest.mark.parametrize(
    ("body", "strict"),
    [
        (b'{"a":1}', True),
        (b'{"a":1,"a":2}', False),
        (b"a: 1", False),
        (b"{a: 1}", False),
        (b"[]", False),
    ],
)
def test_json_without_double_keys_needs_no_yaml_parser(body: bytes, strict: bool) -> None:
    assert fieldvalidation.is_json(body) == strict
