"""Drivers of dynamic resource allocation, as the node calls them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

from tiphys.api.base import Struct
from tiphys.client.tasks import TaskGroup
from tiphys.node.devices import dramessages as m
from tiphys.node.plugins.channel import PluginChannel, PluginError
from tiphys.node.plugins.watcher import Plugin, PluginRefused
from tiphys.node.volumes.kubeletfolder import KubeletFolder

T = TypeVar("T", bound=Struct)

# The versions that the node speaks, by the names that drivers announce: the same messages.
_SERVICES = {
    "v1.DRAPlugin": "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin",
    "v1beta1.DRAPlugin": "k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin",
}
HEALTH = "v1alpha1.DRAResourceHealth"  # of a driver that says how its devices are
_TAKEN_AT_ONCE = 1000  # devices of a message, in one turn of the event loop
_WATCH_AGAIN = 5.0  # seconds after it broke off, as upstream
_CALL = 45.0  # seconds, as upstream


class DriverError(Exception):
    """A driver cannot be called or failed, in upstream's words."""


@dataclass(frozen=True)
class Driver:
    """One plugin of a driver. A channel is opened for each call: they are rare, and a driver that
    restarts has a new socket."""

    name: str
    endpoint: str
    service: str
    folder: KubeletFolder

    async def prepare(self, claims: list[m.Claim]) -> dict[str, list[m.Device]]:
        """The devices of each claim, by its uid. Raises DriverError."""
        method = "NodePrepareResources"
        answer = await self._call(
            method, m.NodePrepareResourcesRequest(claims=claims), m.NodePrepareResourcesResponse
        )
        errors = {uid: result.error for uid, result in answer.claims.items()}
        _check(method, claims, errors)
        return {uid: result.devices for uid, result in answer.claims.items()}

    async def unprepare(self, claims: list[m.Claim]) -> None:
        """Raises DriverError."""
        method = "NodeUnprepareResources"
        answer = await self._call(
            method,
            m.NodeUnprepareResourcesRequest(claims=claims),
            m.NodeUnprepareResourcesResponse,
        )
        _check(method, claims, {uid: result.error for uid, result in answer.claims.items()})

    async def healths(self) -> AsyncIterator[list[m.DeviceHealth]]:
        """What the driver says of its devices, whenever it says something. Raises DriverError."""
        try:
            channel = PluginChannel(self.folder, self.endpoint)
            try:
                method = f"{HEALTH}/NodeWatchResources"
                request = m.NodeWatchResourcesRequest()
                answers = channel.stream(method, request, m.NodeWatchResourcesResponse)
                async for answer in answers:
                    yield answer.devices
            finally:
                await channel.close()
        except PluginError as error:
            raise DriverError(f"NodeWatchResources: {error}") from None

    async def _call(self, method: str, request: Struct, response: type[T]) -> T:
        try:
            channel = PluginChannel(self.folder, self.endpoint)
            try:
                return await channel.call(f"{self.service}/{method}", request, response, _CALL)
            finally:
                await channel.close()
        except PluginError as error:
            raise DriverError(f"{method}: {error}") from None


def _check(method: str, claims: list[m.Claim], errors: dict[str, str]) -> None:
    """Whether a driver has done what it was asked for. `errors` are by the uids of claims. Raises
    DriverError."""
    names = {claim.uid: claim.name for claim in claims}
    for uid, error in errors.items():
        if uid not in names:
            raise DriverError(f"{method} returned result for unknown claim UID {uid}")
        if error:
            raise DriverError(f"{method} failed for ResourceClaim {names[uid]}: {error}")
    if missing := len(claims) - len(errors):
        raise DriverError(f"{method} skipped {missing} ResourceClaims")


class Drivers:
    """The drivers that are registered, each with the plugins that it has, the newest last: while a
    driver is updated there are two."""

    def __init__(
        self,
        folder: KubeletFolder,
        take_health: Callable[[str, list[m.DeviceHealth]], None] = lambda driver, devices: None,
    ) -> None:
        """`take_health` is called with what a driver says of its devices."""
        self._folder = folder
        self._take_health = take_health
        self._plugins: dict[str, list[Driver]] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}  # by endpoint
        self._tasks = TaskGroup("dra")

    def find(self, name: str) -> Driver:
        """Raises DriverError."""
        if not name:
            raise DriverError("DRA driver name is empty")
        if name not in self._plugins:
            raise DriverError(f"DRA driver {name} is not registered")
        return self._plugins[name][-1]

    def usable(self) -> set[str]:
        """The drivers whose plugin is served. Connects to sockets."""
        return {
            name
            for name, plugins in self._plugins.items()
            if any(plugin.folder.is_served(plugin.endpoint) for plugin in plugins)
        }

    def names(self) -> set[str]:
        """The drivers that are registered."""
        return set(self._plugins)

    def validate(self, plugin: Plugin) -> None:
        """Raises PluginRefused."""
        self._service(plugin)

    async def register(self, plugin: Plugin) -> None:
        """Raises PluginRefused."""
        driver = Driver(plugin.name, plugin.endpoint, self._service(plugin), self._folder)
        registered = self._plugins.setdefault(plugin.name, [])
        if any(other.endpoint == plugin.endpoint for other in registered):
            text = f"endpoint {plugin.endpoint} already registered for DRA driver plugin"
            raise PluginRefused(f"{text} {plugin.name}")
        registered.append(driver)
        if HEALTH in plugin.versions:
            watch = self._tasks.start(self._watch(driver), f"health-{plugin.name}")
            self._watches[plugin.endpoint] = watch

    async def _watch(self, driver: Driver) -> None:
        """Until the plugin is gone. One that breaks off is asked again."""
        while True:
            with contextlib.suppress(DriverError):
                async for devices in driver.healths():
                    for start in range(0, len(devices), _TAKEN_AT_ONCE):
                        self._take_health(driver.name, devices[start : start + _TAKEN_AT_ONCE])
                        await asyncio.sleep(0)  # a message may have a hundred thousand of them
            await asyncio.sleep(_WATCH_AGAIN)

    async def stop(self) -> None:
        await self._tasks.stop()

    async def deregister(self, plugin: Plugin) -> None:
        if (watch := self._watches.pop(plugin.endpoint, None)) is not None:
            watch.cancel()
        registered = self._plugins.get(plugin.name, [])
        left = [other for other in registered if other.endpoint != plugin.endpoint]
        if left:
            self._plugins[plugin.name] = left
        else:
            self._plugins.pop(plugin.name, None)

    def _service(self, plugin: Plugin) -> str:
        problem = "empty list of supported gRPC services (aka supported versions)"
        if plugin.versions:
            theirs = " ".join(f'"{version}"' for version in plugin.versions)
            ours = " ".join(f'"{version}"' for version in _SERVICES)
            problem = f"none of services supported by the plugin ([{theirs}]) are supported"
            problem = f"{problem} by the kubelet ([{ours}])"
        for version in plugin.versions:
            if version in _SERVICES:
                return _SERVICES[version]
        text = f"invalid supported gRPC versions of DRA driver plugin {plugin.name}"
        raise PluginRefused(f"{text} at endpoint {plugin.endpoint}: {problem}")
