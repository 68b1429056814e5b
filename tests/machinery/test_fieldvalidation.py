"""Which fields of a document are unknown, and which stand twice, in upstream's words and order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tiphys.api import apiextensions_v1, core_v1
from tiphys.machinery import fieldvalidation
from tiphys.machinery.fieldvalidation import field_problems
from tiphys.machinery.structural import compile_schema

Definition = apiextensions_v1.CustomResourceDefinition


def problems(text: str, kind: Any = core_v1.Pod, schema: Any = None) -> list[str]:
    return field_problems(text.encode(), json.loads(text), kind, schema)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"metadata":{"name":"a"},"spec":{"containers":[{"name":"c"}]}}', []),
        ('{"x":1}', ['unknown field "x"']),
        ('{"spec":{"x":{"y":1}}}', ['unknown field "spec.x"']),
        ('{"spec":{"containers":[{},{"x":1}]}}', ['unknown field "spec.containers[1].x"']),
        ('{"metadata":{"labels":{"any":"v"}}}', []),
        ('{"spec":null,"x":null}', ['unknown field "x"']),
        ('{"spec":{},"spec":{}}', ['duplicate field "spec"']),
        ('{"metadata":{"labels":{"a":"1","a":"2"}}}', ['duplicate field "metadata.labels.a"']),
        ('{"x":1,"x":2}', ['unknown field "x"']),
        (
            '{"spec":{"y":1,"nodeName":"a","nodeName":"b"},"x":1}',
            ['unknown field "spec.y"', 'duplicate field "spec.nodeName"', 'unknown field "x"'],
        ),
        ('{"spec":{"containers":[{"name":"a","name":"b"}]}}',
         ['duplicate field "spec.containers[0].name"']),
        ('{"spec":7}', []),
        ("[]", []),
        ("7", []),
    ],
)  # fmt: skip
def test_what_strict_decoding_refuses(text: str, told: list[str]) -> None:
    assert problems(text) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"spec": {"containers": []}}, []),
        ({"b": 1, "a": 1, "spec": {"x": 1}}, ["a", "b", "spec.x"]),
        ("x", []),
    ],
)
def test_without_the_bytes_unknown_fields_come_by_name(value: Any, told: list[str]) -> None:
    wanted = [f'unknown field "{path}"' for path in told]
    assert field_problems(b"", value, core_v1.Pod) == wanted


def test_types_that_contain_themselves_are_gone_through() -> None:
    schema = '{"type":"object","properties":{"a":{"items":{"x":1}},"b":{"items":[{"y":1}]}}}'
    text = f'{{"spec":{{"versions":[{{"schema":{{"openAPIV3Schema":{schema}}}}}]}}}}'
    path = "spec.versions[0].schema.openAPIV3Schema.properties"
    assert problems(text, Definition) == [
        f'unknown field "{path}.a.items.x"',
        f'unknown field "{path}.b.items[0].y"',
    ]
    assert problems(text.replace('"x":1', "").replace('"y":1', ""), Definition) == []
    assert fieldvalidation.twin_of(Definition) is None
    assert fieldvalidation.twin_of(core_v1.Pod) is not None


CUSTOM = compile_schema(
    {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"a": {"type": "integer"}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"kind":"K","spec":{"a":1},"free":{"x":1},"metadata":{"name":"n"}}', []),
        ('{"spec":{"b":1},"a":1}', ['unknown field "a"', 'unknown field "spec.b"']),
        ('{"metadata":{"x":1}}', ['unknown field "metadata.x"']),
        ('{"spec":{"a":1,"a":2}}', ['duplicate field "spec.a"']),
        ('{"b":1,"spec":{"a":1,"a":2}}', ['duplicate field "spec.a"', 'unknown field "b"']),
        ('{"metadata":null}', []),
        ("7", []),
    ],
)
def test_custom_objects_go_by_their_schema(text: str, told: list[str]) -> None:
    assert problems(text, core_v1.Pod, CUSTOM) == told


def test_a_hundred_problems_are_told_or_as_many_as_upstream_remembers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fieldvalidation, "_MOST_PROBLEMS", 3)
    text = json.dumps({f"x{number}": 1 for number in range(5)})
    assert problems(text) == [f'unknown field "x{number}"' for number in range(3)]
    patch = json.dumps([{f"x{number}": 1} for number in range(5)]).encode()
    assert len(fieldvalidation.json_patch_problems(patch)) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[{"op":"add","path":"/a","value":{"x":1,"x":2},"from":"/b"}]', []),
        ('[{"op":"add","x":1,"x":2}]', ['json patch unknown field "[0].x"']),
        ('[{},{"op":"add","op":"add"}]', ['json patch duplicate field "[1].op"']),
        ("[7]", []),
    ],
)
def test_what_strict_decoding_of_a_json_patch_refuses(text: str, told: list[str]) -> None:
    assert fieldvalidation.json_patch_problems(text.encode()) == told


@pytest.mark.parametrize(
    ("data", "is_json"),
    [
        (b'{"a":1}', True),
        (b'{"a":{"b":"c"}}', True),
        (b'{"a":1,"a":2}', False),
        (b'{"a":{"b":1,"b":1}}', False),
        (b"{a: 1}", False),
        (b'{"a":1', False),
        (b'{"a":"\xff"}', False),
        (b"a: 1", False),
        (b"[]", False),
        (b"", False),
        (b'{"a":' * 2000, False),
    ],
)
def test_what_needs_no_yaml_parser(data: bytes, is_json: bool) -> None:
    assert fieldvalidation.is_json(data) is is_json
