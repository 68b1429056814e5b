"""What a load balancer is told about a node."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.network.builders import endpoint, service, slice_of, slice_with
from tiphys.network.proxy.endpoints import ServiceKey
from tiphys.network.proxy.healthchecks import HealthChecks, local_endpoints
from tiphys.testing.cluster import free_port


@pytest.fixture
async def checks() -> AsyncIterator[HealthChecks]:
    running = HealthChecks("127.0.0.1")
    yield running
    await running.sync([], [], "n1")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize(("node", "status", "count"), [("n1", 200, 2), ("n2", 503, 0)])
async def test_a_node_says_how_many_endpoints_it_has(
    checks: HealthChecks, session: aiohttp.ClientSession, node: str, status: int, count: int
) -> None:
    local = service(health_check_node_port=free_port())
    await checks.sync([local], [slice_of("s", "10.1.0.1", "10.1.0.2")], node)
    async with session.get(f"http://127.0.0.1:{local.spec.health_check_node_port}/") as reply:
        body = await reply.json()
    assert (reply.status, reply.headers["X-Load-Balancing-Endpoint-Weight"]) == (status, str(count))
    assert body == {
        "service": {"namespace": "d", "name": "s"},
        "localEndpoints": count,
        "serviceProxyHealthy": True,
    }


async def test_a_port_is_closed_with_its_service(
    checks: HealthChecks, session: aiohttp.ClientSession
) -> None:
    local = service(health_check_node_port=free_port())
    await checks.sync([local], [], "n1")
    await checks.sync([service()], [], "n1")
    with pytest.raises(aiohttp.ClientConnectionError):
        await session.get(f"http://127.0.0.1:{local.spec.health_check_node_port}/")


async def test_a_port_that_is_taken_is_opened_once_it_is_free(
    checks: HealthChecks, session: aiohttp.ClientSession
) -> None:
    first, second = service(), service("t")
    first.spec.health_check_node_port = second.spec.health_check_node_port = free_port()
    other = HealthChecks("127.0.0.1")
    await other.sync([second], [], "n1")
    await checks.sync([first], [], "n1")
    await other.sync([], [], "n1")
    await checks.sync([first], [], "n1")
    async with session.get(f"http://127.0.0.1:{first.spec.health_check_node_port}/") as reply:
        assert (await reply.json())["service"]["name"] == "s"


COUNTS = [
    ([endpoint("10.1.0.1"), endpoint("10.1.0.2")], 2),
    ([endpoint("10.1.0.1"), endpoint("10.1.0.1")], 1),
    ([endpoint("10.1.0.1", ready=None)], 1),
    ([endpoint("10.1.0.1", ready=False)], 0),
    ([endpoint("10.1.0.1", ready=False, serving=True, terminating=True)], 0),
    ([endpoint("10.1.0.1", node="n2")], 0),
]


@pytest.mark.parametrize(("rows", "count"), COUNTS)
def test_only_ready_endpoints_of_the_node_count(rows: list[object], count: int) -> None:
    slices = [slice_with("s", rows)]  # type: ignore[arg-type]
    assert local_endpoints(slices, "n1") == {ServiceKey("d", "s"): count}
