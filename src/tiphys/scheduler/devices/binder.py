"""Claims for devices on the API server: what is reserved for a pod becomes their allocation."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.base import to_builtins
from tiphys.client.client import Client, Unreachable
from tiphys.machinery import timestamps
from tiphys.machinery.devices import FINALIZER, consumer, is_reserved_for
from tiphys.machinery.errors import StatusError, is_conflict, is_not_found
from tiphys.scheduler.devices.binding_conditions import (
    TIMEOUT,
    BindingFailed,
    is_overdue,
    is_ready,
    must_wait,
)
from tiphys.scheduler.devices.requests import Unallocatable
from tiphys.scheduler.devices.tracker import DeviceTracker
from tiphys.scheduler.podinfo import PodInfo

_MAX_ATTEMPTS = 5

# Changes a claim in place; False: there is nothing to change.
ClaimChange = Callable[[v1.ResourceClaim], bool]


class DeviceBinder:
    def __init__(self, client: Client, tracker: DeviceTracker) -> None:
        self._client = client
        self._tracker = tracker

    # --- pre-bind ---

    async def bind(self, pod: PodInfo, pending: Callable[[], None] = lambda: None) -> None:
        """Writes what is reserved for the pod to its claims, and that the pod uses them. Then waits
        until the devices are ready for it; `pending` is called when they are not yet. Raises
        StatusError, Unreachable."""
        special = self._tracker.extended.reserved(pod.pod)
        if special is not None:
            self._tracker.special_created(pod.pod, await self._make(special.claim))
        for claim in self._claims_of(pod):
            await self._change(claim, lambda current: self._allocate(current, pod))
        if special is not None:
            await self._show_special(pod, special.mappings)
        written = [await self._current(claim) for claim in self._claims_of(pod)]
        if must_wait(written):
            pending()
            await self._wait_until_ready(pod)

    async def _make(self, claim: v1.ResourceClaim) -> v1.ResourceClaim:
        new_claim = copy.deepcopy(claim)
        new_claim.metadata.uid = ""
        return await self._client.create(new_claim)

    async def _show_special(
        self, pod: PodInfo, mappings: list[core_v1.ContainerExtendedResourceRequest]
    ) -> None:
        """Tells the node which containers have which devices of the special claim."""
        claim = self._tracker.special_of(pod.pod)
        assert claim is not None
        status = core_v1.PodExtendedResourceClaimStatus(
            request_mappings=mappings, resource_claim_name=claim.metadata.name
        )
        meta = pod.pod.metadata
        change = {
            "metadata": {"uid": meta.uid},
            "status": {"extendedResourceClaimStatus": to_builtins(status)},
        }
        await self._client.patch(core_v1.Pod, meta.name, change, meta.namespace, "status")

    async def _wait_until_ready(self, pod: PodInfo) -> None:
        """Raises Unreachable when the devices fail, or are not ready in time."""
        changed = self._tracker.claims_changed
        try:
            async with asyncio.timeout(TIMEOUT):
                while True:
                    changed.clear()
                    if all(map(self._is_ready, self._claims_of(pod))):
                        return
                    await changed.wait()
        except TimeoutError:
            raise Unreachable("device binding timeout: context deadline exceeded") from None
        except BindingFailed as failure:
            raise Unreachable(str(failure)) from None

    def _is_ready(self, claim: v1.ResourceClaim) -> bool:
        """Raises BindingFailed; Unreachable when it was not ready in time."""
        if is_ready(claim):
            return True
        if is_overdue(claim, self._tracker.now()):
            raise Unreachable(f"device binding timeout: claim={claim.metadata.name}")
        return False

    async def _current(self, claim: v1.ResourceClaim) -> v1.ResourceClaim:
        """The claim as it was written: the watch may not have delivered it yet."""
        if claim.status.allocation is not None or not self._has_conditions(claim):
            return claim
        return await self._client.get(
            v1.ResourceClaim, claim.metadata.name, claim.metadata.namespace
        )

    def _has_conditions(self, claim: v1.ResourceClaim) -> bool:
        """Whether devices that are reserved for it have conditions."""
        allocation = self._tracker.allocation_of(claim)
        results = allocation.devices.results if allocation is not None else []
        return any(result.binding_conditions for result in results)

    def _allocate(self, claim: v1.ResourceClaim, pod: PodInfo) -> bool:
        allocation = self._tracker.allocation_of(claim)
        if allocation is None:
            raise Unreachable(f"{pod.key}: the devices of {claim.metadata.name} were deallocated")
        uses_claim = is_reserved_for(claim, pod.pod)
        if claim.status.allocation is not None and uses_claim:
            return False
        claim.status.allocation = allocation
        if not allocation.allocation_timestamp:
            allocation.allocation_timestamp = timestamps.rfc3339(self._tracker.now())
        if not uses_claim:
            claim.status.reserved_for.append(consumer(pod.pod))
        return True

    # --- unreserve ---

    async def unreserve(self, pod: PodInfo) -> None:
        """The pod is not bound: what was reserved for it is free, and its special claim is
        not needed. Raises StatusError, Unreachable."""
        special = self._tracker.special_of(pod.pod)
        self._tracker.unreserve(pod.pod)
        if special is not None:
            await self._delete(special)

    async def _delete(self, claim: v1.ResourceClaim) -> None:
        """Deletes a claim with the devices that it has."""
        meta = claim.metadata
        for _ in range(_MAX_ATTEMPTS):
            try:
                current = await self._client.get(v1.ResourceClaim, meta.name, meta.namespace)
                if FINALIZER in current.metadata.finalizers:
                    current.metadata.finalizers.remove(FINALIZER)
                    await self._client.update(current)
                await self._client.delete(v1.ResourceClaim, meta.name, meta.namespace, uid=meta.uid)
                return
            except StatusError as error:
                if is_not_found(error):
                    return
                if not is_conflict(error):
                    raise

    # --- post-filter ---

    async def deallocate(self, pod: PodInfo) -> bool:
        """Deallocates the claims of the pod that no other pod uses, for they keep it from nodes
        where others would fit, and deletes the special one that an earlier attempt to bind it left
        behind. Returns whether there were any. Raises StatusError, Unreachable."""
        left_over = self._tracker.extended.left_over(pod.pod)
        if left_over is not None:
            await self._delete(left_over)
        any_deallocated = left_over is not None
        for claim in self._claims_of(pod):
            if _is_allocated_for_nobody_else(claim, pod):
                changed = await self._change(claim, lambda current: _deallocate(current, pod))
                any_deallocated = any_deallocated or changed
        return any_deallocated

    # --- writing ---

    def _claims_of(self, pod: PodInfo) -> list[v1.ResourceClaim]:
        try:
            claims = self._tracker.claims_of(pod.pod)
        except Unallocatable as error:
            raise Unreachable(f"{pod.key}: {error}") from None
        special = self._tracker.special_of(pod.pod)
        return claims if special is None else [*claims, special]

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
                if not is_conflict(error):
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
    claim.status.devices = []
    return True
