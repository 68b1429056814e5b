"""What etcd has to compare before it writes."""

from __future__ import annotations

import pytest

from tiphys.store import etcdpb as pb
from tiphys.store.engine import Write
from tiphys.store.etcdwrites import comparisons

_EQUAL, _GREATER, _MOD = 0, 1, 2


def equal(revision: int) -> pb.Compare:
    return pb.Compare(result=_EQUAL, target=_MOD, key=b"k", mod_revision=revision)


THERE = pb.Compare(result=_GREATER, target=_MOD, key=b"k", mod_revision=0)


@pytest.mark.parametrize(
    ("value", "expected", "offset", "compared"),
    [
        (b"v", None, 0, []),
        (b"v", None, 10, []),
        (b"v", 0, 0, [equal(0)]),
        (b"v", 0, 10, [equal(0)]),  # not there, whatever revisions are ahead by
        (b"v", 7, 0, [equal(7)]),
        (b"v", 1, 0, [equal(1)]),
        (b"v", 12, 10, [equal(2)]),
        (b"v", 11, 10, [equal(1)]),
        (b"v", 10, 10, [equal(-1)]),  # of before the offset: no key is there
        (b"v", 7, 10, [equal(-1)]),
        (None, None, 0, [THERE]),
        (None, 0, 0, [equal(0), THERE]),  # never
        (None, 7, 0, [equal(7)]),
        (None, 7, 10, [equal(-1)]),
    ],
)
def test_what_must_hold_of_a_key(
    value: bytes | None, expected: int | None, offset: int, compared: list[pb.Compare]
) -> None:
    assert comparisons(Write("/a/b/k", value, expected), b"k", offset) == compared
