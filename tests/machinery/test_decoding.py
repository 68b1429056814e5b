from __future__ import annotations

import pytest

from tiphys.api import core_v1
from tiphys.machinery import decoding


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
        'unknown field "spec.containers[0].imagee"',
        'unknown field "spec.foo"',
        'duplicate field "metadata.name"',
    ]


def test_free_form_maps_have_no_unknown_fields() -> None:
    body = b'{"data":{"anything":"x"},"metadata":{"labels":{"a.b/c":"d"}}}'
    assert decoding.field_problems(body, decoding.plain(body), core_v1.ConfigMap) == []


def test_what_is_given_twice_is_told_with_its_path() -> None:
    data = b'{"spec":{"a":1,"a":2,"list":[{"x":1},{"y":1,"y":2}]},"spec2":{"a":1}}'
    assert decoding.duplicate_fields(data) == ["spec.a", "spec.list[1].y"]
