"""Servers of endpoints and who asks them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest

from tiphys.addons.endpoints.channel import Channel
from tiphys.api import core_v1, discovery_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port


class Pod:
    """A gRPC server that says its name and counts its calls."""

    def __init__(self, name: str, zone: str) -> None:
        self.name, self.zone = name, zone
        self.calls = 0
        self.delay = 0.0
        self.port = 0

    async def _answer(self, request: bytes, context: Any) -> bytes:
        self.calls += 1
        await asyncio.sleep(self.delay)
        return self.name.encode()

    async def start(self) -> None:
        self._server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(self._answer)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Who", {"Are": handler}),)
        )
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

    async def stop(self, grace: float | None = None) -> None:
        await self._server.stop(grace)

    @property
    def slice(self) -> discovery_v1.EndpointSlice:
        """A slice for each pod: on one address, their ports tell them apart."""
        labels = {"kubernetes.io/service-name": "who"}
        return discovery_v1.EndpointSlice(
            metadata=ObjectMeta(name=self.name, namespace="default", labels=labels),
            address_type="IPv4",
            endpoints=[discovery_v1.Endpoint(addresses=["10.1.0.1"], zone=self.zone)],
            ports=[discovery_v1.EndpointPort(name="grpc", port=self.port)],
        )


class World:
    """Six pods in three zones behind the service `who`, and the add-on that knows of them."""

    def __init__(self, cluster: LocalCluster, port: int, pods: list[Pod]) -> None:
        self.cluster, self.pods = cluster, pods
        self.server = f"127.0.0.1:{port}"
        self.service = "who.default:80"

    def channel(self, zone: str = "") -> Channel:
        return Channel(self.service, self.server, zone)

    async def remove(self, pod: Pod) -> None:
        await self.cluster.client.delete(discovery_v1.EndpointSlice, pod.name, "default")


@asynccontextmanager
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    # Endpoints on the loopback are refused by the API server, as upstream does: the clients are led
    # there.
    import tiphys.network.xds.services as services

    real = services.socket
    monkeypatch.setattr(services, "socket", lambda _, port: real("127.0.0.1", port))
    import tiphys.addons.endpoints as addon

    port = free_port()
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(LocalCluster())
        from tiphys.addons import installing
        from tiphys.addons.host import Host

        await installing.enable(cluster.client, addon.ADDON, addon.Settings(port=port))
        offered = {"endpoints": addon.ADDON}
        Host(cluster.client_as(installing.HOST), offered, cluster.root / "a", cluster.tasks).start()
        pods = [Pod(f"pod-{number}", zone) for number, zone in enumerate("aabbcc")]
        spec = core_v1.ServiceSpec(ports=[core_v1.ServicePort(name="grpc", port=80)])
        meta = ObjectMeta(name="who", namespace="default")
        await cluster.client.create(core_v1.Service(metadata=meta, spec=spec))
        for pod in pods:
            await pod.start()
            stack.push_async_callback(pod.stop)
            await cluster.client.create(pod.slice)
        yield World(cluster, port, pods)


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if check():
                return
            await asyncio.sleep(0.01)


async def all_known(channel: Channel, count: int = 6) -> None:
    await until(lambda: len(channel._balancer.members) == count)
