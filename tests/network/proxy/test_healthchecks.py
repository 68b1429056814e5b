"""What a load balancer is told about a node."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.network.builders import endpoint, slice_with
from tiphys.network.proxy.endpoints import ServiceKey
from tiphys.network.proxy.healthchecks import HealthChecks, local_endpoints
from tiphys.testing.cluster import free_port


@pytest.fixture
async def checks() -> AsyncIterator[HealthChecks]:
    running = HealthChecks(["127.0.0.1"])
    yield running
    await running.close()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


S, T = ServiceKey("d", "s"), ServiceKey("d", "t")


@pytest.mark.parametrize(("count", "status"), [(2, 200), (0, 503)])
async def test_a_node_says_how_many_endpoints_it_has(
    checks: HealthChecks, session: aiohttp.ClientSession, count: int, status: int
) -> None:
    port = free_port()
    await checks.put(S, port, count)
    async with session.get(f"http://127.0.0.1:{port}/") as reply:
        body = await reply.json()
    assert (reply.status, reply.headers["X-Load-Balancing-Endpoint-Weight"]) == (status, str(count))
    assert body == {
        "service": {"namespace": "d", "name": "s"},
        "localEndpoints": count,
        "serviceProxyHealthy": True,
    }


async def test_no_service_is_healthy_behind_a_proxy_that_is_not(
    session: aiohttp.ClientSession,
) -> None:
    checks = HealthChecks(["127.0.0.1"], lambda: False)
    port = free_port()
    await checks.put(S, port, 2)
    async with session.get(f"http://127.0.0.1:{port}/") as reply:
        assert reply.status == 503 and (await reply.json())["serviceProxyHealthy"] is False
    await checks.close()


async def test_a_port_is_closed_with_its_service(
    checks: HealthChecks, session: aiohttp.ClientSession
) -> None:
    port = free_port()
    await checks.put(S, port, 1)
    await checks.put(S, 0, 0)
    with pytest.raises(aiohttp.ClientConnectionError):
        await session.get(f"http://127.0.0.1:{port}/")


async def test_a_port_that_is_taken_is_opened_once_it_is_free(
    checks: HealthChecks, session: aiohttp.ClientSession
) -> None:
    port = free_port()
    other = HealthChecks(["127.0.0.1"])
    await other.put(T, port, 1)
    await checks.put(S, port, 1)
    await other.close()
    await checks.retry()
    async with session.get(f"http://127.0.0.1:{port}/") as reply:
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
    assert local_endpoints(slices, "n1") == count


def test_a_pod_of_two_families_is_one_endpoint() -> None:
    other = slice_with("s", [endpoint("fd01::1")])
    other.address_type = "IPv6"
    assert local_endpoints([slice_with("s", [endpoint("10.1.0.1")]), other], "n1") == 1
