"""Keeps the ways to other nodes' pods: Nodes in, routes out, and again when links have changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence

from tiphys.api import core_v1
from tiphys.client.informer import Informers
from tiphys.network import rtnetlink, tunnel
from tiphys.network.nft import NftError
from tiphys.network.podroutes import Network, Routes, peers, routes
from tiphys.network.pods import NetworkError
from tiphys.network.tunnel import Device

log = logging.getLogger(__name__)

_BATCH_SECONDS = 0.2  # to wait for more changes of the same moment
_LOOK_SECONDS = 30.0  # between checks when the kernel has sent no message
_RETRY_SECONDS = 1.0
_LONGEST = 65536  # bytes of one datagram of the kernel's


class RouteKeeper:
    """For the node of a name. `networks` are the cluster's pod networks, `mode` is of
    `podroutes`."""

    def __init__(
        self,
        informers: Informers,
        node: str,
        networks: Sequence[Network],
        mode: str,
        device: Device,
    ) -> None:
        self._nodes = informers.of(core_v1.Node)
        self._node = node
        self._networks = networks
        self._mode = mode
        self._device = device
        self._changed = asyncio.Event()
        self._shown: Routes | None = None
        self._links: set[int] = set()  # numbers of those that the routes rest on

    async def run(self) -> None:
        self._nodes.on_change(self._node_changed)
        await self._nodes.synced.wait()
        with rtnetlink.listen() as changes:
            loop = asyncio.get_running_loop()
            loop.add_reader(changes, self._heard, changes)
            try:
                await self._keep()
            finally:
                loop.remove_reader(changes)

    def _node_changed(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        """Heartbeats change nothing of what routes are made of."""
        if old is None or new is None or _place(old) != _place(new):
            self._changed.set()

    def _heard(self, changes: socket.socket) -> None:
        """Something of the machine's network has changed."""
        while True:
            try:
                messages = rtnetlink.messages(changes.recv(_LONGEST))
            except BlockingIOError:
                return
            except OSError:  # the socket's buffer has overflowed
                self._changed.set()
                return
            if any(
                rtnetlink.concerns(message, self._links, tunnel.PROTOCOL) for message in messages
            ):
                self._changed.set()

    async def _keep(self) -> None:
        while True:
            pause = _LOOK_SECONDS
            try:
                await self.sync()
            except (NetworkError, NftError, OSError) as error:
                log.warning("Routes to other nodes' pods are not all there: %s", error)
                pause = _RETRY_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), pause)
            await asyncio.sleep(_BATCH_SECONDS)
            self._changed.clear()

    async def sync(self) -> None:
        """Writes what differs. Raises NetworkError, NftError."""
        others = peers(self._nodes, self._node, self._networks)
        links = await asyncio.to_thread(tunnel.links)
        wanted = routes(others, links, self._mode, self._device.version)
        await asyncio.to_thread(tunnel.apply, self._device, wanted)
        self._links = _numbers({link.name for link in links if link.has_neighbours})
        self._links |= _numbers({self._device.name})
        if wanted != self._shown:
            await asyncio.to_thread(tunnel.guard, self._device, wanted.tunnels)
            self._shown = wanted
            _report(wanted)


def _numbers(names: set[str]) -> set[int]:
    """The indexes that the kernel uses in messages about these links."""
    numbers = set()
    for name in names:
        with contextlib.suppress(OSError):
            numbers.add(socket.if_nametoindex(name))
    return numbers


def _report(routes: Routes) -> None:
    direct = len(routes.direct)
    tunnels = len(routes.tunnels)
    log.info("Routes to other nodes' pods: %d direct, %d by tunnel", direct, tunnels)
    for name in sorted(routes.unreachable):
        log.warning(
            "Node %s is on no network of this machine: with --pod-routes host there is no way to "
            "its pods",
            name,
        )


def _place(node: core_v1.Node) -> object:
    return node.spec.pod_cidrs, [(row.type, row.address) for row in node.status.addresses]
