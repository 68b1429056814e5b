"""What a load balancer is told about the proxy of a node."""

from __future__ import annotations

import aiohttp
import pytest

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.network.proxy.health import ProxyHealth, serve
from tiphys.testing.cluster import free_port

TO_BE_DELETED = core_v1.Taint(key="ToBeDeletedByClusterAutoscaler", effect="NoSchedule")


def node(going: bool = False, *taints: core_v1.Taint) -> core_v1.Node:
    deleted = "2026-01-01T00:00:00Z" if going else None
    built = core_v1.Node(metadata=ObjectMeta(name="n1", deletion_timestamp=deleted))
    built.spec.taints = list(taints)
    return built


def health_at(now: list[float], of: core_v1.Node | None) -> ProxyHealth:
    health = ProxyHealth(lambda: now[0])
    health.node = of
    return health


ELIGIBLE = [
    (node(), 200),
    (node(False, core_v1.Taint(key="other", effect="NoSchedule")), 200),
    (node(False, TO_BE_DELETED), 503),
    (node(True), 503),
    (None, 503),
]


@pytest.mark.parametrize(("one", "status"), ELIGIBLE)
def test_a_node_that_is_to_go_takes_no_new_connections_though_its_proxy_lives(
    one: core_v1.Node | None, status: int
) -> None:
    health = health_at([0.0], one)
    assert health.answer("/healthz")[0] == status
    assert health.answer("/livez")[0] == 200


def test_a_proxy_is_unhealthy_once_a_change_has_waited_for_a_minute() -> None:
    now = [0.0]
    health = health_at(now, node())
    health.queued()
    now[0] = 59.0
    health.queued()
    assert health.answer("/livez")[0] == 200
    now[0] = 60.0
    assert health.answer("/livez")[0] == health.answer("/healthz")[0] == 503
    health.updated()
    assert health.answer("/livez")[0] == 200


async def test_it_is_asked_over_http() -> None:
    health = health_at([0.0], node())
    port = free_port()
    server = await serve(health, ["127.0.0.1"], port)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        async with session.get("/healthz") as reply:
            body = await reply.json()
            assert (reply.status, body["nodeEligible"], body["healthy"]) == (200, True, True)
        async with session.get("/other") as reply:
            assert reply.status == 404
    await server.cleanup()
