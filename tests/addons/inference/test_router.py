"""What the router publishes for the endpoints that there are, and what it writes to their Services.
Nobody runs Envoy: what it would refuse is pretended."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest

from tests.addons.inference.world import endpoint, read
from tests.addons.pretended import Pretended
from tiphys.addons.authority import Authority
from tiphys.addons.inference import Settings
from tiphys.addons.inference import router as routers
from tiphys.addons.inference.router import Router
from tiphys.addons.inference.types import v1
from tiphys.addons.inference.workload import BALANCER_CLASS
from tiphys.api import core_v1, discovery_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import OwnerReference
from tiphys.client.client import Unreachable
from tiphys.machinery import errors
from tiphys.network.xds.cache import CLUSTER, LISTENER, SECRET

NOW = 1_800_000_000.0
AUTHORITY = Authority.new("inference", NOW)[0]


class Context:
    def __init__(self, addresses: str) -> None:
        self.settings = Settings(addresses=addresses, port=8443)
        self.informers = self.client = cast(Any, Pretended())
        self.said: list[str] = []

    def now(self) -> float:
        return NOW

    def ready(self, message: str) -> None:
        self.said.append(message)


class Publisher:
    def __init__(self) -> None:
        self.published: dict[str, dict[str, Any]] = {}
        self.refused: dict[str, str] = {}
        self.refreshed: list[set[str]] = []

    async def publish(self, resources: dict[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
        self.published = resources
        return {LISTENER: self.refused} if self.refused else {}

    def refresh(self, names: set[str]) -> None:
        self.refreshed.append(names)


class Bench:
    def __init__(self, addresses: str = "127.0.84.0/29") -> None:
        self.context = Context(addresses)
        self.server: Pretended = self.context.client
        self.router = Router(cast(Any, self.context), AUTHORITY)
        self.publisher = Publisher()
        self.router._publisher = cast(Any, self.publisher)
        self.router.watch()

    def endpoint(self, name: str, created: str = "2026-01-01T00:00:00Z") -> Any:
        made = read(endpoint(name))
        made.metadata.creation_timestamp = created
        return self.server.put(made)

    def service(
        self, name: str, owner: Any, *addresses: str, class_: str = BALANCER_CLASS
    ) -> core_v1.Service:
        made = core_v1.Service()
        made.metadata.name, made.metadata.namespace = name, "default"
        made.metadata.owner_references = [
            OwnerReference(api_version="v1", kind="K", name=name, uid=owner.metadata.uid)
        ]
        made.spec.load_balancer_class = class_
        made.spec.ports = [core_v1.ServicePort(name="http", port=80)]
        made.status.load_balancer.ingress = [
            core_v1.LoadBalancerIngress(ip=address) for address in addresses
        ]
        self.server.put(made)
        return made

    def both(self, name: str, *addresses: str, created: str = "2026-01-01T00:00:00Z") -> None:
        self.service(name, self.endpoint(name, created), *addresses)

    def routed(self) -> dict[str, str]:
        return {route.key: address for route, address in self.router.routed()}


async def test_what_has_its_own_service_is_routed() -> None:
    bench = Bench()
    bench.endpoint("lonely")
    bench.service("foreign", bench.endpoint("other"))
    bench.service("classless", bench.endpoint("classless"), class_="somebody/else")
    stranger = bench.endpoint("stranger")
    bench.service("taken", stranger)
    bench.endpoint("taken")
    assert bench.routed() == {}
    bench.both("model")
    assert bench.routed() == {"default/model": "127.0.84.2"}


async def test_the_oldest_come_first_and_keep_what_they_have() -> None:
    bench = Bench()
    bench.both("young", created="2026-01-02T00:00:00Z")
    bench.both("old", created="2026-01-01T00:00:00Z")
    assert bench.routed() == {"default/old": "127.0.84.2", "default/young": "127.0.84.3"}
    other = Bench()
    other.both("young", "127.0.84.2", created="2026-01-02T00:00:00Z")
    other.both("old", created="2026-01-01T00:00:00Z")
    assert other.routed() == {"default/old": "127.0.84.3", "default/young": "127.0.84.2"}


async def test_who_gets_no_address_is_not_routed() -> None:
    bench = Bench("127.0.84.0/31")
    for number in range(3):
        bench.both(f"m{number}")
    assert len(bench.routed()) < 3


async def test_an_endpoint_is_published_and_its_address_written() -> None:
    bench = Bench()
    bench.both("model")
    assert await bench.router.publish() == "Envoy serves 1 of 1 endpoints"
    published = bench.publisher.published
    assert set(published) == {CLUSTER, LISTENER, SECRET}
    assert list(published[CLUSTER]) == ["model.default:80"]
    assert list(published[LISTENER]) == list(published[SECRET]) == ["default/model"]
    where = published[LISTENER]["default/model"].address.socket_address
    assert (where.address, where.port_value) == ("127.0.84.2", 8443)
    wanted = {"loadBalancer": {"ingress": [{"ip": "127.0.84.2"}]}}
    assert bench.server.patched == [("Service default/model", wanted)]


async def test_what_stands_there_is_not_written_again() -> None:
    bench = Bench()
    bench.both("model", "127.0.84.2")
    await bench.router.publish()
    assert bench.server.patched == []


async def test_a_refused_endpoint_has_no_address_and_is_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routers, "_AGAIN", 0.01)
    bench = Bench()
    bench.both("model", "127.0.84.2")
    bench.both("other", "127.0.84.3")
    bench.publisher.refused = {"default/model": "in use"}
    with caplog.at_level(logging.INFO, routers.log.name):
        for _ in range(2):
            assert await bench.router.publish() == "Envoy serves 1 of 2 endpoints"
        assert caplog.messages == ["Envoy refused default/model: in use"], "told once"
        gone = ("Service default/model", {"loadBalancer": {"ingress": []}})
        assert bench.server.patched == [gone, gone]
        assert not bench.router._changed.is_set()
        await asyncio.wait_for(bench.router._changed.wait(), 5)
        bench.publisher.refused = {}
        await bench.router.publish()
        bench.publisher.refused = {"default/model": "in use"}
        await bench.router.publish()
    assert len(caplog.messages) == 2


@pytest.mark.parametrize(
    "error, level",
    [
        (Unreachable("nobody is there"), logging.INFO),
        (errors.not_found("services", "model"), None),
        (errors.forbidden("services", "model", "no"), logging.WARNING),
    ],
)
async def test_an_address_that_cannot_be_written_is_no_end(
    caplog: pytest.LogCaptureFixture, error: Exception, level: int | None
) -> None:
    bench = Bench()
    bench.both("model")
    bench.server.fails = error
    with caplog.at_level(logging.INFO, routers.log.name):
        assert await bench.router.publish() == "Envoy serves 1 of 1 endpoints"
    assert [one.levelno for one in caplog.records] == ([level] if level is not None else [])


async def test_a_service_that_went_meanwhile_is_left_alone() -> None:
    bench = Bench()
    bench.both("model")
    ((route, address),) = bench.router.routed()
    found = bench.server.of(core_v1.Service).get("default/model")
    bench.server.take(found)
    await bench.router._tell(route, address)
    assert bench.server.patched == []


# --- endpoints of Services ---


def slice_of(service: str, *addresses: str, port: str = "http") -> discovery_v1.EndpointSlice:
    return from_builtins(
        {
            "metadata": {
                "name": f"{service}-1",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": service} if service else {},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in addresses],
            "ports": [{"name": port, "port": 9000}],
        },
        discovery_v1.EndpointSlice,
    )


def addresses(bench: Bench, cluster: str = "model.default:80") -> list[str]:
    return [
        one.endpoint.address.socket_address.address
        for group in bench.router._assignment(cluster).endpoints
        for one in group.lb_endpoints
    ]


async def test_endpoints_of_a_service_are_those_of_its_port() -> None:
    bench = Bench()
    assert addresses(bench) == []
    bench.both("model")
    assert addresses(bench) == []
    bench.server.put(slice_of("model", "10.0.0.1"))
    assert addresses(bench) == ["10.0.0.1"]
    bench.server.put(slice_of("model", "10.0.0.1", port="other"))
    assert addresses(bench) == []
    assert addresses(bench, "other.default:80") == []


async def test_a_service_without_ports_has_no_endpoints() -> None:
    bench = Bench()
    bench.service("model", bench.endpoint("model")).spec.ports = []
    bench.server.put(slice_of("model", "10.0.0.1"))
    assert addresses(bench) == []


async def test_changed_slices_refresh_their_clusters_alone() -> None:
    bench = Bench()
    bench.both("model")
    bench.router._changed.clear()
    found = bench.server.put(slice_of("model", "10.0.0.1"))
    bench.server.put(slice_of("", "10.0.0.1"))
    bench.server.put(slice_of("unknown", "10.0.0.1"))
    bench.server.take(found)
    mine = {"model.default:80"}
    assert bench.publisher.refreshed == [mine, set(), set(), mine]
    assert not bench.router._changed.is_set(), "nothing is to be published"


@pytest.mark.parametrize("kind", [v1.InferenceEndpointConfig, core_v1.Service])
async def test_changed_objects_are_published(kind: Any) -> None:
    bench = Bench()
    bench.both("model")
    bench.router._changed.clear()
    (found,) = bench.server.of(kind)
    bench.server.take(found)
    assert bench.router._changed.is_set()


async def test_it_says_what_is_new_alone() -> None:
    bench = Bench()
    follow = asyncio.create_task(bench.router.follow())
    await _until(lambda: len(bench.context.said) == 1)
    bench.both("model", "127.0.84.2")
    await _until(lambda: len(bench.context.said) == 2)
    bench.publisher.published = {}
    bench.router._changed.set()
    await _until(lambda: bool(bench.publisher.published))
    follow.cancel()
    assert bench.context.said == ["Envoy serves 0 of 0 endpoints", "Envoy serves 1 of 1 endpoints"]


async def _until(check: Any) -> None:
    async with asyncio.timeout(5):
        while not check():  # noqa: ASYNC110 - another task has no event for it
            await asyncio.sleep(0.005)
