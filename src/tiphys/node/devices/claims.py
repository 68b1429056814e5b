"""Claims of the node's pods: their drivers prepare them before a pod starts, once for all pods that
share one, and are called again when the last pod has ended.

What was asked for is written down before a driver is called: whatever becomes of the agent, the
driver is called at the end, too. Drivers may be asked for the same again; upstream wants that of
them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.client.client import Client, Unreachable
from tiphys.machinery.devices import (
    NotMade,
    belongs_to,
    claims_of,
    is_reserved_for,
    special_claim_of,
)
from tiphys.machinery.errors import StatusError
from tiphys.machinery.extendedresources import request_names
from tiphys.node.devices import dramessages as m
from tiphys.node.devices.checkpoint import Checkpoint
from tiphys.node.devices.draplugins import DriverError, Drivers
from tiphys.node.runtime import RuntimeFault

log = logging.getLogger(__name__)


class PreparedDevice(msgspec.Struct):
    """requests: of the claim that it is for; none means all
    cdi: names of what a container gets of it
    place: DRIVER/POOL/DEVICE
    share: of a device that several claims share"""

    requests: list[str] = []
    cdi: list[str] = []
    place: str = ""
    share: str | None = None

    def id(self) -> str:
        """As the status of a container names it."""
        return self.cdi[0] if self.cdi else self.place


class PreparedClaim(msgspec.Struct):
    """pods: uids of those that use it here
    drivers: the devices that each has prepared
    is_prepared: whether all drivers have, since this agent runs"""

    uid: str
    namespace: str
    name: str
    pods: set[str] = set()
    drivers: dict[str, list[PreparedDevice]] = {}
    is_prepared: bool = False

    def message(self) -> m.Claim:
        return m.Claim(namespace=self.namespace, uid=self.uid, name=self.name)

    def of(self, request: str) -> list[PreparedDevice]:
        """The devices of a container that uses one request, or, with "", all."""
        return [
            device
            for devices in self.drivers.values()
            for device in devices
            if not request or not device.requests or request in device.requests
        ]


class Claims:
    """`file` remembers which claims were prepared."""

    def __init__(self, client: Client, drivers: Drivers, file: Path) -> None:
        self._client = client
        self._drivers = drivers
        self._checkpoint: Checkpoint[list[PreparedClaim]] = Checkpoint(file, list[PreparedClaim])
        remembered = self._checkpoint.read() or []
        for claim in remembered:  # a driver may have forgotten it with the machine
            claim.is_prepared = False
        self._claims = {(claim.namespace, claim.name): claim for claim in remembered}
        self._changing = asyncio.Lock()

    # --- before a pod starts ---

    async def prepare(self, pod: core_v1.Pod) -> None:
        """Raises RuntimeFault."""
        try:
            claims = await self._check(pod)
            if claims:
                async with self._changing:
                    await self._prepare(pod, claims)
        except (DriverError, OSError) as error:
            text = f"Failed to prepare dynamic resources: prepare dynamic resources: {error}"
            raise RuntimeFault("FailedPrepareDynamicResources", text) from None

    async def _check(self, pod: core_v1.Pod) -> list[v1.ResourceClaim]:
        """The pod's claims. Nothing is noted if any of them, or a driver, is not there: such a pod
        can go without a driver's help. Raises DriverError."""
        meta = pod.metadata
        try:
            names = list(claims_of(pod))
            if special := special_claim_of(pod):
                names.append(("", special))
        except NotMade as missing:
            problem = f'pod "{meta.namespace}/{meta.name}": ResourceClaim not created yet'
            raise DriverError(problem) from missing
        claims = []
        for entry, name in names:
            try:
                claim = await self._client.get(v1.ResourceClaim, name, meta.namespace)
            except (StatusError, Unreachable) as error:
                raise DriverError(f"fetch ResourceClaim {name}: {error}") from None
            if problem := _obstacle(pod, entry, claim):
                raise DriverError(problem)
            for driver in _drivers_of(claim):
                self._drivers.find(driver)
            claims.append(claim)
        return claims

    async def _prepare(self, pod: core_v1.Pod, claims: list[v1.ResourceClaim]) -> None:
        """Raises DriverError, OSError."""
        noted = [self._note(pod, claim) for claim in claims]
        await self._save()
        batches: defaultdict[str, list[PreparedClaim]] = defaultdict(list)
        unprepared = {claim.uid: claim for claim in noted if not claim.is_prepared}
        for claim in unprepared.values():
            for driver in claim.drivers:
                batches[driver].append(claim)
        for driver, batch in batches.items():
            prepared = await self._drivers.find(driver).prepare(
                [claim.message() for claim in batch]
            )
            for claim in batch:
                claim.drivers[driver] = [
                    _prepared(driver, device) for device in prepared[claim.uid]
                ]
        for claim in unprepared.values():
            claim.is_prepared = True
        await self._save()

    def _note(self, pod: core_v1.Pod, claim: v1.ResourceClaim) -> PreparedClaim:
        """Raises DriverError."""
        meta = claim.metadata
        drivers: dict[str, list[PreparedDevice]] = {name: [] for name in _drivers_of(claim)}
        new = PreparedClaim(meta.uid, meta.namespace, meta.name, drivers=drivers)
        noted = self._claims.setdefault((meta.namespace, meta.name), new)
        if noted.uid != meta.uid:
            raise DriverError(
                f"old ResourceClaim with same name {meta.name} and different UID {noted.uid} "
                "still exists (previous pod force-deleted?!)"
            )
        noted.pods.add(pod.metadata.uid)
        return noted

    # --- what a container gets ---

    def cdi(self, pod: core_v1.Pod, container: core_v1.Container) -> list[str]:
        """Names of the devices that a container uses. Raises DriverError."""
        names: list[str] = []
        for use in _uses(pod, container):
            noted = self._claims.get((pod.metadata.namespace, use.claim))
            if noted is None:
                text = f"internal error: unable to get claim info for ResourceClaim {use.claim}"
                raise DriverError(f"{text} in namespace {pod.metadata.namespace}")
            names += [cdi for device in noted.of(use.request) for cdi in device.cdi]
        return list(dict.fromkeys(names))

    def held(self, pod: core_v1.Pod, container: core_v1.Container) -> list[PreparedClaim]:
        """The claims that a container uses, those that are prepared. Raises DriverError."""
        names = dict.fromkeys(use.claim for use in _uses(pod, container))
        prepared = (self._claims.get((pod.metadata.namespace, name)) for name in names)
        return [claim for claim in prepared if claim is not None]

    def pods_with(self, places: set[str]) -> set[str]:
        """Uids of the pods that use any of these devices."""
        return {
            uid
            for claim in self._claims.values()
            for devices in claim.drivers.values()
            if any(device.place in places for device in devices)
            for uid in claim.pods
        }

    def shown(
        self, pod: core_v1.Pod, container: core_v1.Container
    ) -> dict[str, list[PreparedDevice]]:
        """The devices that a container uses, by the claim or the request of it that they are of,
        as its status names both. Those of extended resources it does not show (upstream)."""
        shown = {}
        for use in _uses(pod, container):
            noted = self._claims.get((pod.metadata.namespace, use.claim))
            if use.entry and noted is not None and (devices := noted.of(use.request)):
                label = f"claim:{use.entry}"
                shown[f"{label}/{use.request}" if use.request else label] = devices
        return shown

    # --- after a pod's end ---

    async def release(self, uid: str) -> None:
        """Unprepares what a pod used, of which nothing runs any more. May be called again. Raises
        DriverError, OSError."""
        if not self._uses(uid):
            return
        async with self._changing:
            await self._unprepare(uid)

    def _uses(self, uid: str) -> list[PreparedClaim]:
        return [claim for claim in self._claims.values() if uid in claim.pods]

    async def _unprepare(self, uid: str) -> None:
        batches: defaultdict[str, list[m.Claim]] = defaultdict(list)
        used = self._uses(uid)
        last = [claim for claim in used if claim.pods == {uid}]
        for claim in last:
            claim.is_prepared = False  # a pod that comes meanwhile has it prepared again
            for driver in claim.drivers:
                batches[driver].append(claim.message())
        for driver, batch in batches.items():
            await self._drivers.find(driver).unprepare(batch)
        for claim in last:
            del self._claims[claim.namespace, claim.name]
        for claim in used:
            claim.pods.discard(uid)
        await self._save()

    async def reconcile(self, active: set[str]) -> None:
        """Unprepares what pods used that are not among the uids `active`: they went while no agent
        was there, or without one that could end them."""
        users = {uid for claim in self._claims.values() for uid in claim.pods}
        for uid in users - active:
            try:
                await self.release(uid)
            except (DriverError, OSError) as error:
                log.info("Devices of pod %s are not given back yet: %s", uid, error)

    async def _save(self) -> None:
        """Raises OSError."""
        await self._checkpoint.write(list(self._claims.values()))


def _prepared(driver: str, device: m.Device) -> PreparedDevice:
    place = f"{driver}/{device.pool_name}/{device.device_name}"
    return PreparedDevice(device.request_names, device.cdi_device_ids, place, device.share_id)


class _Use(NamedTuple):
    """What a container uses of a claim.

    entry: the claim's name in the pod; "" is that of its extended resources
    request: of the claim; "" means all of it"""

    entry: str
    claim: str
    request: str


def _uses(pod: core_v1.Pod, container: core_v1.Container) -> list[_Use]:
    """Raises DriverError."""
    uses = []
    if container.resources.claims:
        names = _names(pod)
        uses = [
            _Use(claim.name, names[claim.name], claim.request)
            for claim in container.resources.claims
            if claim.name in names  # else the pod turned out to need none
        ]
    special = special_claim_of(pod)
    return uses + [_Use("", special, request) for _, request in request_names(pod, container)]


def _names(pod: core_v1.Pod) -> dict[str, str]:
    """ResourceClaims by their names in the pod. Raises DriverError."""
    try:
        return dict(claims_of(pod))
    except NotMade as missing:
        raise DriverError(f"ResourceClaim of {missing} not created yet") from None


def _drivers_of(claim: v1.ResourceClaim) -> Iterable[str]:
    assert claim.status.allocation is not None
    results = claim.status.allocation.devices.results
    return dict.fromkeys(result.driver for result in results)


def _obstacle(pod: core_v1.Pod, entry: str, claim: v1.ResourceClaim) -> str:
    """Why a pod cannot use a claim here; "" if it can. `entry` names the claim in the pod's spec,
    "" is that of its extended resources."""
    name = claim.metadata.name
    meta = pod.metadata
    is_templated = any(
        reference.name == entry and reference.resource_claim_template_name
        for reference in pod.spec.resource_claims
    )
    if is_templated and not belongs_to(claim, pod):
        return f"ResourceClaim {name} was not created for pod {meta.name} (pod is not owner)"
    if not is_reserved_for(claim, pod):
        return (
            f"pod {meta.name} ({meta.uid}) is not allowed to use "
            f"ResourceClaim {name} ({claim.metadata.uid})"
        )
    if claim.status.allocation is None:
        return f"ResourceClaim {name}: not allocated"
    return ""
