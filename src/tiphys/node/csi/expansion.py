"""Volumes that have grown: the node's part of it is the file system, which the driver is told to
grow. That it has grown stands in the claim's status then, and so does that it cannot: the resizer
starts over when somebody asks for less."""

from __future__ import annotations

import logging
import time
from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.client.client import MERGE, Client, Unreachable
from tiphys.client.events import EventRecorder
from tiphys.machinery import conditions, quantity, timestamps
from tiphys.machinery.errors import StatusError
from tiphys.node.csi import messages as m
from tiphys.node.csi import records, requests
from tiphys.node.csi.credentials import Credentials
from tiphys.node.csi.drivers import Drivers
from tiphys.node.csi.mounting import Mounter
from tiphys.node.csi.source import VolumeSource
from tiphys.node.plugins.channel import PluginError
from tiphys.node.volumes.volumefiles import VolumeError

log = logging.getLogger(__name__)

_PENDING, _GOING_ON = "NodeResizePending", "NodeResizeInProgress"
_INFEASIBLE = "NodeResizeInfeasible"
_FAILED = "NodeResizeError"  # the condition that says so
_CONDITIONS = {"Resizing", "FileSystemResizePending", "ControllerResizeError", _FAILED}
_INFEASIBLE_CODES = {"InvalidArgument", "OutOfRange", "NotFound"}  # as upstream
_IN_USE_CODE = "FailedPrecondition"  # the driver does not grow what a pod uses

Claim = core_v1.PersistentVolumeClaim
Change = dict[str, Any]


# --- pure ---


def has_grown(claim: Claim, volume: core_v1.PersistentVolume) -> bool:
    """Whether a volume is larger than its claim's status says."""
    before, now = claim.status.capacity.get("storage"), volume.spec.capacity.get("storage")
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
    """The change of a claim's status before the driver is told; empty if it says so already."""
    turn = claim.status.allocated_resource_statuses.get("storage", "")
    if turn != _PENDING:
        return {}
    return {"status": {"allocatedResourceStatuses": {"storage": _GOING_ON}}}


def status_after(claim: Claim, size: str) -> Change:
    """The change of a claim's status when its volume's file system has grown."""
    left = [to_builtins(one) for one in claim.status.conditions if one.type not in _CONDITIONS]
    change: Change = {"capacity": {"storage": size}, "conditions": left or None}
    if claim.status.allocated_resource_statuses:
        change["allocatedResourceStatuses"] = {"storage": None}
    return {"status": change}


def status_of_failure(claim: Claim, problem: str, is_infeasible: bool, now: str) -> Change:
    """The change of a claim's status when a driver has refused for good; empty if it says so
    already. What is infeasible is left to the resizer, and to whoever asks for less."""
    change: Change = {}
    if is_infeasible:
        change["allocatedResourceStatuses"] = {"storage": _INFEASIBLE}
    if not conditions.is_true(claim.status.conditions, _FAILED):
        others = [to_builtins(one) for one in claim.status.conditions if one.type != _FAILED]
        text = f"failed to expand pvc with {problem}"
        failed = {"type": _FAILED, "status": "True", "lastTransitionTime": now, "message": text}
        change["conditions"] = [*others, failed]
    return {"status": change} if change else {}


# --- the shell ---


class Expander:
    """Tells drivers."""

    def __init__(
        self,
        client: Client,
        recorder: EventRecorder,
        drivers: Drivers,
        mounter: Mounter,
        credentials: Credentials,
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._drivers = drivers
        self._mounter = mounter
        self._credentials = credentials
        # (uid, volume) -> the code with which its driver last refused for good
        self._refused: dict[tuple[str, str], str] = {}

    def forget(self, uid: str) -> None:
        """A pod has its volumes no more."""
        self._refused = {key: code for key, code in self._refused.items() if key[0] != uid}

    async def expand(
        self,
        pod: core_v1.Pod,
        claim: Claim,
        volume: core_v1.PersistentVolume,
        source: VolumeSource,
    ) -> None:
        """Of a volume that the pod has mounted. What fails is tried again at the next look."""
        if not has_grown(claim, volume):
            return
        try:
            if not self._is_told(pod, source):
                return
            # as it is now: the resizer writes to the same status
            claim = await self._client.get(Claim, claim.metadata.name, claim.metadata.namespace)
            size = wanted_size(claim, volume)
            if not size:
                return
            await self._write(claim, status_meanwhile(claim))
            await self._tell(pod, source, size)
            await self._write(claim, status_after(claim, size))
        except PluginError as error:
            await self._note_failure(pod, claim, volume, source, error)
            return
        except (VolumeError, StatusError, Unreachable) as error:
            self._failed_event(pod, source, str(error))
            return
        self._refused.pop((pod.metadata.uid, source.name), None)
        text = f'MountVolume.NodeExpandVolume succeeded for volume "{source.name}"'
        for about in (pod, claim):
            self._recorder.record(about, "Normal", "FileSystemResizeSuccessful", text)

    def _is_told(self, pod: core_v1.Pod, source: VolumeSource) -> bool:
        """Whether the driver has a part in it, and may play it now. Raises VolumeError."""
        driver = self._drivers.get(source.driver)
        is_in_use = self._refused.get((pod.metadata.uid, source.name)) == _IN_USE_CODE
        return m.EXPAND_VOLUME in driver.can and not is_in_use

    async def _note_failure(
        self,
        pod: core_v1.Pod,
        claim: Claim,
        volume: core_v1.PersistentVolume,
        source: VolumeSource,
        error: PluginError,
    ) -> None:
        is_infeasible = error.code in _INFEASIBLE_CODES
        colon = " " if is_infeasible else " : "  # upstream's words
        problem = f"Expander.NodeExpand failed to expand the volume{colon}{error}"
        self._failed_event(pod, source, problem)
        if not error.is_final:
            return
        key = pod.metadata.uid, source.name
        # Somebody has asked for another size meanwhile: the resizer is to have a say.
        asked = str(claim.spec.resources.requests.get("storage", "0"))
        size = wanted_size(claim, volume) or "0"
        is_outdated = quantity.ceil_units(asked) != quantity.ceil_units(size)
        is_infeasible |= is_outdated and key in self._refused
        self._refused[key] = error.code
        now = timestamps.rfc3339(time.time())
        try:
            await self._write(claim, status_of_failure(claim, problem, is_infeasible, now))
        except (StatusError, Unreachable) as unwritten:
            log.info("Claim %s does not say what failed: %s", claim.metadata.name, unwritten)

    def _failed_event(self, pod: core_v1.Pod, source: VolumeSource, problem: str) -> None:
        where = f'NodeExpandVolume.NodeExpandVolume failed for volume "{source.name}" : {problem}'
        self._recorder.record(pod, "Warning", "VolumeResizeFailed", where)

    async def _write(self, claim: Claim, change: Change) -> None:
        if change:
            name, namespace = claim.metadata.name, claim.metadata.namespace
            await self._client.patch(
                Claim, name, change, namespace, subresource="status", media=MERGE
            )

    async def _tell(self, pod: core_v1.Pod, source: VolumeSource, size: str) -> None:
        """Raises PluginError, VolumeError."""
        driver = self._drivers.get(source.driver)
        published = {one.name: one for one in self._mounter.of_pod(pod.metadata.uid)}
        if source.name not in published:
            raise VolumeError("the pod has the volume no more")
        request = m.NodeExpandVolumeRequest(
            volume_id=source.handle,
            volume_path=records.shown(published[source.name].target),
            capacity_range=m.CapacityRange(required_bytes=quantity.ceil_units(size)),
            staging_target_path=self._mounter.staging_path(source),
            volume_capability=requests.capability(source, driver.can, None),
            secrets=await self._credentials.secrets(source.expand_secret, "NodeExpandSecretRef"),
        )
        await driver.call("NodeExpandVolume", request, m.NodeExpandVolumeResponse)
