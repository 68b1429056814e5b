from __future__ import annotations

import pytest

from tiphys.api import core_v1
from tiphys.machinery import decoding, yaml_reading


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
    problems = decoding.field_problems(body, decoding.plain(body), core_v1.Pod)
    assert problems == [
        'duplicate field "metadata.name"',
        'unknown field "spec.containers[0].imagee"',
        'unknown field "spec.foo"',
    ]


def test_free_form_maps_have_no_unknown_fields() -> None:
    body = b'{"data":{"anything":"x"},"metadata":{"labels":{"a.b/c":"d"}}}'
    assert decoding.field_problems(body, decoding.plain(body), core_v1.ConfigMap) == []


def test_what_is_given_twice_is_told_with_its_path() -> None:
    data = b'{"spec":{"a":1,"a":2,"list":[{"x":1},{"y":1,"y":2}]},"spec2":{"a":1}}'
    assert decoding.duplicate_fields(data) == ["spec.a", "spec.list[1].y"]


def test_problems_come_in_the_order_of_the_document_and_an_unknown_field_is_told_once() -> None:
    body = b'{"spec":{"z":1,"z":2,"nodeName":"a","nodeName":"b","containers":[{"a":1,"image":"x","image":"y"}]}}'
    assert decoding.field_problems(body, decoding.plain(body), core_v1.Pod) == [
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
    assert decoding.json_patch_problems(body) == expected
