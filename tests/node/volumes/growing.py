"""A claim whose volume has grown, and the cluster that it is in."""

from __future__ import annotations

from typing import Any

from tests.node.csi.driverprogram import NAME
from tiphys.api import core_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.machinery import patch


def claim(
    size: str, *conditions: str, turn: str = "NodeResizePending", allocated: str = "2Gi"
) -> core_v1.PersistentVolumeClaim:
    status = {
        "capacity": {"storage": size} if size else {},
        "conditions": [{"type": type, "status": "True"} for type in conditions],
        "allocatedResourceStatuses": {"storage": turn} if turn else {},
        "allocatedResources": {"storage": allocated} if allocated else {},
    }
    asked = {"requests": {"storage": "2Gi"}}
    body = {"metadata": {"name": "c"}, "spec": {"resources": asked}, "status": status}
    return from_builtins(body, core_v1.PersistentVolumeClaim)


def volume(size: str) -> core_v1.PersistentVolume:
    csi = {"driver": NAME, "volumeHandle": "disk-1"}
    body = {"metadata": {"name": "pv"}, "spec": {"capacity": {"storage": size}, "csi": csi}}
    return from_builtins(body, core_v1.PersistentVolume)


class Cluster:
    """Has one claim and the events about it."""

    def __init__(self) -> None:
        self.claim = claim("1Gi")
        self.turns: list[str] = []
        self.events: list[str] = []

    async def get(self, kind: type, name: str, namespace: str) -> core_v1.PersistentVolumeClaim:
        return self.claim

    async def patch(self, kind: type, name: str, change: Any, *args: Any, **how: Any) -> None:
        whole = patch.merge(to_builtins(self.claim), change)
        self.claim = from_builtins(whole, core_v1.PersistentVolumeClaim)
        self.turns.append(self.claim.status.allocated_resource_statuses.get("storage", ""))

    def record(self, about: Any, kind: str, reason: str, text: str) -> None:
        self.events.append(reason)
