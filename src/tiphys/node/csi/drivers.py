"""The CSI drivers that are registered on this node."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tiphys.api.base import Struct
from tiphys.client.client import Unreachable
from tiphys.machinery.errors import StatusError
from tiphys.node.csi import messages as m
from tiphys.node.csi.nodeinfo import DriverFacts, NodeInfo, NodeInfoError
from tiphys.node.plugins.channel import PluginChannel, PluginError
from tiphys.node.plugins.watcher import Plugin, PluginRefused
from tiphys.node.volumes.kubeletfolder import KubeletFolder
from tiphys.node.volumes.volumefiles import VolumeError

log = logging.getLogger(__name__)
T = TypeVar("T", bound=Struct)
Period = Callable[[str], Awaitable[int]]

_TIMEOUT = 120.0  # seconds that a call may take, as upstream
_VERSION = re.compile(r"v?1\.\d+(\.\d+)?([-+].*)?")  # 0.x is not spoken any more, 2.x not yet


class Driver:
    """One driver. `can` are the capabilities of its Node service (RPC.Type).

    Each call looks its socket up again, as upstream: the driver may have restarted without the side
    car that registered it.
    """

    def __init__(self, name: str, folder: KubeletFolder, endpoint: str) -> None:
        self.name = name
        self.can: frozenset[int] = frozenset()
        self._folder = folder
        self._endpoint = endpoint
        self.asked_at = time.monotonic()  # what it says of this node

    async def call(self, method: str, request: Struct, response: type[T]) -> T:
        """Calls a method of its Node service. Raises PluginError."""
        channel = PluginChannel(self._folder, self._endpoint)
        try:
            return await channel.call(f"csi.v1.Node/{method}", request, response, _TIMEOUT)
        finally:
            await channel.close()

    async def facts(self) -> DriverFacts:
        """Asks what it says of itself and this node. Raises PluginError."""
        asked = m.NodeGetCapabilitiesRequest()
        answer = await self.call("NodeGetCapabilities", asked, m.NodeGetCapabilitiesResponse)
        self.can = frozenset(row.rpc.type for row in answer.capabilities if row.rpc is not None)
        info = await self.call("NodeGetInfo", m.NodeGetInfoRequest(), m.NodeGetInfoResponse)
        topology = info.accessible_topology
        segments = dict(topology.segments) if topology is not None else {}
        return DriverFacts(self.name, info.node_id, info.max_volumes_per_node, segments)


class Drivers:
    """Takes the plugins of the type CSIPlugin (`plugins.watcher.PluginHandler`)."""

    def __init__(self, folder: KubeletFolder, info: NodeInfo) -> None:
        self._folder = folder
        self._info = info
        self._drivers: dict[str, Driver] = {}
        self.ready = asyncio.Event()  # cleared until the node is registered itself
        self.ready.set()
        self._lock = asyncio.Lock()  # CSINode is written by one registration at a time

    def get(self, name: str) -> Driver:
        """Raises VolumeError, in upstream's words."""
        driver = self._drivers.get(name)
        if driver is None:
            problem = f"driver name {name} not found in the list of registered CSI drivers"
            raise VolumeError(problem)
        return driver

    # --- registration ---

    def validate(self, plugin: Plugin) -> None:
        """Raises PluginRefused."""
        where = f"validation failed for CSI Driver {plugin.name} at endpoint {plugin.endpoint}: "
        failure = f'kubernetes.io/csi: ValidatePlugin for CSI driver "{plugin.name}" failed. '
        if not plugin.versions:
            empty = "Plugin returned an empty list for supported versions"
            raise PluginRefused(f"{where}{failure}{empty}")
        if not any(_VERSION.fullmatch(version) for version in plugin.versions):
            shown = " ".join(f'"{version}"' for version in plugin.versions)
            none = f"None of the versions specified [{shown}] are supported"
            raise PluginRefused(f"{where}{failure}{none}")

    async def register(self, plugin: Plugin) -> None:
        """Raises PluginRefused, PluginError."""
        await self.ready.wait()
        driver = Driver(plugin.name, self._folder, plugin.endpoint)
        try:
            facts = await driver.facts()
            async with self._lock:
                await self._info.install(facts)
        except (NodeInfoError, StatusError, Unreachable) as error:
            raise PluginRefused(str(error)) from None
        self._drivers[plugin.name] = driver
        log.info("CSI driver %s is registered as node %s", plugin.name, facts.node_id)

    async def renew(self, period_of: Period) -> None:
        """Asks drivers again what they say of this node, above all how many volumes it can have.
        `period_of` gives the seconds between two such questions to a driver; 0: none are asked."""
        for driver in list(self._drivers.values()):
            try:
                period = await period_of(driver.name)
                if not period or time.monotonic() - driver.asked_at < period:
                    continue
                driver.asked_at = time.monotonic()
                facts = await driver.facts()
                async with self._lock:
                    await self._info.install(facts)
            except (PluginError, NodeInfoError, StatusError, Unreachable) as error:
                log.info("What CSI driver %s says of the node is old: %s", driver.name, error)

    def ask_soon(self, name: str) -> None:
        """What a driver says of this node is old: `renew` asks it whenever it was asked last."""
        if name in self._drivers:
            self._drivers[name].asked_at = float("-inf")

    async def deregister(self, plugin: Plugin) -> None:
        if self._drivers.pop(plugin.name, None) is None:
            return
        try:
            async with self._lock:
                await self._info.uninstall(plugin.name)
        except (StatusError, Unreachable) as error:
            log.warning("CSI driver %s stays in CSINode: %s", plugin.name, error)
