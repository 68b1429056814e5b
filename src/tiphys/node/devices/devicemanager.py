"""Devices of device plugins: how many the node has, and which of them a container gets."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tiphys.api import core_v1
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import protobuf, quantity
from tiphys.machinery.extendedresources import request_names
from tiphys.node.containers.restartpolicy import is_sidecar
from tiphys.node.devices import pluginmessages as m
from tiphys.node.devices.allocations import (
    AllocationError,
    Allocations,
    Grant,
    check_health,
    check_present,
    check_room,
    pick,
)
from tiphys.node.devices.deviceplugins import (
    Endpoint,
    RegistrationError,
    RegistrationServer,
    check,
    socket_of,
)
from tiphys.node.devices.deviceresources import Count, HeldDevice, Resource, ResourceView
from tiphys.node.devices.edits import ContainerEdits
from tiphys.node.plugins.watcher import Plugin, PluginRefused
from tiphys.node.runtime import DeviceNode, Mount
from tiphys.node.volumes.kubeletfolder import KubeletFolder

log = logging.getLogger(__name__)

_FORGOTTEN = 300.0  # seconds after which a resource without a plugin is no more, as upstream
_HEALTHY = "Healthy"


class DeviceManager:
    """`file` remembers allocations. `active` gives the uids of the pods that have not ended;
    `changed` is called when the node has more or fewer devices, `unwell` with the uids of pods
    whose devices may have changed their health."""

    def __init__(
        self,
        folder: KubeletFolder,
        file: Path,
        active: Callable[[], set[str]],
        changed: Callable[[], None],
        unwell: Callable[[set[str]], None] = lambda uids: None,
    ) -> None:
        self._folder = folder
        self._active = active
        self._changed = changed
        self._unwell = unwell
        self._allocations = Allocations(file)
        now = time.monotonic()
        self._resources = {name: Resource(stopped_at=now) for name in self._allocations.resources}
        self._server = RegistrationServer(folder, self._on_register)
        self._tasks = TaskGroup("device-plugins")
        self._allocating = asyncio.Lock()
        self._affinity: dict[tuple[str, str], frozenset[int] | None] = {}  # by uid and container

    async def start(self) -> None:
        """Raises OSError."""
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()
        await self._tasks.stop()

    # --- plugins ---

    async def _on_register(self, request: m.RegisterRequest) -> None:
        await self._connect(request.resource_name, socket_of(request))

    def validate(self, plugin: Plugin) -> None:
        """For plugins that register as those of other types do. Raises PluginRefused."""
        try:
            check(plugin.name, *plugin.versions)
        except RegistrationError as error:
            raise PluginRefused(str(error)) from None

    async def register(self, plugin: Plugin) -> None:
        """Raises PluginError."""
        await self._connect(plugin.name, plugin.endpoint)

    async def deregister(self, plugin: Plugin) -> None:
        known = self._resources.get(plugin.name)
        if known is not None and known.endpoint is not None and known.path == plugin.endpoint:
            await known.endpoint.close()  # its watch ends, and the resource with it

    async def _connect(self, name: str, path: str) -> None:
        endpoint = Endpoint(name, self._folder, path)
        try:
            await endpoint.connect()
        except BaseException:
            await endpoint.close()
            raise
        log.info("Device plugin of %s is connected", name)
        resource = self._resources.setdefault(name, Resource())
        before = resource.endpoint
        resource.endpoint = endpoint
        resource.path = path
        self._tasks.start(self._watch(resource, endpoint), name)
        if before is not None:
            await before.close()
        await self._save()

    async def _watch(self, resource: Resource, endpoint: Endpoint) -> None:
        try:
            await endpoint.watch(lambda devices: self._show(resource, endpoint, devices))
        finally:
            if resource.endpoint is endpoint:
                log.info("Device plugin of %s is gone", endpoint.resource)
                resource.endpoint = None
                resource.stopped_at = time.monotonic()
                self._set(endpoint.resource, dict.fromkeys(resource.devices, False))
                await endpoint.close()

    def _show(self, resource: Resource, endpoint: Endpoint, devices: list[m.Device]) -> None:
        if resource.endpoint is endpoint:
            healths = {device.ID: device.health == _HEALTHY for device in devices}
            resource.nodes = {
                device.ID: tuple(node.ID for node in device.topology.nodes)
                for device in devices
                if device.topology is not None
            }
            self._set(endpoint.resource, healths)

    def _set(self, name: str, healths: dict[str, bool]) -> None:
        resource = self._resources.get(name)
        if resource is None or resource.devices == healths:
            return
        resource.devices = healths
        self._changed()
        self._unwell(self._allocations.pods_with(name))

    async def _save(self) -> None:
        try:
            await self._allocations.save(self._resources)
        except OSError as error:
            log.warning("Allocations of devices cannot be written down: %s", error)

    # --- what the node has ---

    def counts(self) -> dict[str, Count]:
        """By resource. One whose plugin has been gone for five minutes counts as zero, once, and
        is forgotten, as upstream does it."""
        counts = {}
        now = time.monotonic()
        for name, resource in list(self._resources.items()):
            if resource.endpoint is None and now - resource.stopped_at > _FORGOTTEN:
                del self._resources[name]
                counts[name] = Count(0, 0)
            else:
                counts[name] = Count(len(resource.devices), len(resource.healthy()))
        return counts

    def health(self, uid: str, container: str) -> dict[str, dict[str, str]]:
        """Health by device, by resource, of what a container has."""
        return {
            name: {device: self._health_of(name, device) for device in sorted(grant.devices)}
            for name, grant in self._allocations.of(uid, container).items()
        }

    def _health_of(self, name: str, device: str) -> str:
        resource = self._resources.get(name)
        if resource is None or device not in resource.devices:
            return "Unknown"
        return _HEALTHY if resource.devices[device] else "Unhealthy"

    def held(self, uid: str, container: str) -> list[HeldDevice]:
        """What a container has."""
        return [
            HeldDevice(name, device, self._nodes_of(name, device))
            for name, grant in self._allocations.of(uid, container).items()
            for device in sorted(grant.devices)
        ]

    def healthy(self) -> list[HeldDevice]:
        """All that containers can have, used or not."""
        return [
            HeldDevice(name, device, self._nodes_of(name, device))
            for name, resource in self._resources.items()
            for device in sorted(resource.healthy())
        ]

    def _nodes_of(self, name: str, device: str) -> tuple[int, ...]:
        resource = self._resources.get(name)
        return resource.nodes.get(device, ()) if resource is not None else ()

    # --- where devices are, for who places pods ---

    def view(self, name: str) -> ResourceView:
        """Of a resource, as it is now."""
        resource = self._resources.get(name, Resource())
        nodes = {device: resource.nodes.get(device, ()) for device in list(resource.devices)}
        return ResourceView(nodes, resource.healthy() - self._allocations.in_use(name))

    def ids_held(self, uid: str, containers: Iterable[str]) -> dict[str, set[str]]:
        """By resource: what containers of a pod have."""
        held: dict[str, set[str]] = {}
        for container in containers:
            for name, grant in list(self._allocations.of(uid, container).items()):
                held.setdefault(name, set()).update(grant.devices)
        return held

    def note_affinity(self, uid: str, container: str, nodes: Iterable[int] | None) -> None:
        """Where a container is to have its devices from; None: anywhere. They are chosen when the
        pod is let in."""
        self._affinity[uid, container] = frozenset(nodes) if nodes is not None else None

    # --- what containers get ---

    def wanted(self, pod: core_v1.Pod, container: core_v1.Container) -> dict[str, int]:
        """How many devices of each resource a container wants. What is of no plugin, and never
        was, is counted elsewhere; and what the scheduler has given by a claim."""
        claimed = {resource for resource, _ in request_names(pod, container)}
        return {
            name: quantity.ceil_units(amount)
            for name, amount in container.resources.limits.items()
            if name not in claimed
            and (name in self._resources or ("/" in name and self._allocations.has(name)))
        }

    async def allocate(self, pod: core_v1.Pod) -> None:
        """Chooses the devices of all containers of a pod. Init containers run before the others,
        which may have the same devices then. Raises AllocationError, PluginError, OSError."""
        spec = pod.spec
        containers = [*spec.init_containers, *spec.containers]
        if not any(self.wanted(pod, container) for container in containers):
            return
        async with self._allocating:
            try:
                await self._allocate_all(pod)
            except BaseException:
                self._allocations.free(pod.metadata.uid)
                raise
            finally:
                await self._save()

    async def _allocate_all(self, pod: core_v1.Pod) -> None:
        uid = pod.metadata.uid
        reusable: dict[str, set[str]] = {}
        for init in pod.spec.init_containers:
            await self._allocate(pod, init, reusable)
            for name, grant in self._allocations.of(uid, init.name).items():
                known = reusable.setdefault(name, set())
                if is_sidecar(init):
                    known.difference_update(grant.devices)
                else:
                    known.update(grant.devices)
        for container in pod.spec.containers:
            await self._allocate(pod, container, reusable)
            for name, grant in self._allocations.of(uid, container.name).items():
                reusable.get(name, set()).difference_update(grant.devices)

    async def _allocate(
        self, pod: core_v1.Pod, container: core_v1.Container, reusable: dict[str, set[str]]
    ) -> None:
        uid = pod.metadata.uid
        for name, count in self.wanted(pod, container).items():
            self._allocations.keep(self._active() | {uid})
            held = self._allocations.of(uid, container.name).get(name)
            devices = held.devices if held is not None else None
            needed = check_present((uid, container.name), name, devices, count)
            known = self._resources.get(name)
            check_health(name, known.healthy() if known is not None else None, devices or ())
            if needed == 0 or known is None:
                continue
            if known.endpoint is None:
                raise AllocationError(f"endpoint {name} has been stopped")
            near = self._affinity.get((uid, container.name))
            again = pick(needed, reusable.get(name, set()))
            chosen = await self._choose(name, known, needed, again, near)
            response = await known.endpoint.allocate(chosen)
            encoded = bytes(protobuf.encode(response))
            self._allocations.put(uid, container.name, name, Grant(chosen, encoded))

    async def _choose(
        self,
        name: str,
        known: Resource,
        needed: int,
        again: list[str],
        near: frozenset[int] | None,
    ) -> list[str]:
        """`again` are devices that containers before this one leave it, `near` NUMA nodes that it
        is to have its devices from. Raises AllocationError, PluginError."""
        if len(again) == needed:
            return again
        missing = needed - len(again)
        available = known.healthy() - self._allocations.in_use(name)
        check_room(name, missing, available)
        aligned = known.near(available, near)
        if len(aligned) <= missing:  # all of them, whatever the plugin would like
            again = [*again, *pick(missing, aligned)]
            missing = needed - len(again)
            available -= set(again)
        else:
            available = aligned
        if not missing:
            return again
        preferred: list[str] = []
        endpoint = known.endpoint
        if endpoint is not None and endpoint.options.get_preferred_allocation_available:
            offered = sorted(available.union(again))
            preferred = await endpoint.preferred(offered, again, needed)
        unaligned = {device for device in available if known.nodes.get(device)}
        return again + pick(missing, available.intersection(preferred), unaligned, available)

    async def edits(self, pod: core_v1.Pod, container: core_v1.Container) -> ContainerEdits:
        """What a container that is about to start needs for its devices. Raises AllocationError,
        PluginError, OSError."""
        edits = ContainerEdits()
        uid = pod.metadata.uid
        wanted = {name: count for name, count in self.wanted(pod, container).items() if count}
        if not wanted:
            return edits
        for name in wanted:
            await self._pre_start(uid, container.name, name)
        if any(name not in self._allocations.of(uid, container.name) for name in wanted):
            async with self._allocating:
                await self._allocate(pod, container, {})
                await self._save()
        for grant in self._allocations.of(uid, container.name).values():
            response = protobuf.decode(grant.response, m.ContainerAllocateResponse)
            edits.add(_edits(response, self._folder))
        return edits

    async def _pre_start(self, uid: str, container: str, name: str) -> None:
        known = self._resources.get(name)
        if known is None:
            text = f"endpoint not found in cache for a registered resource: {name}"
            raise AllocationError(text)
        if known.endpoint is None or not known.endpoint.options.pre_start_required:
            return
        grant = self._allocations.of(uid, container).get(name)
        if grant is None:
            text = f"no devices found allocated in local cache for pod {uid}"
            raise AllocationError(f"{text}, container {container}, resource {name}")
        await known.endpoint.pre_start(grant.devices)

    async def keep(self, active: set[str]) -> None:
        """Frees what all other pods had."""
        for key in [key for key in self._affinity if key[0] not in active]:
            del self._affinity[key]
        if self._allocations.keep(active):
            await self._save()


def _edits(response: m.ContainerAllocateResponse, folder: KubeletFolder) -> ContainerEdits:
    """Raises OSError."""
    return ContainerEdits(
        env=dict(response.envs),
        mounts=[
            Mount(folder.place(mount.host_path), mount.container_path, mount.read_only)
            for mount in response.mounts
        ],
        devices=[
            DeviceNode(folder.place(device.host_path), device.container_path, device.permissions)
            for device in response.devices
        ],
        annotations=dict(response.annotations),
        cdi=[device.name for device in response.cdi_devices],
    )
