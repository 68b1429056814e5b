"""What goes with what: owners and dependents, and whole namespaces."""

from __future__ import annotations

from typing import Any

from tests.apiserver.builders import call
from tests.builders import config_map, deployment, pod
from tests.e2e.clusters import available, gone, ready, running
from tiphys.api import apps_v1, core_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.client.client import MERGE
from tiphys.testing import LocalCluster


async def test_deleting_an_owner_takes_its_pods_along_or_leaves_them(cluster: LocalCluster) -> None:
    await ready(cluster)
    await cluster.client.create(deployment("a", 1))
    await available(cluster, "a", 1)
    await cluster.client.delete(apps_v1.Deployment, "a", "default", propagation="Foreground")
    await gone(cluster, apps_v1.Deployment, "a")
    assert not await cluster.pods(labels="app=a")
    await cluster.client.create(deployment("b", 1))
    await available(cluster, "b", 1)
    await cluster.client.delete(apps_v1.Deployment, "b", "default", propagation="Orphan")
    await gone(cluster, apps_v1.Deployment, "b")
    [left] = (await cluster.client.list(apps_v1.ReplicaSet, "default", labels="app=b")).items
    assert not left.metadata.owner_references


async def test_a_circle_of_owners_goes_when_one_of_them_does(cluster: LocalCluster) -> None:
    await ready(cluster)
    made = [await cluster.client.create(config_map(name)) for name in ("a", "b", "c")]
    for obj, owner in zip(made, [made[2], *made[:2]], strict=True):
        reference = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner.metadata.name,
            "uid": owner.metadata.uid,
        }
        change = {
            "metadata": {
                "ownerReferences": [{**reference, "controller": True, "blockOwnerDeletion": True}]
            }
        }
        await cluster.client.patch(core_v1.ConfigMap, obj.metadata.name, change, "default")
    await cluster.client.delete(core_v1.ConfigMap, "a", "default", propagation="Foreground")
    for name in ("a", "b", "c"):
        await gone(cluster, core_v1.ConfigMap, name)


async def test_an_object_whose_owner_never_was_is_collected(cluster: LocalCluster) -> None:
    orphan = config_map("orphan")
    orphan.metadata.owner_references = [
        OwnerReference(api_version="v1", kind="ConfigMap", name="nobody", uid="none")
    ]
    await cluster.client.create(orphan)
    await gone(cluster, core_v1.ConfigMap, "orphan")


async def test_a_namespace_empties_and_goes(cluster: LocalCluster) -> None:
    await cluster.client.create(core_v1.Namespace(metadata=ObjectMeta(name="temp")))
    await ready(cluster, "temp")
    await cluster.client.create(deployment("web", 2, "temp"))
    await cluster.eventually(lambda: running(cluster, "temp", 2))
    await cluster.client.delete(core_v1.Namespace, "temp")
    await gone(cluster, core_v1.Namespace, "temp", "")
    assert not await cluster.pods("temp")


async def test_pods_go_before_all_else_of_their_namespace(cluster: LocalCluster) -> None:
    await cluster.client.create(core_v1.Namespace(metadata=ObjectMeta(name="temp")))
    await ready(cluster, "temp")
    held = pod("held", "temp")
    held.metadata.finalizers = ["example.org/wait"]
    await cluster.client.create(held)
    await cluster.client.create(config_map("settings", "temp"))
    await cluster.eventually(lambda: running(cluster, "temp", 1))
    await cluster.client.delete(core_v1.Namespace, "temp")

    async def waits() -> bool:
        status = (await cluster.client.get(core_v1.Namespace, "temp")).status
        conditions = {c.type: c.message for c in status.conditions if c.status == "True"}
        return conditions.get("NamespaceFinalizersRemaining", "").endswith(
            "example.org/wait in 1 resource instances"
        )

    await cluster.eventually(waits)
    assert not (
        await cluster.client.get(core_v1.ConfigMap, "settings", "temp")
    ).metadata.deletion_timestamp
    await cluster.client.patch(
        core_v1.Pod, "held", {"metadata": {"finalizers": None}}, "temp", media=MERGE
    )
    await gone(cluster, core_v1.Namespace, "temp", "")


TABS = "/apis/example.com/v1/namespaces/{}/tabs"


async def define_tabs(cluster: LocalCluster) -> None:
    """Defines a custom resource without rules, and waits until it is served."""
    schema = {"openAPIV3Schema": {"type": "object"}}
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "tabs", "kind": "Tab"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    head = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    await call(
        cluster, "POST", path, {**head, "metadata": {"name": "tabs.example.com"}, "spec": spec}
    )

    async def served() -> bool:
        status = (await call(cluster, "GET", f"{path}/tabs.example.com"))["status"]
        return "Established" in {c["type"] for c in status["conditions"] if c["status"] == "True"}

    await cluster.eventually(served)


async def create_tab(
    cluster: LocalCluster, name: str, namespace: str = "default", owner: Any = None
) -> dict[str, Any]:
    """Creates one; returns the reference by which it owns others."""
    metadata = {"name": name, "ownerReferences": [owner] if owner else []}
    head = {"apiVersion": "example.com/v1", "kind": "Tab"}
    path = TABS.format(namespace)
    made = await call(cluster, "POST", path, {**head, "metadata": metadata})
    return {**head, "name": name, "uid": made["metadata"]["uid"]}


async def test_custom_objects_are_collected_and_leave_with_their_namespace(
    cluster: LocalCluster,
) -> None:
    await ready(cluster)
    await define_tabs(cluster)
    await cluster.client.create(core_v1.Namespace(metadata=ObjectMeta(name="space")))
    owner = await create_tab(cluster, "owner")
    held = config_map("held")
    held.metadata.owner_references = [from_builtins(owner, OwnerReference)]
    await cluster.client.create(held)
    await create_tab(cluster, "child", owner=owner)
    await create_tab(cluster, "inside", "space")
    await call(cluster, "DELETE", f"{TABS.format('default')}/owner")
    await gone(cluster, core_v1.ConfigMap, "held")
    await cluster.client.delete(core_v1.Namespace, "space")
    await gone(cluster, core_v1.Namespace, "space", "")

    async def empty() -> bool:
        lists = [await call(cluster, "GET", TABS.format(name)) for name in ("default", "space")]
        return not any(found["items"] for found in lists)

    await cluster.eventually(empty)
