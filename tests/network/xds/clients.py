"""Clients of an xDS server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.protobuf.wrappers_pb2 import StringValue

from tiphys.network.xds.cache import Cache
from tiphys.network.xds.server import XdsServer


class Client:
    """One stream of the state of the world."""

    def __init__(self, channel: grpc.aio.Channel, name: str) -> None:
        self._stream = ads_pb2_grpc.AggregatedDiscoveryServiceStub(
            channel
        ).StreamAggregatedResources()
        self._name = name

    async def ask(self, type_url: str, *names: str, nonce: str = "", error: str = "") -> None:
        request = discovery_pb2.DiscoveryRequest(
            type_url=type_url, resource_names=names, response_nonce=nonce
        )
        request.node.id = self._name
        if error:
            request.error_detail.message = error
        await self._stream.write(request)

    async def answer(self) -> Any:
        async with asyncio.timeout(10):
            return await self._stream.read()

    def cancel(self) -> None:
        self._stream.cancel()


async def eventually(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if check():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def served() -> AsyncIterator[tuple[Cache, XdsServer, grpc.aio.Channel]]:
    cache = Cache()
    server = XdsServer(cache)
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield cache, server, channel
    await server.stop()


def put(cache: Cache, type_url: str, **values: str) -> None:
    cache.update({type_url: {n: StringValue(value=v) for n, v in values.items()}})
