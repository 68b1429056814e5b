"""What a component counts of its requests, its work queues and its lead."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from tiphys.client.client import Client, Unreachable
from tiphys.client.config import Config
from tiphys.client.leader import LeaderElection
from tiphys.client.metrics import ComponentMetrics
from tiphys.client.queue import WorkQueue
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port


class Counted:
    """A work queue named `q`, and what is counted of it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.queue: WorkQueue[str] = WorkQueue(name="q", metrics=ComponentMetrics(self.registry))

    def value(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"workqueue_{name}", {"name": "q"})


async def test_a_key_is_counted_once_until_it_is_taken() -> None:
    counted = Counted()
    counted.queue.add("a")
    counted.queue.add("a")
    assert (counted.value("adds_total"), counted.value("depth")) == (1, 1)
    await counted.queue.get()
    assert (counted.value("queue_duration_seconds_count"), counted.value("depth")) == (1, 0)


async def test_a_key_that_is_added_while_it_is_worked_on_is_counted_again() -> None:
    counted = Counted()
    counted.queue.add("a")
    await counted.queue.get()
    counted.queue.add("a")
    counted.queue.add("a")
    counted.queue.done("a")
    assert await counted.queue.get() == "a"
    assert counted.value("adds_total") == counted.value("queue_duration_seconds_count") == 2
    assert counted.value("work_duration_seconds_count") == 1


async def test_work_under_way_is_seen_before_it_ends() -> None:
    counted = Counted()
    counted.queue.add("a")
    assert counted.value("longest_running_processor_seconds") == 0
    await counted.queue.get()
    assert counted.value("longest_running_processor_seconds") > 0
    assert counted.value("unfinished_work_seconds") > 0
    counted.queue.done("a")
    assert counted.value("unfinished_work_seconds") == 0


async def test_retries_are_counted() -> None:
    counted = Counted()
    counted.queue.retry("a")
    counted.queue.add_after("b", 0)
    assert counted.value("retries_total") == 2
    counted.queue.close()


async def test_requests_are_counted_by_status_and_method(server: LocalCluster) -> None:
    client, host = server.client, server.url.removeprefix("https://")
    await client.request("GET", "/version")
    with pytest.raises(StatusError):
        await client.request("DELETE", "/api/v1/nodes/none")
    registry = client.metrics.registry
    for code, method in (("200", "GET"), ("404", "DELETE")):
        labels = {"code": code, "method": method, "host": host}
        assert registry.get_sample_value("rest_client_requests_total", labels) == 1


async def test_a_server_that_is_not_there_is_counted_as_an_error() -> None:
    host = f"127.0.0.1:{free_port()}"
    async with Client(Config(f"http://{host}")) as client:
        with pytest.raises(Unreachable):
            await client.request("GET", "/version")
        labels = {"code": "<error>", "method": "GET", "host": host}
        registry = client.metrics.registry
        assert registry.get_sample_value("rest_client_requests_total", labels) == 1


async def test_who_leads_says_so(server: LocalCluster) -> None:
    def leads(client: Client) -> float | None:
        labels = {"name": "work"}
        registry = client.metrics.registry
        return registry.get_sample_value("leader_election_master_status", labels)

    first = LeaderElection(server.client, "work", "a")
    await first.acquire()
    other = server.client_as("other", ("system:masters",))
    waiting = asyncio.ensure_future(LeaderElection(other, "work", "b").acquire())
    await server.eventually(lambda: leads(other) == 0)
    assert leads(server.client) == 1
    waiting.cancel()
    await first.release()
    assert leads(server.client) == 0
