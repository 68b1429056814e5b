"""When a write must be refused."""

from __future__ import annotations

import pytest

from tiphys.store.engine import Conflict, Write


@pytest.mark.parametrize(
    ("value", "expected", "current", "conflicts"),
    [
        (b"v", None, 0, False),
        (b"v", None, 5, False),
        (b"v", 0, 0, False),
        (b"v", 0, 5, True),
        (b"v", 5, 5, False),
        (b"v", 5, 6, True),
        (b"v", 5, 0, True),
        (None, None, 5, False),
        (None, None, 0, True),
        (None, 0, 0, True),
        (None, 0, 5, True),
        (None, 5, 5, False),
        (None, 5, 6, True),
    ],
)
def test_a_write_conflicts(
    value: bytes | None, expected: int | None, current: int, conflicts: bool
) -> None:
    assert Write("/a/b/x", value, expected).conflicts_with(current) is conflicts


def test_a_conflict_says_where_the_key_is() -> None:
    conflict = Conflict("/a/b/x", 5)
    assert (conflict.key, conflict.current) == ("/a/b/x", 5)
    assert str(conflict) == "/a/b/x is at revision 5"
