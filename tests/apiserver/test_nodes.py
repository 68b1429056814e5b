"""What a node may read and write: its own, and what its pods name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.apiserver.builders import call, refused
from tests.builders import config_map, pod
from tiphys.api import authentication_v1, coordination_v1, core_v1, policy_v1, resource_v1
from tiphys.api.base import from_builtins
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client
from tiphys.testing import LocalCluster

ACCOUNTS = resource_of(core_v1.ServiceAccount)


@pytest.fixture
async def node(server: LocalCluster) -> AsyncIterator[Client]:
    """The node `one`; there are `one` and `two`, with a pod each: `one-pod`, `two-pod`."""
    admin = server.client
    await admin.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    for name in ("one", "two"):
        zone = {"topology.kubernetes.io/zone": f"zone-{name}"}
        await admin.create(core_v1.Node(metadata=ObjectMeta(name=name, labels=zone)))
        await admin.create(config_map(f"{name}-map"))
        await admin.create(
            core_v1.Secret(metadata=ObjectMeta(name=f"{name}-secret", namespace="default"))
        )
        volumes = [
            {"name": "m", "configMap": {"name": f"{name}-map"}},
            {"name": "p", "projected": {"sources": [{"secret": {"name": f"{name}-secret"}}]}},
        ]
        await admin.create(pod(f"{name}-pod", nodeName=name, volumes=volumes))
    yield server.client_as("system:node:one", ("system:nodes",))


async def test_a_node_reads_what_its_pods_name(node: Client) -> None:
    assert await node.get(core_v1.ConfigMap, "one-map", "default")
    assert await node.get(core_v1.Secret, "one-secret", "default")
    assert await node.get(core_v1.Pod, "one-pod", "default")
    assert await node.get(core_v1.Node, "one")
    for kind, name in (
        (core_v1.ConfigMap, "two-map"),
        (core_v1.Secret, "two-secret"),
        (core_v1.Pod, "two-pod"),
        (core_v1.Secret, "one-pod"),
    ):
        assert (await refused(node.get(kind, name, "default"))).code == 403
    assert (await refused(node.get(core_v1.Node, "two"))).code == 403


async def test_a_node_lists_its_own_pods_and_itself(node: Client) -> None:
    assert [
        p.metadata.name for p in (await node.list(core_v1.Pod, fields="spec.nodeName=one")).items
    ] == ["one-pod"]
    assert [
        n.metadata.name for n in (await node.list(core_v1.Node, fields="metadata.name=one")).items
    ] == ["one"]
    for kind in (core_v1.Pod, core_v1.Node, core_v1.Secret):
        assert (await refused(node.list(kind))).code == 403
    assert (await refused(node.list(core_v1.Pod, fields="spec.nodeName=two"))).code == 403


async def test_a_node_writes_its_own_objects(node: Client) -> None:
    status: dict[str, Any] = {"status": {"phase": "Running"}}
    assert (
        await node.patch(core_v1.Pod, "one-pod", status, "default", "status")
    ).status.phase == "Running"
    error = await refused(node.patch(core_v1.Pod, "two-pod", status, "default", "status"))
    assert 'node "one" can only update pod status for pods with spec.nodeName set to itself' in str(
        error
    )
    labels: dict[str, Any] = {"metadata": {"labels": {"a": "b"}}}
    assert "cannot update labels" in str(
        await refused(node.patch(core_v1.Pod, "one-pod", labels, "default", "status"))
    )
    assert (await refused(node.delete(core_v1.Pod, "two-pod", "default"))).code == 403
    await node.delete(core_v1.Pod, "one-pod", "default", grace=0)
    lease = coordination_v1.Lease(metadata=ObjectMeta(name="two", namespace="kube-node-lease"))
    assert "same name as the requesting node" in str(await refused(node.create(lease)))
    assert "mirror" in str(await refused(node.create(pod("m", nodeName="one"))))


async def test_a_node_does_not_change_what_others_trust(node: Client) -> None:
    for change, why in (
        (
            {"metadata": {"labels": {"node-restriction.kubernetes.io/x": "y"}}},
            "is not allowed to modify labels: node-restriction.kubernetes.io/x",
        ),
        (
            {"metadata": {"labels": {"kubernetes.io/x": "y"}}},
            "is not allowed to modify labels: kubernetes.io/x",
        ),
        (
            {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
            "is not allowed to modify taints",
        ),
    ):
        assert why in str(await refused(node.patch(core_v1.Node, "one", change)))
    mine: dict[str, Any] = {"metadata": {"labels": {"kubelet.kubernetes.io/x": "y", "mine": "z"}}}
    assert (await node.patch(core_v1.Node, "one", mine)).metadata.labels["mine"] == "z"


async def test_a_node_gets_tokens_of_its_pods(node: Client, server: LocalCluster) -> None:
    request = authentication_v1.TokenRequest()
    assert "not bound to a pod" in str(
        await refused(node.post(ACCOUNTS, "default", "default", "token", request))
    )
    for name, why in (("two-pod", "scheduled on a different node"), ("one-pod", "")):
        uid = (await server.client.get(core_v1.Pod, name, "default")).metadata.uid
        request.spec.bound_object_ref = authentication_v1.BoundObjectReference(
            api_version="v1", kind="Pod", name=name, uid=uid
        )
        asked = node.post(ACCOUNTS, "default", "default", "token", request)
        if why:
            assert why in str(await refused(asked))
        else:
            assert await asked
    request.spec.audiences = ["vault"]
    assert 'audience "vault" not found' in str(
        await refused(node.post(ACCOUNTS, "default", "default", "token", request))
    )


async def test_a_node_evicts_its_own_pods(node: Client) -> None:
    eviction = policy_v1.Eviction(metadata=ObjectMeta(name="two-pod", namespace="default"))
    error = await refused(
        node.post(resource_of(core_v1.Pod), "default", "two-pod", "eviction", eviction)
    )
    assert "can only evict pods with spec.nodeName set to itself" in str(error)


async def test_a_pod_gets_the_zone_of_its_node(node: Client, server: LocalCluster) -> None:
    assert (await node.get(core_v1.Pod, "one-pod", "default")).metadata.labels[
        "topology.kubernetes.io/zone"
    ] == "zone-one"
    await server.client.create(pod("free"))
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "free"},
        "target": {"name": "two"},
    }
    await call(server, "POST", "/api/v1/namespaces/default/pods/free/binding", binding)
    assert (await server.client.get(core_v1.Pod, "free", "default")).metadata.labels[
        "topology.kubernetes.io/zone"
    ] == "zone-two"


async def test_a_node_offers_its_own_devices(node: Client, server: LocalCluster) -> None:
    def offered(name: str, of: str) -> resource_v1.ResourceSlice:
        pool = resource_v1.ResourcePool(name=of, generation=1, resource_slice_count=1)
        spec = resource_v1.ResourceSliceSpec(driver="d.example.com", pool=pool, node_name=of)
        return resource_v1.ResourceSlice(metadata=ObjectMeta(name=name), spec=spec)

    made = await node.create(offered("mine", "one"))
    theirs = await server.client.create(offered("theirs", "two"))
    assert (await node.update(made)).metadata.name == "mine"
    assert [
        s.metadata.name
        for s in (await node.list(resource_v1.ResourceSlice, fields="spec.nodeName=one")).items
    ] == ["mine"]
    error = await refused(node.create(offered("false", "two")))
    assert (
        error.code == 403
        and "can only create ResourceSlice with the same NodeName as the requesting node"
        in str(error)
    )
    assert (await refused(node.update(theirs))).code == 403
    assert (await refused(node.delete(resource_v1.ResourceSlice, "theirs"))).code == 403
    assert (await refused(node.list(resource_v1.ResourceSlice))).code == 403
    await node.delete(resource_v1.ResourceSlice, "mine")


async def test_a_node_reads_the_claims_of_its_pods(node: Client, server: LocalCluster) -> None:
    for name in ("used", "other"):
        request = {"name": "r", "exactly": {"deviceClassName": "gpu"}}
        spec = from_builtins({"devices": {"requests": [request]}}, resource_v1.ResourceClaimSpec)
        await server.client.create(
            resource_v1.ResourceClaim(
                metadata=ObjectMeta(name=name, namespace="default"), spec=spec
            )
        )
    claims = [{"name": "g", "resourceClaimName": "used"}]
    await server.client.create(pod("with-claim", nodeName="one", resourceClaims=claims))
    assert await node.get(resource_v1.ResourceClaim, "used", "default")
    assert (await refused(node.get(resource_v1.ResourceClaim, "other", "default"))).code == 403
