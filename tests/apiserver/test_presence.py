"""Several API servers of one cluster: the service `kubernetes` leads to those that are there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tiphys.api import core_v1, discovery_v1
from tiphys.apiserver.registry.presence import PREFIX
from tiphys.client.client import Client
from tiphys.cluster.serverlist import places
from tiphys.testing import LocalCluster

FIRST, SECOND = "10.9.0.1", "10.9.0.2"


async def addresses(client: Client) -> list[str]:
    found = await client.get(core_v1.Endpoints, "kubernetes", "default")
    return [row.ip for subset in found.subsets for row in subset.addresses]


def lead_to(client: Client, *wanted: str) -> Callable[[], Awaitable[bool]]:
    async def do() -> bool:
        return await addresses(client) == list(wanted)

    return do


async def test_a_server_that_comes_or_goes_is_noticed(etcd: str) -> None:
    async with LocalCluster(store=etcd, address=FIRST) as first:
        async with LocalCluster(store=etcd, address=SECOND) as second:
            for one in (first, second):
                await first.eventually(lead_to(one.client, FIRST, SECOND))
            slice_ = await first.client.get(discovery_v1.EndpointSlice, "kubernetes", "default")
            assert [place.split(":")[0] for place in places(slice_)] == [FIRST, SECOND]
        await first.eventually(lead_to(first.client, FIRST))


async def test_a_server_that_says_nothing_any_more_is_gone(etcd: str) -> None:
    """etcd ends its key; here somebody else does."""
    async with LocalCluster(store=etcd, address=FIRST) as first:
        store = first.server.registry.store
        lost = f"{PREFIX}{SECOND}"
        await store.put(store.cache(PREFIX), lost, b'{"metadata":{"name":"x"}}', None)
        await first.eventually(lead_to(first.client, FIRST, SECOND))
        await store.delete(lost, None)
        await first.eventually(lead_to(first.client, FIRST))


async def test_endpoints_that_were_changed_by_hand_are_put_right(etcd: str) -> None:
    async with LocalCluster(store=etcd, address=FIRST) as first:
        found = await first.client.get(core_v1.Endpoints, "kubernetes", "default")
        found.subsets[0].addresses[0].ip = "10.9.9.9"
        await first.client.update(found)
        await first.eventually(lead_to(first.client, FIRST))


async def test_a_server_that_another_follows_at_its_address_leaves_the_key_to_it(etcd: str) -> None:
    async with LocalCluster(store=etcd, address=FIRST) as first:
        old = first.server._presence
        assert old is not None and not old.is_followed
        async with LocalCluster(store=etcd, address=FIRST) as second:
            new = second.server._presence
            assert new is not None and not new.is_followed

            async def is_seen() -> bool:
                return old.is_followed

            await first.eventually(is_seen)
            await old.leave()
            assert await addresses(second.client) == [FIRST]
            assert new.cache.get(f"{PREFIX}{FIRST}") is not None
