"""IPAddress objects and services say the same, whatever happened between the two."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from tiphys.api.core_v1 import Service, ServicePort
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.networking_v1 import IPAddress, ParentReference
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informers
from tiphys.controllers.ipaddresses import IPAddressController, record_of
from tiphys.controllers.shell import Context
from tiphys.testing import LocalCluster


class Repair:
    """The controller alone, whose clock is `ahead` of the server's."""

    def __init__(self, server: LocalCluster) -> None:
        self.server = server
        self.ahead = 0.0

    def start(self) -> None:
        client = self.server.client
        informers = Informers(client, self.server.tasks)
        recorder = EventRecorder(client, "controllers")
        context = Context(client, informers, recorder, self.server.tasks, now=self.now)
        controller = IPAddressController(context)
        controller.watch()
        self.server.tasks.start(controller.run(), "repair")

    def now(self) -> float:
        return time.time() + self.ahead

    async def parent(self, address: str) -> str:
        """The service that an address is of, "" for one that is not there."""
        for one in (await self.server.client.list(IPAddress)).items:
            if one.metadata.name == address and one.spec.parent_ref is not None:
                return one.spec.parent_ref.name
        return ""


@pytest.fixture
async def repair(server: LocalCluster) -> AsyncIterator[Repair]:
    yield Repair(server)
    await server.tasks.stop()


def service(name: str = "s") -> Service:
    built = Service(metadata=ObjectMeta(name=name, namespace="default"))
    built.spec.ports = [ServicePort(name="http", port=80)]
    return built


async def test_an_address_that_somebody_deleted_comes_back(repair: Repair) -> None:
    repair.start()
    client = repair.server.client
    address = (await client.create(service())).spec.cluster_ip
    await client.delete(IPAddress, address)

    async def is_back() -> bool:
        return await repair.parent(address) == "s"

    await repair.server.eventually(is_back)


async def test_an_address_that_names_another_service_is_corrected(repair: Repair) -> None:
    client = repair.server.client
    address = (await client.create(service())).spec.cluster_ip
    await client.delete(IPAddress, address)
    await client.create(record_of(service("nobody"), address))
    repair.start()

    async def is_corrected() -> bool:
        return await repair.parent(address) == "s"

    await repair.server.eventually(is_corrected)


@pytest.mark.parametrize("resource", ["services", "gateways"])
async def test_an_address_that_leaked_goes_after_a_minute(repair: Repair, resource: str) -> None:
    leaked = record_of(service("nobody"), "10.96.7.7")
    leaked.spec.parent_ref = ParentReference(resource=resource, namespace="default", name="x")
    await repair.server.client.create(leaked)
    repair.ahead = 61.0
    repair.start()

    async def is_gone() -> bool:
        return await repair.parent("10.96.7.7") == ""

    await repair.server.eventually(is_gone)


async def test_addresses_of_others_and_those_that_are_new_stay(repair: Repair) -> None:
    client = repair.server.client
    young = record_of(service("coming"), "10.96.7.7")
    others = record_of(service("nobody"), "10.96.7.8")
    others.metadata.labels = {}
    await client.create(young)
    await client.create(others)
    repair.start()
    address = (await client.create(service())).spec.cluster_ip
    await client.delete(IPAddress, address)

    async def has_worked() -> bool:
        return await repair.parent(address) == "s"

    await repair.server.eventually(has_worked)
    assert await repair.parent("10.96.7.7") and await repair.parent("10.96.7.8")
