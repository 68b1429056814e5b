"""Names follow the objects of a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.network.builders import endpoint, service, slice_with
from tiphys.addons.dns.source import InformerSource
from tiphys.api import core_v1, discovery_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.informer import Informers
from tiphys.testing import LocalCluster


class Place:
    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster, self.client = cluster, cluster.client
        informers = Informers(cluster.client, cluster.tasks)
        self.source = InformerSource(informers)
        self.informers = informers
        self.forgotten: set[str] = set()
        self.source.on_change(self.forgotten.add)

    async def create(self, *objects: object) -> None:
        for one in objects:
            await self.client.create(one)  # type: ignore[type-var]


@pytest.fixture
async def place(server: LocalCluster) -> AsyncIterator[Place]:
    place = Place(server)
    await place.create(core_v1.Namespace(metadata=ObjectMeta(name="d")))
    yield place


def headless() -> core_v1.Service:
    return service("headless", "None")


def endpoints() -> discovery_v1.EndpointSlice:
    built = slice_with("headless", [endpoint("10.1.0.1", hostname="web-0"), endpoint("10.1.0.2")])
    built.address_type = "IPv4"
    return built


async def test_objects_are_found_by_the_names_that_a_question_has(place: Place) -> None:
    await place.create(headless(), endpoints())
    await place.cluster.eventually(lambda: place.source.slices("d", "headless"))
    await place.cluster.eventually(lambda: place.source.service("d", "headless"))
    assert place.source.service("x", "headless") is None
    assert not place.source.slices("d", "other")
    assert place.source.namespace_exists("d") and not place.source.namespace_exists("none")


async def test_an_address_has_the_names_of_its_service_or_its_own(place: Place) -> None:
    await place.create(service("s", "10.96.0.99"), headless(), endpoints())
    await place.cluster.eventually(lambda: place.source.by_address("10.1.0.2"))
    await place.cluster.eventually(lambda: place.source.by_address("10.96.0.99"))
    assert place.source.by_address("10.96.0.99") == ["s.d"]
    assert place.source.by_address("10.1.0.1") == ["web-0.headless.d"]
    assert place.source.by_address("10.1.0.2") == ["10-1-0-2.headless.d"]
    assert place.source.by_address("10.1.0.3") == []


async def test_endpoints_behind_a_cluster_ip_have_no_names(place: Place) -> None:
    await place.create(service("headless", "10.96.0.98"), endpoints())
    await place.cluster.eventually(lambda: place.source.slices("d", "headless"))
    await place.cluster.eventually(lambda: place.source.service("d", "headless"))
    assert place.source.by_address("10.1.0.1") == []


async def test_a_change_of_endpoints_is_one_of_their_service_and_their_addresses(
    place: Place,
) -> None:
    await place.create(endpoints())
    expected = {"d/headless", "10.1.0.1", "10.1.0.2"}
    await place.cluster.eventually(lambda: expected <= place.forgotten)
    place.forgotten.clear()
    await place.client.delete(discovery_v1.EndpointSlice, "headless", "d")
    await place.cluster.eventually(lambda: expected <= place.forgotten)


async def test_a_change_of_a_service_is_one_of_its_endpoints_names(place: Place) -> None:
    await place.create(headless(), endpoints())
    await place.cluster.eventually(lambda: place.source.by_address("10.1.0.1"))
    place.forgotten.clear()
    await place.client.delete(core_v1.Service, "headless", "d")
    await place.cluster.eventually(lambda: "d/headless" in place.forgotten)
    assert {"10.1.0.1", "10.1.0.2"} <= place.forgotten


async def test_a_new_namespace_is_a_name(place: Place) -> None:
    await place.create(core_v1.Namespace(metadata=ObjectMeta(name="young")))
    await place.cluster.eventually(lambda: "young" in place.forgotten)
