"""All devices of a node, as its pods' workers and its agent see them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from tiphys.api import core_v1
from tiphys.client.client import Client
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.devices import special_claim_of
from tiphys.node.devices import cdi
from tiphys.node.devices import dramessages as m
from tiphys.node.devices.allocations import AllocationError
from tiphys.node.devices.claims import Claims, PreparedClaim
from tiphys.node.devices.devicemanager import DeviceManager
from tiphys.node.devices.deviceresources import Count, HeldDevice
from tiphys.node.devices.draplugins import DriverError, Drivers
from tiphys.node.devices.edits import ContainerEdits
from tiphys.node.devices.healths import DeviceHealths, Health
from tiphys.node.devices.slices import DriverSlices
from tiphys.node.plugins.channel import PluginError
from tiphys.node.plugins.watcher import PluginHandler, PluginWatcher
from tiphys.node.resources.admission import Rejection
from tiphys.node.runtime import RuntimeFault
from tiphys.node.volumes.kubeletfolder import KubeletFolder

HealthsByResource = dict[str, dict[str, Health]]  # by device, by resource or claim


class ClaimDevice(NamedTuple):
    """A device of a claim, by its driver, pool and name there."""

    driver: str
    pool: str
    device: str
    cdi: tuple[str, ...]
    share: str | None


class HeldClaim(NamedTuple):
    """A claim that a container uses."""

    namespace: str
    name: str
    devices: tuple[ClaimDevice, ...]


def _held(claim: PreparedClaim) -> HeldClaim:
    devices = []
    for prepared in claim.drivers.values():
        for prepared_device in prepared:
            driver, _, rest = prepared_device.place.partition("/")
            pool, _, device = rest.rpartition("/")
            devices.append(
                ClaimDevice(driver, pool, device, tuple(prepared_device.cdi), prepared_device.share)
            )
    return HeldClaim(claim.namespace, claim.name, tuple(devices))


class NodeDevices(Protocol):
    """What gives pods their devices."""

    async def allocate(self, pod: core_v1.Pod) -> Rejection | None:
        """Before a pod is admitted: why it cannot have its devices, None if it has them."""
        ...

    async def prepare(self, pod: core_v1.Pod) -> None:
        """Before its sandbox is made. Raises RuntimeFault."""
        ...

    async def edits(self, pod: core_v1.Pod, container: core_v1.Container) -> ContainerEdits:
        """What a container that is about to start needs. Raises RuntimeFault."""
        ...

    async def release(self, pod: core_v1.Pod) -> None:
        """After the last container of a pod has ended, and before its status says so: another
        pod may get its claims then. Raises RuntimeFault."""
        ...

    def health(self, pod: core_v1.Pod, container: core_v1.Container) -> HealthsByResource:
        """Of the devices that a container has: by resource or claim, health by device."""
        ...


class NoDevices:
    """For nodes whose containers need none."""

    async def allocate(self, pod: core_v1.Pod) -> Rejection | None:
        return None

    async def prepare(self, pod: core_v1.Pod) -> None: ...

    async def edits(self, pod: core_v1.Pod, container: core_v1.Container) -> ContainerEdits:
        return ContainerEdits()

    async def release(self, pod: core_v1.Pod) -> None: ...

    def health(self, pod: core_v1.Pod, container: core_v1.Container) -> HealthsByResource:
        return {}


class DriverDevices:
    """Devices of drivers that run on the node, most of them in pods.

    name: of the node
    data: the node's folder; allocations are remembered there
    folder: what pods see as /var/lib/kubelet
    active: gives the uids of the node's pods that have not ended
    changed: called when the node has more or fewer devices
    plugins: the devices of device plugins
    unwell: called with the uids of pods whose devices may have changed their health
    """

    def __init__(
        self,
        client: Client,
        name: str,
        data: Path,
        folder: KubeletFolder,
        active: Callable[[], set[str]],
        changed: Callable[[], None],
        unwell: Callable[[set[str]], None],
    ) -> None:
        self._client = client
        self._name = name
        self._active = active
        file = data / "device-plugins.json"
        self.plugins = DeviceManager(folder, file, active, changed, unwell)
        self._healths = DeviceHealths()
        self._unwell = unwell
        self._drivers = Drivers(folder, self._note_health)
        self._slices = DriverSlices(client, name)
        self._claims = Claims(client, self._drivers, data / "claims.json")
        self.applies_cdi = False  # whether the runtime does
        self._handlers: dict[str, PluginHandler] = {
            "DevicePlugin": self.plugins,
            "DRAPlugin": self._drivers,
        }
        self._watcher = PluginWatcher(folder, self._handlers)
        self._tasks = TaskGroup("devices")

    def take(self, kind: str, handler: PluginHandler) -> None:
        """Hands plugins of one more type to a handler, from the start on."""
        self._handlers[kind] = handler

    async def start(self) -> None:
        """Raises OSError."""
        await self.plugins.start()
        self._tasks.start(self._watcher.run(), "plugins", vital=True)

    async def stop(self) -> None:
        await self._tasks.stop()
        await self._drivers.stop()
        await self.plugins.stop()

    def counts(self) -> dict[str, Count]:
        """By resource."""
        return self.plugins.counts()

    async def keep_house(self) -> None:
        """Gives back what pods have that are gone, and takes from the scheduler what drivers offer
        that are gone."""
        if expired := self._healths.expire(time.monotonic()):
            self._unwell(self._claims.pods_with(expired))
        active = self._active()
        await self.plugins.keep(active)
        await self._claims.reconcile(active)
        await self._slices.look(await asyncio.to_thread(self._drivers.usable))

    def _note_health(self, driver: str, devices: list[m.DeviceHealth]) -> None:
        """What a driver says of its devices."""
        changed = self._healths.take(driver, devices, time.monotonic())
        if changed:
            self._unwell(self._claims.pods_with(changed))

    # --- what is reported of them ---

    def held(self, uid: str, container: str) -> list[HeldDevice]:
        """The devices of plugins that a container has."""
        return self.plugins.held(uid, container)

    def healthy(self) -> list[HeldDevice]:
        """Those that containers can have, used or not."""
        return self.plugins.healthy()

    def claims(self, pod: core_v1.Pod, container: core_v1.Container) -> list[HeldClaim]:
        """The claims that a container uses."""
        with contextlib.suppress(DriverError):
            return [_held(claim) for claim in self._claims.held(pod, container)]
        return []

    # --- for a pod ---

    async def allocate(self, pod: core_v1.Pod) -> Rejection | None:
        try:
            await self.plugins.allocate(pod)
        except (AllocationError, PluginError, OSError) as error:
            text = f"Allocate failed due to {error}, which is unexpected"
            return Rejection("UnexpectedAdmissionError", text)
        return None

    async def prepare(self, pod: core_v1.Pod) -> None:
        if pod.spec.resource_claims or special_claim_of(pod):
            await self._claims.prepare(pod)

    async def edits(self, pod: core_v1.Pod, container: core_v1.Container) -> ContainerEdits:
        try:
            edits = await self.plugins.edits(pod, container)
            edits.cdi += [
                name for name in self._claims.cdi(pod, container) if name not in edits.cdi
            ]
            if edits.cdi and not self.applies_cdi:
                described = await asyncio.to_thread(cdi.read, edits.cdi)
                edits.cdi = []
                described.add(edits)  # what a file describes goes before, as in newer runtimes
                edits = described
        except (AllocationError, PluginError, DriverError, cdi.CDIError, OSError) as error:
            raise RuntimeFault("CreateContainerConfigError", str(error)) from None
        return edits

    async def release(self, pod: core_v1.Pod) -> None:
        try:
            await self._claims.release(pod.metadata.uid)
        except (DriverError, OSError) as error:
            text = f"unprepare dynamic resources: {error}"
            raise RuntimeFault("FailedUnprepareDynamicResources", text) from None

    def health(self, pod: core_v1.Pod, container: core_v1.Container) -> HealthsByResource:
        shown = {
            resource: {device: Health(state) for device, state in states.items()}
            for resource, states in self.plugins.health(pod.metadata.uid, container.name).items()
        }
        with contextlib.suppress(DriverError):
            for label, devices in self._claims.shown(pod, container).items():
                now = time.monotonic()
                shown[label] = {
                    device.id(): self._healths.of(device.place, now) for device in devices
                }
        return shown
