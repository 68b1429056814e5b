"""Which services are compiled anew when something changes, and who is a member behind one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from google.protobuf.any_pb2 import Any as Packed

from tests.addons.mesh.builders import NAMESPACE, port, route, service, slice_of
from tests.addons.pretended import Pretended
from tiphys.addons.mesh.injection import PROXY
from tiphys.addons.mesh.types import MeshPolicy, MeshPolicySpec
from tiphys.addons.mesh.watching import Source
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.network.xds.cache import CLUSTER, ENDPOINTS, LISTENER, Cache

NAME = "web.shop:80"


class Followed:
    """A source over informers that nobody runs."""

    def __init__(self) -> None:
        self.cluster = Pretended()
        self.cache = Cache()
        self.policies: list[str] = []
        informers: Any = self.cluster
        self.source = Source(self.cache, informers, "cluster.local", self.policies.append)
        self.source.start()

    async def put(self, *objects: Any) -> None:
        for one in objects:
            self.cluster.put(one)
        await self.done()

    async def take(self, *objects: Any) -> None:
        for one in objects:
            self.cluster.take(one)
        await self.done()

    async def done(self) -> None:
        async with asyncio.timeout(5):
            while self.source._dirty:  # noqa: ASYNC110 (it sets no event)
                await asyncio.sleep(0.001)

    def marked(self) -> dict[str, bool]:
        """Of each endpoint of the service, whether it is spoken to by mutual TLS."""
        made = endpoint_pb2.ClusterLoadAssignment()
        assert Packed.FromString(self.cache.all(ENDPOINTS)[NAME].body).Unpack(made)
        return {
            one.endpoint.address.socket_address.address: bool(one.metadata.filter_metadata)
            for group in made.endpoints
            for one in group.lb_endpoints
        }

    def of_cluster(self) -> Any:
        made = cluster_pb2.Cluster()
        assert Packed.FromString(self.cache.all(CLUSTER)[NAME].body).Unpack(made)
        return made


def pod(name: str, address: str, account: str = "", sidecar: bool = True) -> core_v1.Pod:
    spec = core_v1.PodSpec(service_account_name=account)
    if sidecar:
        spec.init_containers = [core_v1.Container(name=PROXY, image="p")]
    made = core_v1.Pod(metadata=ObjectMeta(name=name, namespace=NAMESPACE), spec=spec)
    made.status.pod_ips = [core_v1.PodIP(ip=address)]
    return made


def policy(mode: Any, name: str = "default", namespace: str = NAMESPACE) -> MeshPolicy:
    meta = ObjectMeta(name=name, namespace=namespace)
    return MeshPolicy(metadata=meta, spec=MeshPolicySpec(mode=mode))


@pytest.mark.parametrize(
    ("there", "is_member"),
    [
        (pod("web-1", "10.1.0.1"), True),
        (pod("web-1", "10.1.0.1", sidecar=False), False),
        (pod("web-1", "10.1.0.2"), False),  # a slice can say what it likes
        (pod("web-2", "10.1.0.1"), False),
    ],
)
async def test_a_member_is_a_pod_with_a_sidecar_and_that_address(
    there: core_v1.Pod, is_member: bool
) -> None:
    made = Followed()
    await made.put(service("web"), slice_of("web", **{"web-1": "10.1.0.1"}), there)
    assert made.marked() == {"10.1.0.1": is_member}
    identity = b"spiffe://cluster.local/ns/shop/sa/default"
    assert (identity in made.of_cluster().SerializeToString()) is is_member


async def test_a_pod_that_gets_its_address_or_another_account_is_compiled_anew() -> None:
    made = Followed()
    await made.put(service("web"), slice_of("web", **{"web-1": "10.1.0.1"}))
    await made.put(pod("web-1", "10.1.0.9"))
    assert made.marked() == {"10.1.0.1": False}
    await made.put(pod("web-1", "10.1.0.1", "asker"))
    assert made.marked() == {"10.1.0.1": True}
    assert b"/ns/shop/sa/asker" in made.of_cluster().SerializeToString()
    await made.take(pod("web-1", "10.1.0.1", "asker"))
    assert made.marked() == {"10.1.0.1": False}


async def test_what_says_nothing_new_of_a_pod_is_no_work() -> None:
    made = Followed()
    await made.put(service("web"), slice_of("web", **{"web-1": "10.1.0.1"}))
    await made.put(pod("web-1", "10.1.0.1"))
    labelled = pod("web-1", "10.1.0.1")
    labelled.metadata.labels = {"a": "b"}
    made.cluster.put(labelled)
    assert not made.source._dirty


async def test_endpoints_without_a_pod_or_an_address_are_nobody() -> None:
    made = Followed()
    bare = slice_of("web", **{"web-1": "10.1.0.1", "web-2": "10.1.0.2", "web-3": "10.1.0.3"})
    bare.endpoints[0].target_ref = None
    reference = bare.endpoints[1].target_ref
    assert reference is not None
    reference.kind = "Node"
    bare.endpoints[2].addresses = []
    pods = [pod(f"web-{number}", f"10.1.0.{number}") for number in (1, 2, 3)]
    await made.put(service("web"), bare, *pods)
    assert made.marked() == {"10.1.0.1": False, "10.1.0.2": False}


async def test_a_slice_that_goes_to_another_service_changes_both() -> None:
    made = Followed()
    await made.put(service("web"), service("next"), slice_of("web", one="10.1.0.1"))
    assert list(made.marked()) == ["10.1.0.1"]
    moved = slice_of("next", one="10.1.0.1")
    moved.metadata.name = "web-1"
    await made.put(moved)
    assert made.marked() == {}
    nameless = slice_of("web", one="10.1.0.1")
    nameless.metadata.labels = {}
    made.cluster.put(nameless)
    assert list(made.source._dirty) == ["shop/next"], "it is nobody's now"


async def test_a_service_that_is_gone_leaves_nothing() -> None:
    made = Followed()
    await made.put(service("web", port(), port("https", 443)))
    assert {NAME, "web.shop:443"} <= set(made.cache.all(LISTENER))
    await made.put(service("web"))
    assert NAME in made.cache.all(LISTENER)
    assert "web.shop:443" not in made.cache.all(LISTENER)
    await made.take(service("web"))
    assert set(made.cache.all(LISTENER)) == {"outbound"}
    assert set(made.cache.all(CLUSTER)) == {"passthrough"}
    assert made.source._names == {}


@pytest.mark.parametrize(
    ("standing", "mode"),
    [
        ([], "Permissive"),
        ([policy("Strict")], "Strict"),
        ([policy("Permissive")], "Permissive"),
        ([policy("Strict", namespace="other")], "Permissive"),
    ],
)
async def test_a_namespace_is_permissive_unless_its_policy_says_otherwise(
    standing: list[MeshPolicy], mode: str
) -> None:
    made = Followed()
    await made.put(service("web"), *standing)
    assert made.source.mode_of(NAMESPACE) == mode
    assert made.of_cluster().HasField("transport_socket") is (mode == "Strict")


async def test_a_policy_changes_all_services_of_its_namespace() -> None:
    made = Followed()
    elsewhere = service("web")
    elsewhere.metadata.namespace = "other"
    await made.put(service("web"), service("next"), elsewhere)
    made.cluster.put(policy("Strict"))
    assert list(made.source._dirty) == ["shop/web", "shop/next"]
    await made.done()
    accepted = policy("Strict")
    accepted.status.observed_generation = 1
    made.cluster.put(accepted)
    assert not made.source._dirty, "its status is no change"
    await made.take(policy("Strict"))
    assert made.policies == [NAMESPACE, NAMESPACE]
    assert made.source.mode_of(NAMESPACE) == "Permissive"


async def test_a_route_that_goes_to_another_service_changes_both() -> None:
    made = Followed()
    await made.put(service("web"), service("next"), route("r", service="web"))
    made.cluster.put(route("r", service="next"))
    assert list(made.source._dirty) == ["shop/web", "shop/next"]
    await made.done()
    made.cluster.take(route("r", service="next"))
    assert list(made.source._dirty) == ["shop/next"]
    await made.done()


async def test_many_services_are_compiled_ten_at_a_time() -> None:
    made = Followed()
    for number in range(25):
        made.cluster.put(service(f"s{number}"))
    left = []
    async with asyncio.timeout(5):
        while made.source._dirty:
            if len(made.source._dirty) not in left:
                left.append(len(made.source._dirty))
            await asyncio.sleep(0)
    assert left == [25, 15, 5]
    assert len(made.cache.all(LISTENER)) == 26
