"""What changes of objects lead to: compiling anew, fresh endpoints, or nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.builders import config_map, service
from tiphys.addons.gateway.types.http import HTTPRoute
from tiphys.addons.gateway.watching import Watcher
from tiphys.api import core_v1, discovery_v1, networking_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.informer import Informer


class Informers:
    """Informers that nobody runs: what they hold is put into them."""

    def __init__(self) -> None:
        self.made: dict[Any, Informer[Any]] = {}

    def of(self, kind: Any) -> Informer[Any]:
        nobody: Any = None
        return self.made.setdefault(kind, Informer(nobody, kind))


class Followed:
    def __init__(self) -> None:
        informers: Any = Informers()
        self.informers = informers
        self.watcher = Watcher(informers)
        self.refreshed: list[set[str]] = []
        self.flushed = asyncio.Event()
        self.watcher.start(self._refresh)
        self.version = 0

    def _refresh(self, names: set[str]) -> None:
        self.refreshed.append(names)
        self.flushed.set()

    def put(self, obj: Any) -> bool:
        """Whether everything is to be compiled anew."""
        self.watcher.changed.clear()
        self.version += 1
        obj.metadata.resource_version = str(self.version)
        self.informers.of(type(obj))._put(obj)
        return self.watcher.changed.is_set()

    def remove(self, obj: Any) -> bool:
        self.watcher.changed.clear()
        self.informers.of(type(obj))._remove(obj)
        return self.watcher.changed.is_set()


def meta(**parts: Any) -> ObjectMeta:
    return ObjectMeta(name="r", namespace="default", **parts)


@pytest.mark.parametrize(
    ("old", "new", "compiled"),
    [
        (meta(generation=1), meta(generation=2), True),
        (meta(generation=1), meta(generation=1), False),
        (meta(generation=1), meta(generation=1, labels={"a": "b"}), True),
        (meta(generation=1), meta(generation=1, annotations={"a": "b"}), True),
        (meta(), meta(), True),
    ],
)
async def test_a_status_is_no_change(old: ObjectMeta, new: ObjectMeta, compiled: bool) -> None:
    followed = Followed()
    assert followed.put(HTTPRoute(metadata=old))
    changed = HTTPRoute(metadata=new)
    assert followed.put(changed) is compiled
    assert followed.remove(changed)


@pytest.mark.parametrize(("kind", "compiled"), [("kubernetes.io/tls", True), ("Opaque", False)])
async def test_only_certificates_concern_a_gateway(kind: str, compiled: bool) -> None:
    secret = core_v1.Secret(metadata=meta(), type=kind)
    followed = Followed()
    assert followed.put(secret) is compiled and followed.remove(secret) is compiled


async def test_only_maps_of_authorities_concern_a_gateway() -> None:
    followed = Followed()
    assert not followed.put(config_map(other="x"))
    assert followed.put(config_map(**{"ca.crt": "x"}))
    assert followed.put(config_map(other="x")), "it had one"


def slice_of(name: str, service_name: str, *addresses: str) -> discovery_v1.EndpointSlice:
    made = discovery_v1.EndpointSlice(address_type="IPv4")
    labels = {"kubernetes.io/service-name": service_name} if service_name else {}
    made.metadata = ObjectMeta(name=name, namespace="default", labels=labels)
    made.ports = [discovery_v1.EndpointPort(name="", port=8080)]
    made.endpoints = [discovery_v1.Endpoint(addresses=[address]) for address in addresses]
    return made


async def test_endpoints_take_a_short_way_and_are_gathered() -> None:
    followed = Followed()
    followed.put(service("web", port=80))
    for number in range(3):
        assert not followed.put(slice_of(f"s{number}", "web"))
    followed.put(slice_of("alone", ""))
    followed.put(slice_of("lost", "gone"))
    async with asyncio.timeout(5):
        await followed.flushed.wait()
    assert followed.refreshed == [{"web.default:80"}]
    followed.flushed.clear()
    followed.put(slice_of("s0", "other"))
    async with asyncio.timeout(5):
        await followed.flushed.wait()
    assert followed.refreshed[1:] == [{"web.default:80"}], "it was the service's"


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("web.default:80", ["10.0.0.1", "10.0.0.2"]),
        ("web.default:80|something", ["10.0.0.1", "10.0.0.2"]),
        ("web.default:81", []),
        ("gone.default:80", []),
        ("web.other:80", []),
    ],
)
async def test_the_endpoints_of_a_port(name: str, addresses: list[str]) -> None:
    followed = Followed()
    followed.put(service("web", port=80))
    followed.put(slice_of("s", "web", "10.0.0.2", "10.0.0.1"))
    made: Any = followed.watcher.assignment(name)
    assert made.cluster_name == name
    found = [
        one.endpoint.address.socket_address.address
        for zone in made.endpoints
        for one in zone.lb_endpoints
    ]
    assert found == addresses


async def test_everything_is_shown_as_it_is_now() -> None:
    followed = Followed()
    for obj in (
        service("web"),
        HTTPRoute(metadata=meta()),
        networking_v1.Ingress(metadata=meta()),
        core_v1.Namespace(metadata=ObjectMeta(name="n")),
        config_map("c"),
    ):
        followed.put(obj)
    shown = followed.watcher.objects()
    assert set(shown.services) == {"default/web"} and set(shown.namespaces) == {"n"}
    assert set(shown.config_maps) == {"default/c"} and shown.secrets == {}
    assert len(shown.routes) == len(shown.ingresses) == 1
