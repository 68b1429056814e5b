"""Claims for devices on the server: pods wait until theirs are made, and get what was set aside for them written down."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.client.client import Client, Unreachable
from tiphys.client.informer import Informers
from tiphys.machinery.devices import FINALIZER, consumer, is_reserved_for
from tiphys.machinery.errors import StatusError
from tiphys.scheduler.changes import DEVICES, Change
from tiphys.scheduler.devices.allocator import Unfit
from tiphys.scheduler.devices.stock import Devices
from tiphys.scheduler.podinfo import PodInfo

log = logging.getLogger(__name__)

_TRIES = 5


class DeviceBinder:
    """`changed` is told what may help pods that fit nowhere, `ready` of a held-back pod whose claims are there now."""

    def __init__(
        self,
        client: Client,
        informers: Informers,
        changed: Callable[[Change], None],
        ready: Callable[[PodInfo], None],
    ) -> None:
        self._client, self._changed, self._ready = client, changed, ready
        self._claims, self._kinds = informers.of(v1.ResourceClaim), informers.of(v1.DeviceClass)
        self.devices = Devices(self._claims.get, self._kinds.get)
        self._held_back: dict[str, PodInfo] = {}
        self._claims.on_change(self._claim_changed)
        self._kinds.on_change(self._kind_changed)
        informers.of(v1.ResourceSlice).on_change(self._slice_changed)

    def _claim_changed(self, old: v1.ResourceClaim | None, new: v1.ResourceClaim | None) -> None:
        claim: Any = new or old
        self.devices.note(claim, gone=new is None)
        if old is None:
            for pod in [
                pod for pod in self._held_back.values() if pod.namespace == claim.metadata.namespace
            ]:
                if not self.hold_back(pod):
                    self._ready(pod)
        self._changed(Change(DEVICES, stored=new, before=old))

    def _kind_changed(self, old: v1.DeviceClass | None, new: v1.DeviceClass | None) -> None:
        self.devices.kinds_changed()
        self._changed(Change(DEVICES))

    def _slice_changed(self, old: v1.ResourceSlice | None, new: v1.ResourceSlice | None) -> None:
        if new is not None:
            self.devices.inventory.put(new)
        elif old is not None:
            self.devices.inventory.remove(old.metadata.name)
        self._changed(Change(DEVICES))

    def hold_back(self, pod: PodInfo) -> bool:
        """Whether a pod has to wait until its claims are made; if so it is remembered."""
        if not pod.pod.spec.resource_claims or self.devices.made(pod.pod):
            self._held_back.pop(pod.uid, None)
            return False
        self._held_back[pod.uid] = pod
        return True

    def drop(self, pod: core_v1.Pod) -> None:
        """The pod needs no node any more; what was set aside for it is free."""
        self._held_back.pop(pod.metadata.uid, None)
        self.devices.forget(pod)

    async def bind(self, pod: PodInfo) -> None:
        """Writes what was set aside for a pod into its claims, and that the pod uses them. Raises StatusError,
        Unreachable."""
        for claim in self._usable(pod):
            await self._change(claim, lambda found: self._reserve(found, pod))

    def _usable(self, pod: PodInfo) -> list[v1.ResourceClaim]:
        try:
            return self.devices.claims(pod.pod)
        except Unfit as error:
            raise Unreachable(f"{pod.key}: {error}") from None

    def _reserve(self, claim: v1.ResourceClaim, pod: PodInfo) -> bool:
        allocation = self.devices.allocation(claim)
        if allocation is None:
            raise Unreachable(f"{pod.key}: the devices of {claim.metadata.name} were given back")
        if claim.status.allocation is not None and is_reserved_for(claim, pod.pod):
            return False
        claim.status.allocation = allocation
        if not is_reserved_for(claim, pod.pod):
            claim.status.reserved_for.append(consumer(pod.pod))
        return True

    async def give_back(self, pod: PodInfo) -> bool:
        """Takes the devices from claims that nobody else uses: they keep the pod from where it could be. Returns whether
        there were any."""
        done = False
        for claim in self._usable(pod):
            if claim.status.allocation is None or {one.uid for one in claim.status.reserved_for} - {
                pod.uid
            }:
                continue
            done = await self._change(claim, lambda found: _emptied(found, pod)) or done
        return done

    async def _change(
        self, claim: v1.ResourceClaim, change: Callable[[v1.ResourceClaim], bool]
    ) -> bool:
        """Changes a claim's status, again when somebody else wrote meanwhile. Returns whether there was something to do."""
        meta, found = claim.metadata, copy.deepcopy(claim)
        for attempt in range(_TRIES):
            if attempt:
                found = await self._client.get(v1.ResourceClaim, meta.name, meta.namespace)
            if found.metadata.uid != meta.uid:
                raise Unreachable(f"resourceclaim {meta.name} was made anew")
            if not change(found):
                return False
            try:
                if (
                    found.status.allocation is not None
                    and FINALIZER not in found.metadata.finalizers
                ):
                    status = found.status
                    found.metadata.finalizers.append(FINALIZER)
                    found = await self._client.update(found)
                    found.status = status
                await self._client.update(found, subresource="status")
                return True
            except StatusError as error:
                if error.reason != "Conflict":
                    raise
        raise Unreachable(f"resourceclaim {meta.name} is being changed all the time")


def _emptied(claim: v1.ResourceClaim, pod: PodInfo) -> bool:
    if claim.status.allocation is None or {one.uid for one in claim.status.reserved_for} - {
        pod.uid
    }:
        return False
    claim.status.allocation, claim.status.reserved_for = None, []
    return True
