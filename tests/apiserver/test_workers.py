"""Several processes of one API server answer as one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from itertools import cycle

import pytest

from tests.apiserver.builders import definition, established
from tiphys.api import core_v1
from tiphys.apiserver.workers.pool import Bursts, Pool
from tiphys.client.client import Client, Known, Unreachable
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

CONFIG = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"


class Alternating(Bursts):
    """Every other connection goes to the last worker."""

    def __init__(self) -> None:
        self._turns = cycle([False, True])

    def is_one(self, address: str) -> bool:
        return next(self._turns)


@pytest.fixture
async def workers() -> AsyncIterator[LocalCluster]:
    async with LocalCluster(workers=2) as cluster:
        pool_of(cluster)._bursts = Alternating()
        yield cluster


def pool_of(cluster: LocalCluster) -> Pool:
    assert cluster.server.pool is not None
    return cluster.server.pool


async def process_of(client: Client) -> str:
    """Which process answers a client: its lists' ETags begin with it."""
    known = Known()
    await client.request("GET", CONFIG, known=known)
    return known.etag.split("-")[0]


async def written(client: Client, value: int) -> None:
    body = json.dumps({"data": {"value": str(value)}}).encode()
    await client.request("PATCH", f"{CONFIG}/a", body, {}, MERGE)


async def value_in(client: Client) -> tuple[int, int]:
    """The value in a GET and in a LIST."""
    one = json.loads(await client.request("GET", f"{CONFIG}/a"))
    listed = json.loads(await client.request("GET", CONFIG))
    return int(one["data"]["value"]), int(listed["items"][0]["data"]["value"])


async def test_whoever_asks_one_worker_sees_what_another_wrote(workers: LocalCluster) -> None:
    one, other = (workers.client_as(name, ("system:masters",)) for name in ("one", "other"))
    await one.request("POST", CONFIG, b'{"metadata":{"name":"a"},"data":{"value":"0"}}')
    assert await process_of(one) != await process_of(other)
    for value in range(20):
        await written(one, value)
        assert await value_in(other) == (value, value)
        one, other = other, one


async def test_a_right_and_a_definition_hold_at_once_everywhere(workers: LocalCluster) -> None:
    admin, jane = workers.client_as("admin", ("system:masters",)), workers.client_as("jane")
    with pytest.raises(StatusError, match="cannot list resource"):
        await jane.request("GET", CONFIG)
    binding = {
        "metadata": {"name": "jane"},
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "name": "jane"}],
    }
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    await admin.request("POST", path, json.dumps(binding).encode())
    assert json.loads(await jane.request("GET", CONFIG))["items"] == []
    await established(workers, definition())
    await jane.request("GET", "/apis/stable.example.com/v1/namespaces/default/crontabs")
    assert await process_of(admin) != await process_of(jane)


async def test_a_worker_that_is_killed_takes_its_connections_alone(workers: LocalCluster) -> None:
    one, other = (workers.client_as(name, ("system:masters",)) for name in ("one", "other"))
    await one.request("POST", CONFIG, b'{"metadata":{"name":"a"},"data":{"value":"0"}}')
    seen: list[str] = []

    async def follow() -> None:
        async for event in other.watch(core_v1.ConfigMap, "default", revision="1"):
            seen.append(event.obj.data["value"])

    workers.tasks.start(follow(), "watch")
    await workers.eventually(lambda: seen == ["0"])
    [first, _] = pool_of(workers).processes
    await written(one, 1)
    os.kill(first, signal.SIGKILL)

    async def written_again() -> bool:
        with contextlib.suppress(Unreachable):  # its connection was the killed one's
            await written(one, 2)
            return True
        return False

    await workers.eventually(written_again)
    await workers.eventually(lambda: seen == ["0", "1", "2"])
    await workers.eventually(lambda: first not in pool_of(workers).processes, 60)
    assert await value_in(one) == (2, 2)


async def test_workers_end_with_their_server() -> None:
    async with LocalCluster(workers=1) as cluster:
        processes = pool_of(cluster).processes
        assert len(processes) == 1
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_a_burst_is_what_comes_faster_than_clients_that_keep_connections() -> None:
    now = 0.0
    bursts = Bursts(lambda: now)
    assert [bursts.is_one("a") for _ in range(12)] == [False] * 10 + [True] * 2
    assert not bursts.is_one("b"), "another address"
    now = 2.0
    assert [bursts.is_one("a") for _ in range(3)] == [False, False, True], "one each second"
    now = 1000.0
    assert [bursts.is_one("a") for _ in range(11)] == [False] * 10 + [True], "10 at the most"
