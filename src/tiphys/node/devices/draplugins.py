"""Drivers of dynamic resource allocation, as the node calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from tiphys.api.base import Struct
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

    def __init__(self, folder: KubeletFolder) -> None:
        self._folder = folder
        self._plugins: dict[str, list[Driver]] = {}

    def find(self, name: str) -> Driver:
        """Raises DriverError."""
        if not name:
            raise DriverError("DRA driver name is empty")
        if name not in self._plugins:
            raise DriverError(f"DRA driver {name} is not registered")
        return self._plugins[name][-1]

    def usable(self) -> set[str]:
        """The drivers with a plugin that somebody serves. Looks at sockets."""
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

    async def deregister(self, plugin: Plugin) -> None:
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
