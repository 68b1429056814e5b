"""The server over real gRPC: pushes, refusals, and a look inside."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from envoy.service.status.v3 import csds_pb2, csds_pb2_grpc

from tests.network.xds.clients import Client, eventually, put
from tests.network.xds.clients import served as served
from tiphys.network.xds import server as xds_server
from tiphys.network.xds.cache import CLUSTER, ENDPOINTS, LISTENER, Cache
from tiphys.network.xds.server import XdsServer


async def test_a_change_reaches_every_client_that_wants_it(served: Any) -> None:
    cache, _, channel = served
    put(cache, ENDPOINTS, a="1", b="1")
    clients = [Client(channel, f"c{number}") for number in range(5)]
    for client in clients:
        await client.ask(ENDPOINTS, "a")
        assert len((await client.answer()).resources) == 1
    put(cache, ENDPOINTS, b="2", a="2")
    for client in clients:
        changed = await client.answer()
        assert b"2" in changed.resources[0].value and len(changed.resources) == 1


async def test_a_refusal_is_seen_from_outside(served: Any) -> None:
    cache, server, channel = served
    put(cache, CLUSTER, a="1")
    client = Client(channel, "envoy-1")
    await client.ask(CLUSTER)
    first = await client.answer()
    await client.ask(CLUSTER, nonce=first.nonce, error="unknown field")
    await client.ask(ENDPOINTS, "nobody")
    await eventually(lambda: server.refusals == 1)
    stub = csds_pb2_grpc.ClientStatusDiscoveryServiceStub(channel)
    status = await stub.FetchClientStatus(csds_pb2.ClientStatusRequest())
    rows = {row.name: row for row in status.config[0].generic_xds_configs}
    assert status.config[0].node.id == "envoy-1"
    assert rows["a"].config_status == csds_pb2.ERROR
    assert rows["a"].error_state.details == "unknown field"
    assert rows["nobody"].config_status == csds_pb2.NOT_SENT


async def test_a_client_that_goes_leaves_nothing(served: Any) -> None:
    cache, server, channel = served
    put(cache, CLUSTER, a="1")
    client = Client(channel, "c")
    await client.ask(CLUSTER)
    await client.answer()
    assert len(server.connections) == 1
    client.cancel()
    await eventually(lambda: not server.connections)


async def test_a_port_that_is_taken_is_an_error(served: Any) -> None:
    other = XdsServer(Cache())
    with pytest.raises(OSError, match="xDS cannot listen"):
        await other.start("192.0.2.1:18000")


async def test_a_change_is_settled_when_every_client_has_had_its_word(served: Any) -> None:
    cache, server, channel = served
    put(cache, ENDPOINTS, a="1", b="1")
    client = Client(channel, "c")
    await client.ask(ENDPOINTS, "a", "b")
    answer = await client.answer()
    waiting = asyncio.ensure_future(server.settled({ENDPOINTS: ["a", "b"]}))
    await client.ask(ENDPOINTS, "a", "b", nonce=answer.nonce)
    assert await asyncio.wait_for(waiting, 10) == {}
    put(cache, ENDPOINTS, a="2")
    answer = await client.answer()
    await client.ask(ENDPOINTS, "a", "b", nonce=answer.nonce, error="no")
    refused = await asyncio.wait_for(server.settled({ENDPOINTS: ["a", "b"]}), 10)
    assert refused == {ENDPOINTS: {"a": "no"}}
    nobodys = server.settled({CLUSTER: ["nobody's"], ENDPOINTS: ["gone"]})
    assert await asyncio.wait_for(nobodys, 10) == {}
    client.cancel()


@pytest.mark.parametrize("limit", ["MOST_NAMES", "MOST_TYPES"])
async def test_a_client_that_asks_for_too_much_is_refused(
    served: Any, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(xds_server, limit, 2)
    cache, _, channel = served
    put(cache, ENDPOINTS, a="1")
    client = Client(channel, "c")
    await client.ask(ENDPOINTS, "a", "b")
    assert len((await client.answer()).resources) == 1
    if limit == "MOST_NAMES":
        await client.ask(ENDPOINTS, "a", "b", "c")
    else:
        await client.ask(CLUSTER)
        await client.answer()
        await client.ask(LISTENER)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.answer()
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_look_inside_shows_so_many_rows_and_no_more(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xds_server, "_MOST_ROWS", 4)
    cache, server, channel = served
    put(cache, ENDPOINTS, a="1", b="1", c="1")
    clients = [Client(channel, f"c{number}") for number in range(3)]
    for client in clients:
        await client.ask(ENDPOINTS, "a", "b", "c")
        await client.answer()
    shown = server.statuses().config
    assert [len(config.generic_xds_configs) for config in shown] == [3]
