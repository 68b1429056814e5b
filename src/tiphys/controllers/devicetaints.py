"""Pods on devices that a driver has tainted leave, unless their claims tolerate it: devices that
fail, for example (upstream's device-taint-eviction-controller, gate DRADeviceTaints).

Taints are those of ResourceSlices. DeviceTaintRules are not served: their API is off in upstream's
own servers, too. Two things are otherwise than upstream. A toleration without an effect is one of
all effects, as its documentation says and the scheduler has it: upstream would evict such a pod
each time it was scheduled. And pods leave also if the devices are those of extended resources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.controllers.pods import disruption_patch, is_active
from tiphys.controllers.shell import Controller
from tiphys.machinery import timestamps
from tiphys.machinery.devices import (
    NotMade,
    claims_of,
    is_reserved_for,
    special_claim_of,
    tolerations_of,
)
from tiphys.machinery.errors import StatusError, is_write_overtaken

_NO_EXECUTE = "NoExecute"
_REASON = "DeviceTaintManagerEviction"


# --- the core: pure ---


class DeviceID(NamedTuple):
    driver: str
    pool: str
    device: str


Taints = dict[DeviceID, list[v1.DeviceTaint]]


def evicting_taints(slices: Iterable[v1.ResourceSlice]) -> Taints:
    """The NoExecute taints of the devices of one pool, of the newest generation of its slices."""
    slices = list(slices)
    newest = max((device_slice.spec.pool.generation for device_slice in slices), default=0)
    return {
        DeviceID(device_slice.spec.driver, device_slice.spec.pool.name, device.name): taints
        for device_slice in slices
        if device_slice.spec.pool.generation == newest
        for device in device_slice.spec.devices
        if (taints := [taint for taint in device.taints if taint.effect == _NO_EXECUTE])
    }


def eviction_time(claim: v1.ResourceClaim, taints: Taints, now: float) -> float | None:
    """When the pods that use a claim must leave, in seconds since the epoch; None: never. `taints`
    are those of its devices."""
    soonest: float | None = None
    for result in _results(claim):
        place = DeviceID(result.driver, result.pool, result.device)
        for taint in taints.get(place, ()):
            leaves = _leaves_at(taint, result.tolerations, now)
            if leaves is not None:
                soonest = leaves if soonest is None else min(soonest, leaves)
    return soonest


def _leaves_at(
    taint: v1.DeviceTaint, tolerations: Iterable[v1.DeviceToleration], now: float
) -> float | None:
    """The shortest of several tolerations counts, unless one of them is forever."""
    added = timestamps.parse(taint.time_added) or now
    seconds = [toleration.toleration_seconds for toleration in tolerations_of(taint, tolerations)]
    if not seconds:
        return added
    limited = [max(0, limit) for limit in seconds if limit is not None]
    return added + min(limited) if len(limited) == len(seconds) else None


def _results(claim: v1.ResourceClaim) -> list[v1.DeviceRequestAllocationResult]:
    allocation = claim.status.allocation
    return allocation.devices.results if allocation is not None else []


def _pools_of(claim: v1.ResourceClaim) -> set[str]:
    return {f"{result.driver}/{result.pool}" for result in _results(claim)}


def _pool_of(slice_: v1.ResourceSlice) -> str:
    return f"{slice_.spec.driver}/{slice_.spec.pool.name}"


# --- the shell ---


class DeviceTaintController(Controller):
    """Keys are those of pods."""

    name = "device-taint-eviction"
    event_source = "device-taint-eviction"

    def watch(self) -> None:
        self._pods = self.informer(core_v1.Pod)
        self._claims = self.informer(v1.ResourceClaim)
        self._slices = self.informer(v1.ResourceSlice)
        self._claims.index("pool", lambda claim: sorted(_pools_of(claim)))
        self._slices.index("pool", lambda slice_: [_pool_of(slice_)])
        self._leaving: dict[str, str] = {}  # pods that are to leave later, by key: their uids
        self._pods.on_change(self._pod_changed)
        self._claims.on_change(self._claim_changed)
        self._slices.on_change(self._slice_changed)

    def _pod_changed(self, old: Any, new: Any) -> None:
        if new is None:
            self._leaving.pop(f"{old.metadata.namespace}/{old.metadata.name}", None)
            return
        if not new.spec.node_name or not (new.spec.resource_claims or special_claim_of(new)):
            return
        if old is None or not old.spec.node_name:
            self.enqueue(old, new)

    def _claim_changed(self, old: Any, new: Any) -> None:
        for claim in (old, new):
            if claim is not None:
                self._enqueue_users(claim)

    def _enqueue_users(self, claim: v1.ResourceClaim) -> None:
        for user in claim.status.reserved_for:
            if user.resource == "pods" and not user.api_group:
                self.queue.add(f"{claim.metadata.namespace}/{user.name}")

    def _slice_changed(self, old: Any, new: Any) -> None:
        """A change matters if there are such taints, or were: in other slices of its pool, too,
        which it makes old or new ones."""
        pool = _pool_of(new or old)
        before = evicting_taints([old]) if old is not None else {}
        if before or evicting_taints(self._slices.by("pool", pool)):
            for claim in self._claims.by("pool", pool):
                self._enqueue_users(claim)

    async def reconcile(self, key: str) -> float | None:
        pod = self._pods.get(key)
        if pod is None or not pod.spec.node_name or not is_active(pod):
            self._leaving.pop(key, None)
            return None
        now = self.context.now()
        leaves = min(self._eviction_times(pod, now), default=None)
        if leaves is None:
            if self._leaving.pop(key, None) == pod.metadata.uid:
                self.event(pod, "Normal", _REASON, "Cancelling deletion")
            return None
        if leaves > now:
            self._leaving[key] = pod.metadata.uid
            return leaves - now
        self._leaving.pop(key, None)
        await self._evict(pod, now)
        return None

    def _eviction_times(self, pod: core_v1.Pod, now: float) -> Iterator[float]:
        try:
            names = [name for _, name in claims_of(pod)]
        except NotMade:
            return
        for name in (*names, special_claim_of(pod)):
            claim = self._claims.get(f"{pod.metadata.namespace}/{name}")
            if claim is None or not is_reserved_for(claim, pod):
                continue
            taints: Taints = {}
            for pool in _pools_of(claim):
                taints |= evicting_taints(self._slices.by("pool", pool))
            leaves = eviction_time(claim, taints, now)
            if leaves is not None:
                yield leaves

    async def _evict(self, pod: core_v1.Pod, now: float) -> None:
        self.event(pod, "Normal", _REASON, "Marking for deletion")
        message = "Device Taint manager: deleting due to NoExecute taint"
        change = disruption_patch(pod, "DeletionByDeviceTaintManager", message, now)
        meta = pod.metadata
        try:
            await self.client.patch(core_v1.Pod, meta.name, change, meta.namespace, "status")
            await self.delete(pod)
        except StatusError as error:
            if not is_write_overtaken(error):
                raise
