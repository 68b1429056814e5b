"""What etcd has to compare before it writes."""

from __future__ import annotations

from tiphys.store import etcdpb as pb
from tiphys.store.engine import Write

_TARGET_MOD = 2  # Compare.CompareTarget.MOD
_GREATER = 1  # Compare.CompareResult.GREATER


def comparisons(write: Write, key: bytes, offset: int) -> list[pb.Compare]:
    """What must hold of the key for the write to be made: see `Write.conflicts_with`."""
    comparisons = []
    if write.expected is not None:
        # A revision from before the offset is none that a key can be at; 0 is "not there" to etcd.
        expected = write.expected and (max(write.expected - offset, 0) or -1)
        comparisons.append(pb.Compare(target=_TARGET_MOD, key=key, mod_revision=expected))
    if write.value is None and not write.expected:
        comparisons.append(pb.Compare(result=_GREATER, target=_TARGET_MOD, key=key, mod_revision=0))
    return comparisons
