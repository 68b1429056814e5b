"""Pods on hollow nodes: placed, run, resized, evicted and deleted."""

from __future__ import annotations

import re
from typing import Any

from tests.apiserver.builders import call
from tests.builders import pod
from tests.e2e.clusters import gone, has_phase, ready, running
from tiphys.api import core_v1
from tiphys.client.client import MERGE
from tiphys.testing import LocalCluster


async def test_a_pod_that_fits_nowhere_says_why_and_is_scheduled_once_it_fits(
    cluster: LocalCluster,
) -> None:
    await ready(cluster)
    await cluster.client.create(pod("picky", nodeSelector={"disk": "ssd"}))

    async def explained() -> bool:
        found = await cluster.client.get(core_v1.Pod, "picky", "default")
        return any(
            c.reason == "Unschedulable"
            and "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector"
            in c.message
            for c in found.status.conditions
        )

    await cluster.eventually(explained)
    await cluster.client.patch(core_v1.Node, "hollow-1", {"metadata": {"labels": {"disk": "ssd"}}})
    await cluster.eventually(lambda: running(cluster, "default", 1))
    assert (await cluster.client.get(core_v1.Pod, "picky", "default")).spec.node_name == "hollow-1"


async def test_an_important_pod_makes_room_for_itself(cluster: LocalCluster) -> None:
    await ready(cluster)
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    await call(
        cluster,
        "POST",
        classes,
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "high"},
            "value": 1000,
        },
    )
    free = int((await cluster.client.list(core_v1.Node)).items[0].status.allocatable["cpu"])
    large = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": str(free - 1)}}}]
    for name in ("one", "two"):
        await cluster.client.create(pod(name, containers=large))
        await cluster.eventually(lambda name=name: has_phase(cluster, name, "Running"))
    await cluster.client.create(pod("vital", containers=large, priorityClassName="high"))
    await cluster.eventually(lambda: has_phase(cluster, "vital", "Running"))
    assert len(await cluster.pods()) == 2


async def test_a_pod_that_ends_completes(cluster: LocalCluster) -> None:
    await ready(cluster)
    await cluster.client.create(pod("once", restartPolicy="Never"))

    async def done() -> bool:
        return (
            await cluster.client.get(core_v1.Pod, "once", "default")
        ).status.phase == "Succeeded"

    await cluster.eventually(done)


async def test_a_pod_grows_in_place_when_there_is_room(cluster: LocalCluster) -> None:
    await ready(cluster)
    node = (await cluster.client.list(core_v1.Node)).items[0]
    room = int(node.status.allocatable["cpu"])
    for name in ("first", "second"):
        sizes = {"requests": {"cpu": "1", "memory": "1Gi"}}
        policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
        containers = [{"name": "c", "image": "i", "resources": sizes, "resizePolicy": policy}]
        await cluster.client.create(pod(name, nodeName=node.metadata.name, containers=containers))
    await cluster.eventually(lambda: running(cluster, "default", 2))

    async def resize(name: str, **sizes: str) -> None:
        body = {"spec": {"containers": [{"name": "c", "resources": {"requests": sizes}}]}}
        await cluster.client.patch(core_v1.Pod, name, body, "default", "resize")

    async def shows(name: str, cpu: str, restarts: int = 0, **conditions: str) -> bool:
        found = await cluster.client.get(core_v1.Pod, name, "default")
        [status] = found.status.container_statuses
        held = {c.type: c.reason for c in found.status.conditions if c.type.startswith("PodResize")}
        assert status.resources is not None
        return (status.resources.requests["cpu"], status.restart_count, held) == (
            cpu,
            restarts,
            conditions,
        )

    await resize("first", cpu="2")
    await cluster.eventually(lambda: shows("first", "2"))
    await resize("second", cpu=str(room - 1))
    await cluster.eventually(lambda: shows("second", "1", PodResizePending="Deferred"))
    await resize("second", cpu=str(room + 1))
    await cluster.eventually(lambda: shows("second", "1", PodResizePending="Infeasible"))
    await resize("second", cpu=str(room - 1))
    await cluster.eventually(lambda: shows("second", "1", PodResizePending="Deferred"))
    await resize("first", memory="2Gi")
    await cluster.eventually(lambda: shows("first", "2", restarts=1))
    await cluster.client.delete(core_v1.Pod, "first", "default")
    await cluster.eventually(lambda: shows("second", str(room - 1)))


async def test_an_evicted_pod_says_why_it_goes(cluster: LocalCluster) -> None:
    await ready(cluster)
    held = pod("held")
    held.metadata.finalizers = ["example.org/wait"]
    made = await cluster.client.create(held)
    await cluster.eventually(lambda: running(cluster, "default", 1))
    seen = await cluster.client.get(core_v1.Pod, "held", "default")
    options = {
        "preconditions": {
            "uid": made.metadata.uid,
            "resourceVersion": seen.metadata.resource_version,
        }
    }
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "held"},
        "deleteOptions": options,
    }
    await call(cluster, "POST", "/api/v1/namespaces/default/pods/held/eviction", body)
    found = await cluster.client.get(core_v1.Pod, "held", "default")
    assert found.metadata.deletion_timestamp
    target = next(c for c in found.status.conditions if c.type == "DisruptionTarget")
    assert (target.reason, target.message) == ("EvictionByEvictionAPI", "Eviction API: evicting")
    await cluster.client.patch(
        core_v1.Pod, "held", {"metadata": {"finalizers": None}}, "default", media=MERGE
    )
    await gone(cluster, core_v1.Pod, "held")


async def test_a_pod_goes_once_the_server_lets_it(cluster: LocalCluster) -> None:
    """Its node may be refused the final deletion of a pod: it repeats it until the object goes."""
    await ready(cluster)
    await cluster.client.create(pod("p"))
    await cluster.eventually(lambda: has_phase(cluster, "p", "Running"))
    group, name = "/apis/admissionregistration.k8s.io/v1", {"metadata": {"name": "stay"}}
    rule = {
        "operations": ["DELETE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
    }
    at_once = "has(request.options.gracePeriodSeconds) && request.options.gracePeriodSeconds == 0"
    policy = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": f"!({at_once})"}],
    }
    await call(cluster, "POST", f"{group}/validatingadmissionpolicies", {**name, "spec": policy})
    binding = {"policyName": "stay", "validationActions": ["Deny"]}
    await call(
        cluster, "POST", f"{group}/validatingadmissionpolicybindings", {**name, "spec": binding}
    )

    async def refused(times: int) -> bool:
        text = (await cluster.client.request("GET", "/metrics")).decode()
        counts = [line.rpartition(" ")[2] for line in text.splitlines() if _REFUSED.match(line)]
        return sum(map(float, counts)) >= times

    await cluster.client.delete(core_v1.Pod, "p", "default")
    await cluster.eventually(lambda: refused(1))
    assert (await cluster.client.get(core_v1.Pod, "p", "default")).metadata.deletion_timestamp
    await call(cluster, "DELETE", f"{group}/validatingadmissionpolicybindings/stay")
    await gone(cluster, core_v1.Pod, "p")


_REFUSED = re.compile(r'apiserver_request_total\{code="422",.*resource="pods",.*verb="DELETE"')


async def test_a_node_refuses_what_it_has_no_room_for(cluster: LocalCluster) -> None:
    await ready(cluster)
    node = (await cluster.client.list(core_v1.Node)).items[0].metadata.name
    containers = [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 80}]}]
    await cluster.client.create(pod("first", nodeName=node, containers=containers))
    await cluster.eventually(lambda: running(cluster, "default", 1))
    await cluster.client.create(pod("second", nodeName=node, containers=containers))
    await cluster.client.create(pod("third", nodeName=node, nodeSelector={"disk": "ssd"}))

    async def failed() -> bool:
        found = [
            await cluster.client.get(core_v1.Pod, name, "default") for name in ("second", "third")
        ]
        return [p.status.phase for p in found] == ["Failed", "Failed"]

    await cluster.eventually(failed)
    second = await cluster.client.get(core_v1.Pod, "second", "default")
    assert second.status.reason == "NodePorts"
    assert second.status.message.startswith("Pod was rejected: Predicate NodePorts failed")
    assert (
        await cluster.client.get(core_v1.Pod, "third", "default")
    ).status.reason == "NodeAffinity"
    for name in ("first", "second"):
        await cluster.client.delete(core_v1.Pod, name, "default")
        await gone(cluster, core_v1.Pod, name)
    await cluster.client.create(pod("fourth", nodeName=node, containers=containers))
    await cluster.eventually(lambda: running(cluster, "default", 1))


async def test_a_node_offers_the_capacity_that_others_give_it(cluster: LocalCluster) -> None:
    node = (await cluster.client.list(core_v1.Node)).items[0].metadata.name
    wish: dict[str, Any] = {
        "metadata": {"name": node},
        "status": {"capacity": {"example.com/gpu": "4"}},
    }
    await call(cluster, "PATCH", f"/api/v1/nodes/{node}/status", wish, MERGE)

    async def offered(amount: str | None) -> bool:
        status = (await cluster.client.get(core_v1.Node, node)).status
        return status.allocatable.get("example.com/gpu") == amount and "cpu" in status.allocatable

    await cluster.eventually(lambda: offered("4"))
    wish["status"] = {"capacity": {"example.com/gpu": None}}
    await call(cluster, "PATCH", f"/api/v1/nodes/{node}/status", wish, MERGE)
    await cluster.eventually(lambda: offered(None))
