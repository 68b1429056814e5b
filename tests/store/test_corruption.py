"""What is an object and what is not."""

from __future__ import annotations

import pytest

from tiphys.store.corruption import corrupt_of
from tiphys.store.engine import Change

KEY = "/core/pods/ns/a"
GOOD = b'{"metadata":{"name":"a"}}'


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        (KEY, GOOD, ""),
        (KEY, None, ""),
        (KEY, '{"metadata":{"name":"a"},"data":"ä"}'.encode(), ""),
        ("/core/nodes/n", GOOD, ""),
        (KEY, b"", "Input data was truncated"),
        (KEY, b"[]", "Expected `object`, got `array`"),
        (KEY, b'{"metadata":{}}', "missing required field `name`"),
        (KEY, b'{"metadata":{"name":"a"},"data":"\xff"}', "can't decode byte 0xff"),
        (KEY, b'{"metadata": {"name":"a"}}', "not written as this server writes"),
        ("/core/nodes", GOOD, "not a key of a resource"),
        ("core/nodes/n/x", GOOD, "not a key of a resource"),
        ("", GOOD, "not a key of a resource"),
    ],
)
def test_what_is_wrong_with_a_value(key: str, value: bytes | None, fault: str) -> None:
    corrupt = corrupt_of(Change(3, key, value, 0))
    if not fault:
        assert corrupt is None
        return
    assert corrupt is not None and fault in corrupt.fault and corrupt.revision == 3
    assert f"Key: {key}, ResourceVersion: 0" in str(corrupt)
