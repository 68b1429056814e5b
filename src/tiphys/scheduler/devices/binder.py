"""Claims for devices on the API server: pods wait until their claims exist, and reserved devices
become allocations."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.client.client import Client, Unreachable
from tiphys.client.informer import Informers
from tiphys.machinery.devices import FINALIZER, consumer, is_reserved_for
from tiphys.machinery.errors import StatusError
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.devices.requests import Unallocatable
from tiphys.scheduler.devices.tracker import DeviceTracker
from tiphys.scheduler.podinfo import PodInfo

log = logging.getLogger(__name__)

_MAX_ATTEMPTS = 5

# Changes a claim in place; False: there is nothing to change.
ClaimChange = Callable[[v1.ResourceClaim], bool]


class DeviceBinder:
    """`on_event` is given events that may help unschedulable pods, `on_ready` a pod whose claims
    exist now."""

    def __init__(
        self,
        client: Client,
        informers: Informers,
        on_event: Callable[[ClusterEvent], None],
        on_ready: Callable[[PodInfo], None],
    ) -> None:
        self._client = client
        self._on_event = on_event
        self._on_ready = on_ready
        claims = informers.of(v1.ResourceClaim)
        classes = informers.of(v1.DeviceClass)
        slices = informers.of(v1.ResourceSlice)
        self.tracker = DeviceTracker(claims.get, classes.get)
        self._waiting_for_claims: dict[str, PodInfo] = {}  # by uid
        claims.on_change(self._claim_changed)
        classes.on_change(self._class_changed)
        slices.on_change(self._slice_changed)

    # --- event handlers ---

    def _claim_changed(self, old: v1.ResourceClaim | None, new: v1.ResourceClaim | None) -> None:
        if new is not None:
            self.tracker.put_claim(new)
        elif old is not None:
            self.tracker.remove_claim(old)
        if old is None and new is not None:
            self._release_waiting(new.metadata.namespace)
        self._on_event(ClusterEvent(EventKind.DEVICES, obj=new, old_obj=old))

    def _release_waiting(self, namespace: str) -> None:
        """A claim was created: pods of its namespace may have all of theirs."""
        waiting = [pod for pod in self._waiting_for_claims.values() if pod.namespace == namespace]
        for pod in waiting:
            if not self.must_wait_for_claims(pod):
                self._on_ready(pod)

    def _class_changed(self, old: v1.DeviceClass | None, new: v1.DeviceClass | None) -> None:
        self.tracker.classes_changed()
        self._on_event(ClusterEvent(EventKind.DEVICES))

    def _slice_changed(self, old: v1.ResourceSlice | None, new: v1.ResourceSlice | None) -> None:
        if new is not None:
            self.tracker.inventory.put(new)
        elif old is not None:
            self.tracker.inventory.remove(old.metadata.name)
        self._on_event(ClusterEvent(EventKind.DEVICES))

    # --- pre-enqueue ---

    def must_wait_for_claims(self, pod: PodInfo) -> bool:
        """Whether a claim of the pod does not exist yet. Then `on_ready` is given the pod when all
        do."""
        if not pod.spec.resource_claims or self.tracker.claims_exist(pod.pod):
            self._waiting_for_claims.pop(pod.uid, None)
            return False
        self._waiting_for_claims[pod.uid] = pod
        return True

    def forget(self, pod: core_v1.Pod) -> None:
        """The pod needs no node any more: what was reserved for it is free."""
        self._waiting_for_claims.pop(pod.metadata.uid, None)
        self.tracker.unreserve(pod)

    # --- pre-bind ---

    async def bind(self, pod: PodInfo) -> None:
        """Writes what is reserved for the pod to its claims, and that the pod uses them. Raises
        StatusError, Unreachable."""
        for claim in self._claims_of(pod):
            await self._change(claim, lambda current: self._allocate(current, pod))

    def _allocate(self, claim: v1.ResourceClaim, pod: PodInfo) -> bool:
        allocation = self.tracker.allocation_of(claim)
        if allocation is None:
            raise Unreachable(f"{pod.key}: the devices of {claim.metadata.name} were deallocated")
        uses_claim = is_reserved_for(claim, pod.pod)
        if claim.status.allocation is not None and uses_claim:
            return False
        claim.status.allocation = allocation
        if not uses_claim:
            claim.status.reserved_for.append(consumer(pod.pod))
        return True

    # --- post-filter ---

    async def deallocate(self, pod: PodInfo) -> bool:
        """Deallocates the claims of the pod that no other pod uses, for they keep it from nodes
        where others would fit. Returns whether there were any. Raises StatusError, Unreachable."""
        any_deallocated = False
        for claim in self._claims_of(pod):
            if _is_allocated_for_nobody_else(claim, pod):
                changed = await self._change(claim, lambda current: _deallocate(current, pod))
                any_deallocated = any_deallocated or changed
        return any_deallocated

    # --- writing ---

    def _claims_of(self, pod: PodInfo) -> list[v1.ResourceClaim]:
        try:
            return self.tracker.claims_of(pod.pod)
        except Unallocatable as error:
            raise Unreachable(f"{pod.key}: {error}") from None

    async def _change(self, claim: v1.ResourceClaim, change: ClaimChange) -> bool:
        """Changes the status of a claim, again when it was written by others meanwhile. Returns
        whether there was something to change."""
        meta = claim.metadata
        current = copy.deepcopy(claim)
        for attempt in range(_MAX_ATTEMPTS):
            if attempt:
                current = await self._client.get(v1.ResourceClaim, meta.name, meta.namespace)
            if current.metadata.uid != meta.uid:
                raise Unreachable(f"resourceclaim {meta.name} was deleted and created again")
            if not change(current):
                return False
            try:
                await self._write(current)
                return True
            except StatusError as error:
                if error.reason != "Conflict":
                    raise
        raise Unreachable(f"resourceclaim {meta.name} is changed all the time")

    async def _write(self, claim: v1.ResourceClaim) -> None:
        """An allocated claim has a finalizer first, so that it is not deleted while its devices are
        in use."""
        needs_finalizer = claim.status.allocation is not None
        if needs_finalizer and FINALIZER not in claim.metadata.finalizers:
            status = claim.status
            claim.metadata.finalizers.append(FINALIZER)
            claim = await self._client.update(claim)
            claim.status = status
        await self._client.update(claim, subresource="status")


def _is_allocated_for_nobody_else(claim: v1.ResourceClaim, pod: PodInfo) -> bool:
    users = {user.uid for user in claim.status.reserved_for}
    return claim.status.allocation is not None and users <= {pod.uid}


def _deallocate(claim: v1.ResourceClaim, pod: PodInfo) -> bool:
    if not _is_allocated_for_nobody_else(claim, pod):
        return False
    claim.status.allocation = None
    claim.status.reserved_for = []
    return True
