"""Attacks on an xDS server: whoever reaches its port is a client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

grpc = pytest.importorskip("grpc")
pytest.importorskip("envoy.service")

from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2  # noqa: E402
from envoy.service.status.v3 import csds_pb2, csds_pb2_grpc  # noqa: E402

from tests.network.xds.clients import Client, eventually, put, served  # noqa: E402, F401
from tiphys.network.xds import bounds  # noqa: E402
from tiphys.network.xds import server as xds_server  # noqa: E402
from tiphys.network.xds.cache import CLUSTER, ENDPOINTS, Cache  # noqa: E402
from tiphys.network.xds.streams import StateOfTheWorld  # noqa: E402


async def refusal(client: Client) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async with asyncio.timeout(10):
            while await client._stream.read() is not grpc.aio.EOF:
                pass
            raise AssertionError("the stream ended well")
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    return str(raised.value.details())


async def test_a_request_may_not_name_more_than_can_be_read_at_once(served: Any) -> None:  # noqa: F811
    _, _, channel = served
    many, long = Client(channel, "c"), Client(channel, "d")
    await many.ask(ENDPOINTS, *(str(n) for n in range(bounds.MOST_NAMES + 1)))
    assert "20000 names" in await refusal(many)
    await long.ask(ENDPOINTS, "x" * (bounds.LONGEST_REQUEST + 1))
    assert "larger than max" in await refusal(long)


async def test_a_stream_may_not_ask_for_any_number_of_types(served: Any) -> None:  # noqa: F811
    _, server, channel = served
    client = Client(channel, "c")
    for number in range(bounds.MOST_TYPES + 1):
        await client.ask(f"t{number}", "a")
    assert "32 types" in await refusal(client)
    await eventually(lambda: not server.connections)
    assert server._held._all == 0


async def test_names_are_weighed_over_all_streams(
    served: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "_HELD", 50_000)
    cache, server, channel = served
    put(cache, ENDPOINTS, a="1")
    first, second, modest = (Client(channel, name) for name in "abc")
    await first.ask(ENDPOINTS, "x" * 30_000)
    await eventually(lambda: server._held._all > 30_000)
    await second.ask(ENDPOINTS, "y" * 30_000)
    assert "subscribe to too much" in await refusal(second)
    await modest.ask(ENDPOINTS, "a")
    assert len((await modest.answer()).resources) == 1


async def test_what_a_client_adds_again_and_again_is_weighed(
    served: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "_HELD_EACH", 50_000)
    _, _, channel = served
    stream = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).DeltaAggregatedResources()
    for number in range(5):
        name = str(number) * 12_000
        await stream.write(
            discovery_pb2.DeltaDiscoveryRequest(type_url=ENDPOINTS, resource_names_subscribe=[name])
        )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        while await stream.read() is not grpc.aio.EOF:
            pass
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_who_does_not_read_is_not_read_further(served: Any) -> None:  # noqa: F811
    cache, server, channel = served
    put(cache, CLUSTER, **{f"c{number}": "x" * 1000 for number in range(5000)})
    client = Client(channel, "c")
    for number in range(200):
        await client.ask(CLUSTER, *([] if number % 2 else ["*", str(number)]))
        if number == 0:
            await eventually(lambda: len(server.connections) == 1)
        if number == 20:
            break
    connection = next(iter(server.connections))
    assert len(connection.conversation.subscriptions) == 1
    assert server._on_the_way._size < 3 * 6_000_000


async def test_when_too_much_is_on_its_way_the_slowest_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "_ON_THE_WAY", 100)
    monkeypatch.setattr(bounds, "_SLOW", 0.01)
    on_the_way, never = bounds.OnTheWay(), asyncio.Event()

    async def slow() -> None:
        async with on_the_way.sending(80):
            await never.wait()

    stuck = asyncio.ensure_future(slow())
    await asyncio.sleep(0)
    async with asyncio.timeout(5), on_the_way.sending(50):
        assert stuck.cancelled() or stuck.cancelling()


def test_clients_who_want_everything_share_it() -> None:
    cache = Cache()
    put(cache, CLUSTER, a="1", b="1")
    asked = discovery_pb2.DiscoveryRequest(type_url=CLUSTER)
    one, other = StateOfTheWorld(cache), StateOfTheWorld(cache)
    assert one.request(asked) is other.request(asked)
    put(cache, CLUSTER, a="2")
    changed = one.change(CLUSTER, ["a"])
    assert changed is other.change(CLUSTER, ["a"]) and b"2" in (changed or b"")
    shared = one.subscriptions[CLUSTER].sent
    assert shared is other.subscriptions[CLUSTER].sent


async def test_looking_inside_shows_as_much_as_can_be_made_at_once(served: Any) -> None:  # noqa: F811
    cache, _, channel = served
    put(cache, CLUSTER, **{f"c{number}": "1" for number in range(3000)})
    for number in range(4):
        client = Client(channel, str(number))
        await client.ask(CLUSTER)
        await client.answer()
    stub = csds_pb2_grpc.ClientStatusDiscoveryServiceStub(channel)
    status = await stub.FetchClientStatus(csds_pb2.ClientStatusRequest())
    rows = sum(len(config.generic_xds_configs) for config in status.config)
    assert 3000 < rows <= xds_server._MOST_ROWS
