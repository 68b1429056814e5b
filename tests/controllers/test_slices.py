"""Endpoint slices, found by service and told apart by manager."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tiphys.api.discovery_v1 import EndpointSlice
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informers
from tiphys.controllers.shell import Context
from tiphys.controllers.slices import MANAGED, SERVICE, SliceController
from tiphys.testing import LocalCluster


class Keeper(SliceController):
    name = "keeper"
    manager = "us"

    def watch(self) -> None:
        self.watch_slices()


def slice_of(name: str, manager: str, service: str = "web") -> EndpointSlice:
    labels = {SERVICE: service, MANAGED: manager}
    meta = ObjectMeta(name=name, namespace="default", labels=labels)
    return EndpointSlice(metadata=meta, address_type="IPv4")


@pytest.fixture
async def keeper(server: LocalCluster) -> AsyncIterator[Keeper]:
    informers = Informers(server.client, server.tasks)
    recorder = EventRecorder(server.client, "test")
    made = Keeper(Context(server.client, informers, recorder, server.tasks))
    made.watch()
    await informers.synced()
    yield made


async def test_a_slice_is_known_as_soon_as_it_is_created(keeper: Keeper) -> None:
    await keeper.create_slice(slice_of("b", "us"))
    assert [found.metadata.name for found in keeper.slices_of("default/web")] == ["b"]
    assert keeper.slices_of("default/other") == []


async def test_only_changes_of_our_own_slices_are_looked_at(
    server: LocalCluster, keeper: Keeper
) -> None:
    for name, manager in (("a", "us"), ("b", "them")):
        await server.client.create(slice_of(name, manager))
    await server.eventually(lambda: keeper.slices_of("default/web"))
    assert len(keeper.queue) == 0, "what is new is most likely our own"
    change = {"metadata": {"labels": {"x": "y"}}}
    for name in ("b", "a"):
        await server.client.patch(EndpointSlice, name, change, "default", media=MERGE)
    assert await asyncio.wait_for(keeper.queue.get(), 5) == "default/web"
    keeper.queue.done("default/web")
    await server.client.delete(EndpointSlice, "b", "default")
    await server.client.delete(EndpointSlice, "a", "default")
    assert await asyncio.wait_for(keeper.queue.get(), 5) == "default/web"
    assert keeper.slices_of("default/web") == []
