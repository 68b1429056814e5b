"""A volume has grown when its claim does not say so yet."""

from __future__ import annotations

import pytest

from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.node.csi.expansion import has_grown, status_after


def claim(size: str, *conditions: str) -> core_v1.PersistentVolumeClaim:
    status = {
        "capacity": {"storage": size} if size else {},
        "conditions": [{"type": type, "status": "True"} for type in conditions],
        "allocatedResourceStatuses": {"storage": "NodeResizePending"},
    }
    body = {"metadata": {"name": "c"}, "status": status}
    return from_builtins(body, core_v1.PersistentVolumeClaim)


def volume(size: str) -> core_v1.PersistentVolume:
    body = {"metadata": {"name": "pv"}, "spec": {"capacity": {"storage": size}}}
    return from_builtins(body, core_v1.PersistentVolume)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [("1Gi", "2Gi", True), ("1024Mi", "1Gi", False), ("2Gi", "1Gi", False), ("", "1Gi", False)],
)
def test_what_has_grown(before: str, now: str, expected: bool) -> None:
    assert has_grown(claim(before), volume(now)) is expected


def test_the_claim_says_so_afterwards() -> None:
    change = status_after(claim("1Gi", "FileSystemResizePending", "Other"), volume("2Gi"))["status"]
    assert change["capacity"] == {"storage": "2Gi"}
    assert [one["type"] for one in change["conditions"]] == ["Other"]
    assert change["allocatedResourceStatuses"] == {"storage": None}
