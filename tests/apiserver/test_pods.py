"""What may be changed of a pod through its subresources."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.apiserver.builders import refused
from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.testing import LocalCluster

Parts = dict[str, Any]


async def account(server: LocalCluster) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )


async def test_ephemeral_containers_come_and_stay(server: LocalCluster) -> None:
    await account(server)
    made = await server.client.create(pod("p", nodeName="n"))
    path = "/api/v1/namespaces/default/pods/p/ephemeralcontainers"

    async def patch(*containers: Parts) -> core_v1.Pod:
        body = {"spec": {"ephemeralContainers": list(containers)}}
        return await server.client.patch(core_v1.Pod, "p", body, "default", "ephemeralcontainers")

    debugger = {
        "name": "d",
        "image": "busybox",
        "targetContainerName": made.spec.containers[0].name,
    }
    changed = await patch(debugger)
    assert [c.name for c in changed.spec.ephemeral_containers] == ["d"]
    assert changed.metadata.generation == made.metadata.generation + 1
    assert [
        c.name for c in (await patch({"name": "e", "image": "busybox"})).spec.ephemeral_containers
    ] == ["e", "d"]
    assert "spec.ephemeralContainers[0].image: Required value" in str(
        await refused(patch({"name": "f"}))
    )
    body = json.loads(await server.client.request("GET", path))
    body["spec"]["ephemeralContainers"] = []
    error = await refused(server.client.request("PUT", path, json.dumps(body).encode()))
    assert error.code == 422 and "may not be removed" in str(error)
    error = await refused(server.client.create(pod("q", ephemeralContainers=[debugger])))
    assert "spec.ephemeralContainers: Forbidden: cannot be set on create" in str(error)


def sized(cpu: str, limits: dict[str, str] | None = None) -> Parts:
    return {"requests": {"cpu": cpu, "memory": "100Mi"}, **({"limits": limits} if limits else {})}


async def test_a_resize_changes_resources_and_nothing_else(server: LocalCluster) -> None:
    await account(server)
    sidecar = {"name": "s", "image": "i", "restartPolicy": "Always", "resources": sized("100m")}
    containers = [{"name": "c", "image": "i", "resources": sized("100m")}]
    made = await server.client.create(pod("p", containers=containers, initContainers=[sidecar]))
    wish = {
        "metadata": {"labels": {"new": "label"}},
        "spec": {
            "containers": [
                {"name": "c", "image": "other", "resources": {"requests": {"cpu": "200m"}}}
            ],
            "initContainers": [{"name": "s", "resources": {"requests": {"memory": "200Mi"}}}],
        },
    }
    changed = await server.client.patch(core_v1.Pod, "p", wish, "default", "resize")
    [container], [aside] = changed.spec.containers, changed.spec.init_containers
    assert (container.image, container.resources.requests) == (
        "i",
        {"cpu": "200m", "memory": "100Mi"},
    )
    assert aside.resources.requests == {"cpu": "100m", "memory": "200Mi"}
    assert (
        not changed.metadata.labels and changed.metadata.generation == made.metadata.generation + 1
    )
    same = await server.client.request("GET", "/api/v1/namespaces/default/pods/p/resize")
    assert json.loads(same) == json.loads(
        await server.client.request("GET", "/api/v1/namespaces/default/pods/p")
    )


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (
            {},
            sized("1"),
            'spec: Invalid value: "BestEffort": Pod QOS Class may not change as a result of resizing',
        ),
        (
            sized("1"),
            sized("1", {"cpu": "1", "memory": "100Mi"}),
            "Pod QOS Class may not change as a result of resizing",
        ),
        (
            sized("1"),
            {"requests": {"cpu": "1", "memory": None}},
            "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
        ),
        (
            sized("1", {"cpu": "2"}),
            {"limits": {"cpu": None}},
            "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
        ),
        (
            sized("1"),
            {"requests": {"ephemeral-storage": "1Gi"}},
            "spec: Forbidden: only cpu and memory resources are mutable",
        ),
        (
            sized("1", {"cpu": "2"}),
            sized("3"),
            'spec.containers[0].resources.requests: Invalid value: "3": must be less than or equal to cpu limit of 2',
        ),
    ],
)
async def test_a_resize_that_is_refused(
    server: LocalCluster, before: Parts, after: Parts, why: str
) -> None:
    await account(server)
    await server.client.create(
        pod("p", containers=[{"name": "c", "image": "i", "resources": before}])
    )
    wish = {"spec": {"containers": [{"name": "c", "resources": after}]}}
    error = await refused(server.client.patch(core_v1.Pod, "p", wish, "default", "resize"))
    assert error.code == 422 and why in str(error)


WHOLE = {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "4", "hugepages-2Mi": "4Mi"}}


async def test_a_pod_is_resized_as_a_whole(server: LocalCluster) -> None:
    await account(server)
    await server.client.create(pod("p", resources=WHOLE))
    wish = {"spec": {"resources": {"requests": {"cpu": "3"}, "limits": {"memory": "2Gi"}}}}
    changed = await server.client.patch(core_v1.Pod, "p", wish, "default", "resize")
    resources = changed.spec.resources
    assert resources is not None
    assert resources.requests == {"cpu": "3", "memory": "1Gi"}
    assert resources.limits == {"cpu": "4", "memory": "2Gi", "hugepages-2Mi": "4Mi"}


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (None, "spec.resources: Forbidden: pod-level resources cannot be removed"),
        (
            {"requests": {"memory": None}},
            "spec.resources.requests: Forbidden: pod-level resource requests cannot be removed",
        ),
        (
            {"limits": {"cpu": None}},
            "spec.resources.limits: Forbidden: pod-level resource limits cannot be removed",
        ),
        (
            {"requests": {"hugepages-2Mi": "8Mi"}, "limits": {"hugepages-2Mi": "8Mi"}},
            "spec: Forbidden: only cpu and memory resources are mutable at pod-level",
        ),
        ({"requests": {"cpu": "5"}}, 'Invalid value: "5": must be less than or equal to cpu limit'),
    ],
)
async def test_a_resize_as_a_whole_that_is_refused(
    server: LocalCluster, wish: Parts | None, why: str
) -> None:
    await account(server)
    await server.client.create(pod("p", resources=WHOLE))
    body = {"spec": {"resources": wish}}
    error = await refused(server.client.patch(core_v1.Pod, "p", body, "default", "resize"))
    assert error.code == 422
    assert why in str(error)


ONE = {"name": "c", "image": "i"}
OTHER = {"name": "d", "image": "i"}


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (
            {"containers": [ONE, OTHER, {"name": "e", "image": "i"}]},
            "spec.containers: Forbidden: containers may not be added or removed on resize",
        ),
        (
            {"containers": [ONE]},
            "spec.containers: Forbidden: containers may not be added or removed on resize",
        ),
        (
            {"containers": [OTHER, ONE]},
            "spec.containers[0].name: Forbidden: containers may not be renamed or reordered",
        ),
        (
            {"containers": [ONE, OTHER], "initContainers": [{"name": "s", "image": "i"}]},
            "spec.initContainers: Forbidden: initContainers may not be added or removed",
        ),
    ],
)
async def test_a_resize_keeps_the_containers(server: LocalCluster, wish: Parts, why: str) -> None:
    await account(server)
    made = await server.client.create(pod("p", containers=[ONE, OTHER]))
    body = to_builtins(made)
    body["spec"] = {**body["spec"], **wish}
    sent = from_builtins(body, core_v1.Pod)
    error = await refused(server.client.update(sent, subresource="resize"))
    assert error.code == 422
    assert why in str(error)


async def test_who_cannot_be_resized(server: LocalCluster) -> None:
    await account(server)
    setup = {"name": "i", "image": "i", "resources": sized("100m")}
    containers = [{"name": "c", "image": "i", "resources": sized("100m")}]
    await server.client.create(pod("p", containers=containers, initContainers=[setup]))
    wish: Parts = {"spec": {"initContainers": [{"name": "i", "resources": sized("200m")}]}}
    changed = await server.client.patch(core_v1.Pod, "p", wish, "default", "resize")
    assert changed.spec.init_containers[0].resources.requests["cpu"] == "200m"
    await server.client.patch(
        core_v1.Pod, "p", {"status": {"phase": "Running"}}, "default", "status", MERGE
    )
    wish = {"spec": {"containers": [{"name": "c", "resources": sized("200m")}]}}
    error = await refused(server.client.patch(core_v1.Pod, "p", wish, "default", "resize"))
    assert "spec: Forbidden: Pod running on node without support for resize" in str(error)


async def test_binding_is_no_change_of_what_is_wanted(server: LocalCluster) -> None:
    await account(server)
    made = await server.client.create(pod("p"))
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n"},
    }
    path = "/api/v1/namespaces/default/pods/p"
    await server.client.request("POST", f"{path}/binding", json.dumps(binding).encode())
    bound = await server.client.get(core_v1.Pod, "p", "default")
    assert bound.spec.node_name == "n"
    assert bound.metadata.generation == made.metadata.generation == 1
    bound.spec.containers[0].image = "other"
    assert (await server.client.update(bound)).metadata.generation == 2


async def test_a_replaced_pod_keeps_what_admission_gave_it(server: LocalCluster) -> None:
    await account(server)
    made = await server.client.create(pod("p"))
    wish = json.loads(await server.client.request("GET", "/api/v1/namespaces/default/pods/p"))
    for name in ("priority", "preemptionPolicy"):
        del wish["spec"][name]
    wish["spec"]["tolerations"] = [{"key": "mine", "operator": "Exists"}]
    body = json.dumps(wish).encode()
    replaced = json.loads(
        await server.client.request("PUT", "/api/v1/namespaces/default/pods/p", body)
    )
    assert replaced["spec"]["priority"] == made.spec.priority == 0
    assert [t["key"] for t in replaced["spec"]["tolerations"]][:1] == ["mine"]
    assert len(replaced["spec"]["tolerations"]) == 3


async def test_a_change_that_is_not_allowed_is_shown(server: LocalCluster) -> None:
    await account(server)
    made = await server.client.create(pod("p"))
    made.spec.restart_policy = "Never"
    error = str(await refused(server.client.update(made)))
    assert '\n- "RestartPolicy": "Always",\n+ "RestartPolicy": "Never",\n' in error
    made = await server.client.get(core_v1.Pod, "p", "default")
    made.spec.tolerations[0].effect = ""
    assert "existing toleration can not be modified except its tolerationSeconds" in str(
        await refused(server.client.update(made))
    )


async def test_a_gated_pod_may_only_narrow_where_it_goes(server: LocalCluster) -> None:
    await account(server)
    made = await server.client.create(
        pod("p", schedulingGates=[{"name": "g"}], nodeSelector={"a": "b"})
    )
    made.spec.node_selector["c"] = "d"
    made = await server.client.update(made)
    made.spec.node_selector = {"c": "d"}
    assert "only additions to spec.nodeSelector are allowed" in str(
        await refused(server.client.update(made))
    )
    made = await server.client.get(core_v1.Pod, "p", "default")
    made.spec.scheduling_gates.append(core_v1.PodSchedulingGate(name="h"))
    assert "only deletion is allowed, but found new scheduling gate 'h'" in str(
        await refused(server.client.update(made))
    )
