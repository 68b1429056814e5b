"""The poller on a real API server, and what it makes of answers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.addons.routeserver.builders import HOST
from tiphys.addons.routeserver.compiling.objects import Problem
from tiphys.addons.routeserver.compiling.options import Options
from tiphys.addons.routeserver.polling import Poller, Reading, made_of, objects_of
from tiphys.addons.routeserver.table import Tables
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"


def ingress(service: str = "shop") -> bytes:
    backend = {"service": {"name": service, "port": {"number": 80}}}
    rows = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    spec = {"rules": [{"host": HOST, "http": {"paths": rows}}]}
    head = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "x"}}
    return msgspec.json.encode({**head, "spec": spec})


SERVICE = msgspec.json.encode(
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "shop"},
        "spec": {"ports": [{"port": 80}]},
    }
)


class Polled:
    def __init__(self, cluster: LocalCluster, **options: Any) -> None:
        self.client = cluster.client
        self.tables = Tables()
        self.problems: list[list[str]] = []
        self.poller = Poller(cluster.client, Options(**options), self.tables, self.told)

    def told(self, problems: Any) -> None:
        self.problems.append([one.message for one in problems])


@pytest.mark.parametrize("slices", [True, False])
async def test_a_table_is_made_when_something_changes_and_not_before(
    server: LocalCluster, slices: bool
) -> None:
    """Nobody has installed RouteGroups here: that is no failure."""
    polled = Polled(server, endpoint_slices=slices)
    assert not await polled.poller.poll(), "no object gives any route"
    assert (polled.tables.empty, polled.tables.current) == (1, None)
    assert not await polled.poller.poll()
    assert polled.tables.empty == 2, "it is empty still"
    await polled.client.request("POST", "/api/v1/namespaces/default/services", SERVICE)
    await polled.client.request("POST", INGRESSES, ingress())
    assert await polled.poller.poll()
    current = polled.tables.current
    assert current is not None and current.complete.count == 1
    assert not await polled.poller.poll()
    assert polled.tables.current is current and polled.tables.empty == 2
    assert (polled.poller.polls, polled.poller.failures) == (4, 0)
    await polled.client.request("DELETE", f"{INGRESSES}/x")
    assert not await polled.poller.poll()
    assert polled.tables.current is current, "what was served stays"
    assert polled.tables.empty == 3


async def test_what_is_wrong_is_told_with_each_new_table(server: LocalCluster) -> None:
    polled = Polled(server)
    await polled.client.request("POST", INGRESSES, ingress("lost"))
    await polled.poller.poll()
    await polled.poller.poll()
    assert polled.problems == [["service lost does not exist"]]


async def test_who_may_not_read_the_cluster_is_told(server: LocalCluster) -> None:
    polled = Polled(server)
    stranger = server.client_as("stranger")
    poller = Poller(stranger, Options(), polled.tables)
    with pytest.raises(StatusError) as refused:
        await poller.poll()
    assert refused.value.code == 403 and poller.polls == 0


async def test_a_poll_that_fails_is_counted_and_the_next_one_comes(server: LocalCluster) -> None:
    poller = Poller(server.client_as("stranger"), Options(), Tables(), interval=0.01)
    server.tasks.start(poller.run(), "polling")
    await server.eventually(lambda: poller.failures >= 2)
    assert poller.polls == 0


def reading(endpoints: bytes) -> Reading:
    empty = b'{"items":[]}'
    return Reading(empty, empty, empty, endpoints)


def test_pods_are_read_from_one_kind_or_the_other() -> None:
    one = b'{"items":[{"metadata":{"name":"e","namespace":"a"}}]}'
    assert [len(objects_of(reading(one), slices=True).endpoint_slices)] == [1]
    assert objects_of(reading(one), slices=True).endpoints == []
    found = objects_of(reading(one), slices=False)
    assert (len(found.endpoints), found.endpoint_slices) == (1, [])


def test_a_broken_object_that_nobody_owns_a_route_by_is_passed_over() -> None:
    """Of a Service or a slice there is nobody to tell: its Ingresses say what they lack."""
    made, table = made_of(reading(b'{"items":[{"endpoints":7}]}'), Options())
    assert made.problems == () and table.routes == ()


BROKEN = [
    (b"7", ("", "")),
    (b'{"metadata":7,"spec":7}', ("", "")),
    (b'{"metadata":{"name":"n","namespace":"a","labels":7}}', ("n", "a")),
]


@pytest.mark.parametrize(("item", "known"), BROKEN)
def test_of_a_broken_object_as_much_as_can_be_read_is_told(
    item: bytes, known: tuple[str, str]
) -> None:
    empty = b'{"items":[]}'
    found = objects_of(Reading(b'{"items":[' + item + b"]}", empty, empty, empty), slices=True)
    [problem] = found.problems
    assert isinstance(problem, Problem) and problem.message.startswith("cannot be read: ")
    assert (problem.about.metadata.name, problem.about.metadata.namespace) == known
