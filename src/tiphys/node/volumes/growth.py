"""Volumes that have grown: the node's part of it is the file system, which a driver (`node.csi`) or
the node itself (`localdisks`) lets grow. That it has grown stands in the claim's status then, and
so does that it cannot: the resizer starts over when less is requested."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.client.client import MERGE, Client, Unreachable
from tiphys.client.events import EventRecorder
from tiphys.machinery import conditions, quantity, timestamps
from tiphys.machinery.errors import StatusError
from tiphys.node.volumes.volumefiles import VolumeError

log = logging.getLogger(__name__)

_PENDING, _GOING_ON = "NodeResizePending", "NodeResizeInProgress"
_INFEASIBLE = "NodeResizeInfeasible"
_FAILED = "NodeResizeError"  # the condition that says so
_CONDITIONS = {"Resizing", "FileSystemResizePending", "ControllerResizeError", _FAILED}

Claim = core_v1.PersistentVolumeClaim
Change = dict[str, Any]
Grow = Callable[[str], Awaitable[None]]


class GrowthError(VolumeError):
    """A file system did not grow.

    is_final: nothing goes on any more
    is_infeasible: it cannot be that large
    is_in_use: not while a pod has it
    """

    def __init__(
        self,
        text: str,
        *,
        is_final: bool = True,
        is_infeasible: bool = False,
        is_in_use: bool = False,
    ) -> None:
        super().__init__(text)
        self.is_final = is_final
        self.is_infeasible = is_infeasible
        self.is_in_use = is_in_use


# --- pure ---


def has_grown(claim: Claim, volume: core_v1.PersistentVolume) -> bool:
    """Whether a volume is larger than its claim's status says."""
    before = claim.status.capacity.get("storage")
    now = volume.spec.capacity.get("storage")
    if before is None or now is None:
        return False
    return quantity.ceil_units(str(before)) < quantity.ceil_units(str(now))


def wanted_size(claim: Claim, volume: core_v1.PersistentVolume) -> str:
    """The quantity that the file system of a volume is to grow to; "" if that is not the node's
    turn. The claim's status says whose it is, unless its resizer is too old to keep that."""
    if not has_grown(claim, volume):
        return ""
    allocated = claim.status.allocated_resources.get("storage")
    turn = claim.status.allocated_resource_statuses.get("storage", "")
    if allocated is None and not turn:
        return str(volume.spec.capacity["storage"])
    is_ours = turn in (_PENDING, _GOING_ON)
    return str(allocated) if is_ours and allocated is not None else ""


def status_meanwhile(claim: Claim) -> Change:
    """The change of a claim's status before the driver is called; empty if it says so already."""
    turn = claim.status.allocated_resource_statuses.get("storage", "")
    if turn != _PENDING:
        return {}
    return {"status": {"allocatedResourceStatuses": {"storage": _GOING_ON}}}


def status_after(claim: Claim, size: str) -> Change:
    """The change of a claim's status when its volume's file system has grown."""
    left = [
        to_builtins(condition)
        for condition in claim.status.conditions
        if condition.type not in _CONDITIONS
    ]
    change: Change = {"capacity": {"storage": size}, "conditions": left or None}
    if claim.status.allocated_resource_statuses:
        change["allocatedResourceStatuses"] = {"storage": None}
    return {"status": change}


def status_of_failure(claim: Claim, problem: str, is_infeasible: bool, now: str) -> Change:
    """The change of a claim's status when a driver has refused for good; empty if it says so
    already. What is infeasible is left to the resizer, and to users who ask for less."""
    change: Change = {}
    if is_infeasible:
        change["allocatedResourceStatuses"] = {"storage": _INFEASIBLE}
    if not conditions.is_true(claim.status.conditions, _FAILED):
        others = [
            to_builtins(condition)
            for condition in claim.status.conditions
            if condition.type != _FAILED
        ]
        text = f"failed to expand pvc with {problem}"
        failed = {"type": _FAILED, "status": "True", "lastTransitionTime": now, "message": text}
        change["conditions"] = [*others, failed]
    return {"status": change} if change else {}


# --- the shell ---


class VolumeGrowth:
    """Follows the volumes of a node's pods."""

    def __init__(self, client: Client, recorder: EventRecorder) -> None:
        self._client = client
        self._recorder = recorder
        # (uid, volume) -> how it last failed for good
        self._failures: dict[tuple[str, str], GrowthError] = {}

    def forget(self, uid: str) -> None:
        """A pod has its volumes no more."""
        self._failures = {key: failure for key, failure in self._failures.items() if key[0] != uid}

    async def follow(
        self, pod: core_v1.Pod, claim: Claim, volume: core_v1.PersistentVolume, grow: Grow
    ) -> None:
        """Of a volume that the pod has mounted. `grow` is called with the size (a quantity) and
        raises VolumeError, of which only a GrowthError says that it was tried. What fails is tried
        again at the next look."""
        key = pod.metadata.uid, volume.metadata.name
        failure = self._failures.get(key)
        if not has_grown(claim, volume) or (failure is not None and failure.is_in_use):
            return
        try:
            # as it is now: the resizer writes to the same status
            claim = await self._client.get(Claim, claim.metadata.name, claim.metadata.namespace)
            size = wanted_size(claim, volume)
            if not size:
                return
            await self._write(claim, status_meanwhile(claim))
            await grow(size)
            await self._write(claim, status_after(claim, size))
        except (VolumeError, StatusError, Unreachable) as error:
            text = f'NodeExpandVolume.NodeExpandVolume failed for volume "{key[1]}" : {error}'
            self._recorder.record(pod, "Warning", "VolumeResizeFailed", text)
            if isinstance(error, GrowthError) and error.is_final:
                await self._note_failure(key, claim, size, error)
            return
        self._failures.pop(key, None)
        text = f'MountVolume.NodeExpandVolume succeeded for volume "{key[1]}"'
        for about in (pod, claim):
            self._recorder.record(about, "Normal", "FileSystemResizeSuccessful", text)

    async def _note_failure(
        self, key: tuple[str, str], claim: Claim, size: str, error: GrowthError
    ) -> None:
        # Another size was requested meanwhile: that is the resizer's to decide.
        asked = str(claim.spec.resources.requests.get("storage", "0"))
        is_outdated = quantity.ceil_units(asked) != quantity.ceil_units(size)
        is_infeasible = error.is_infeasible or (is_outdated and key in self._failures)
        self._failures[key] = error
        now = timestamps.rfc3339(time.time())
        try:
            await self._write(claim, status_of_failure(claim, str(error), is_infeasible, now))
        except (StatusError, Unreachable) as unwritten:
            log.info("Claim %s does not say what failed: %s", claim.metadata.name, unwritten)

    async def _write(self, claim: Claim, change: Change) -> None:
        if change:
            name = claim.metadata.name
            namespace = claim.metadata.namespace
            await self._client.patch(
                Claim, name, change, namespace, subresource="status", media=MERGE
            )
