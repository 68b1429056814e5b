"""Controllers, scheduler and hollow nodes together, through the API alone."""

from __future__ import annotations

import re
from typing import Any

from tests.apiserver.test_custom import CRONS, call, cron, definition, established
from tests.builders import config_map, deployment, pod
from tiphys.api import apps_v1, batch_v1, core_v1, discovery_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.client.client import MERGE
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

Deployment = apps_v1.Deployment


async def available(cluster: LocalCluster, name: str = "web", replicas: int = 3) -> Any:
    async def check() -> bool:
        found = await cluster.client.get(Deployment, name, "default")
        status = found.status
        settled = status.observed_generation == found.metadata.generation
        return (
            settled
            and status.available_replicas == status.updated_replicas == status.replicas == replicas
        )

    return await cluster.eventually(check)


async def gone(cluster: LocalCluster, kind: Any, name: str, namespace: str = "default") -> None:
    async def check() -> bool:
        try:
            await cluster.client.get(kind, name, namespace)
        except StatusError as error:
            return error.code == 404
        return False

    await cluster.eventually(check)


async def ready(cluster: LocalCluster, namespace: str = "default") -> None:
    async def check() -> bool:
        try:
            await cluster.client.get(core_v1.ServiceAccount, "default", namespace)
        except StatusError:
            return False
        return True

    await cluster.eventually(check)


async def test_a_deployment_rolls_out_scales_and_rolls_back(cluster: LocalCluster) -> None:
    await ready(cluster)
    await cluster.client.create(deployment())
    await available(cluster)
    await cluster.client.patch(Deployment, "web", {"spec": {"replicas": 5}}, "default", media=MERGE)
    await available(cluster, replicas=5)
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "img:2"}]}}}}
    await cluster.client.patch(Deployment, "web", change, "default")
    await available(cluster, replicas=5)
    assert {p.spec.containers[0].image for p in await cluster.pods()} == {"img:2"}
    change["spec"]["template"]["spec"]["containers"][0]["image"] = "img:1"
    await cluster.client.patch(Deployment, "web", change, "default")
    await available(cluster, replicas=5)
    sets = (await cluster.client.list(apps_v1.ReplicaSet, "default")).items
    revisions = {
        s.metadata.annotations["deployment.kubernetes.io/revision"]: s.spec.replicas for s in sets
    }
    assert revisions == {"3": 5, "2": 0}
    found = await cluster.client.get(Deployment, "web", "default")
    assert {c.type: c.reason for c in found.status.conditions}[
        "Progressing"
    ] == "NewReplicaSetAvailable"


async def test_deleting_an_owner_takes_its_pods_along_or_leaves_them(cluster: LocalCluster) -> None:
    await ready(cluster)
    await cluster.client.create(deployment("a", 1))
    await available(cluster, "a", 1)
    await cluster.client.delete(Deployment, "a", "default", propagation="Foreground")
    await gone(cluster, Deployment, "a")
    assert not await cluster.pods(labels="app=a")
    await cluster.client.create(deployment("b", 1))
    await available(cluster, "b", 1)
    await cluster.client.delete(Deployment, "b", "default", propagation="Orphan")
    await gone(cluster, Deployment, "b")
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
    await cluster.eventually(lambda: _running(cluster, "temp", 2))
    await cluster.client.delete(core_v1.Namespace, "temp")
    await gone(cluster, core_v1.Namespace, "temp", "")
    assert not await cluster.pods("temp")


async def _running(cluster: LocalCluster, namespace: str, count: int) -> bool:
    return sum(p.status.phase == "Running" for p in await cluster.pods(namespace)) == count


async def test_a_service_follows_its_pods(cluster: LocalCluster) -> None:
    await ready(cluster)
    service = core_v1.Service(metadata=ObjectMeta(name="web", namespace="default"))
    service.spec.selector, service.spec.ports = (
        {"app": "web"},
        [core_v1.ServicePort(name="http", port=80, target_port=8080)],
    )
    await cluster.client.create(service)
    await cluster.client.create(deployment(replicas=2))

    async def addresses() -> set[str]:
        slices = (
            await cluster.client.list(
                discovery_v1.EndpointSlice, "default", labels="kubernetes.io/service-name=web"
            )
        ).items
        return {a for s in slices for e in s.endpoints if e.conditions.ready for a in e.addresses}

    async def follows() -> bool:
        return (
            await addresses() == {p.status.pod_ip for p in await cluster.pods()}
            and len(await addresses()) == 2
        )

    await cluster.eventually(follows)
    endpoints = await cluster.client.get(core_v1.Endpoints, "web", "default")
    assert [p.port for p in endpoints.subsets[0].ports] == [8080]


async def test_a_pod_that_fits_nowhere_says_why_and_is_scheduled_once_it_fits(
    cluster: LocalCluster,
) -> None:
    await ready(cluster)
    await cluster.client.create(pod("picky", nodeSelector={"disk": "ssd"}))

    async def told() -> bool:
        found = await cluster.client.get(core_v1.Pod, "picky", "default")
        return any(
            c.reason == "Unschedulable"
            and "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector"
            in c.message
            for c in found.status.conditions
        )

    await cluster.eventually(told)
    await cluster.client.patch(core_v1.Node, "hollow-1", {"metadata": {"labels": {"disk": "ssd"}}})
    await cluster.eventually(lambda: _running(cluster, "default", 1))
    assert (await cluster.client.get(core_v1.Pod, "picky", "default")).spec.node_name == "hollow-1"


async def test_a_pod_that_ends_completes(cluster: LocalCluster) -> None:
    await ready(cluster)
    await cluster.client.create(pod("once", restartPolicy="Never"))

    async def done() -> bool:
        return (
            await cluster.client.get(core_v1.Pod, "once", "default")
        ).status.phase == "Succeeded"

    await cluster.eventually(done)


async def test_a_job_completes_and_its_pods_are_free(cluster: LocalCluster) -> None:
    await ready(cluster)
    job = batch_v1.Job(metadata=ObjectMeta(name="sum", namespace="default"))
    job.spec.completions, job.spec.parallelism, job.spec.completion_mode = 4, 2, "Indexed"
    job.spec.template.spec.restart_policy = "Never"
    job.spec.template.spec.containers = [core_v1.Container(name="c", image="img")]
    await cluster.client.create(job)

    async def complete() -> bool:
        status = (await cluster.client.get(batch_v1.Job, "sum", "default")).status
        return any(c.type == "Complete" and c.status == "True" for c in status.conditions)

    await cluster.eventually(complete)
    found = await cluster.client.get(batch_v1.Job, "sum", "default")
    assert (found.status.succeeded, found.status.completed_indexes, found.status.active) == (
        4,
        "0-3",
        0,
    )
    assert all(not p.metadata.finalizers for p in await cluster.pods())
    await cluster.client.delete(batch_v1.Job, "sum", "default", propagation="Background")

    async def empty() -> bool:
        return not await cluster.pods()

    await cluster.eventually(empty)


async def test_custom_objects_are_collected_and_leave_with_their_namespace(
    cluster: LocalCluster,
) -> None:
    await ready(cluster)
    await established(cluster, definition())
    await cluster.client.create(core_v1.Namespace(metadata=ObjectMeta(name="space")))
    owner = await call(cluster, "POST", CRONS, cron("owner"))
    held = config_map("held")
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": "CronTab",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    held.metadata.owner_references = [from_builtins(reference, OwnerReference)]
    await cluster.client.create(held)
    child = cron("child")
    child["metadata"]["ownerReferences"] = [reference]
    await call(cluster, "POST", CRONS, child)
    inside = CRONS.replace("/default/", "/space/")
    await call(cluster, "POST", inside, cron("inside"))
    await call(cluster, "DELETE", f"{CRONS}/owner")
    await gone(cluster, core_v1.ConfigMap, "held")
    await cluster.client.delete(core_v1.Namespace, "space")
    await gone(cluster, core_v1.Namespace, "space", "")

    async def empty() -> bool:
        return not [
            *(await call(cluster, "GET", CRONS))["items"],
            *(await call(cluster, "GET", inside))["items"],
        ]

    await cluster.eventually(empty)


async def test_stateful_and_daemon_sets_run_roll_and_go(cluster: LocalCluster) -> None:
    await ready(cluster)
    template = {
        "metadata": {"labels": {"app": "s"}},
        "spec": {"containers": [{"name": "c", "image": "img:1"}]},
    }
    spec = {
        "replicas": 2,
        "serviceName": "s",
        "selector": {"matchLabels": {"app": "s"}},
        "template": template,
    }
    path = "/apis/apps/v1/namespaces/default"
    await call(
        cluster,
        "POST",
        f"{path}/statefulsets",
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s"}, "spec": spec},
    )
    daemon = {
        "selector": {"matchLabels": {"app": "d"}},
        "template": {**template, "metadata": {"labels": {"app": "d"}}},
    }
    await call(
        cluster,
        "POST",
        f"{path}/daemonsets",
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": daemon},
    )

    async def settled(image: str) -> bool:
        s, d = (
            await call(cluster, "GET", f"{path}/statefulsets/s"),
            await call(cluster, "GET", f"{path}/daemonsets/d"),
        )
        one, two = s["status"], d["status"]
        good = one.get("readyReplicas") == 2 and one["currentRevision"] == one["updateRevision"]
        good = good and two["numberAvailable"] == two["updatedNumberScheduled"] == 2
        seen = {p.spec.containers[0].image for p in await cluster.pods()}
        return bool(good and seen == {image})

    await cluster.eventually(lambda: settled("img:1"))
    assert sorted(p.metadata.name for p in await cluster.pods(labels="app=s")) == ["s-0", "s-1"]
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "img:2"}]}}}}
    for what in ("statefulsets/s", "daemonsets/d"):
        await call(
            cluster, "PATCH", f"{path}/{what}", change, "application/strategic-merge-patch+json"
        )
    await cluster.eventually(lambda: settled("img:2"))
    revisions = await call(cluster, "GET", f"{path}/controllerrevisions")
    assert sorted(r["revision"] for r in revisions["items"]) == [1, 1, 2, 2]
    for what in ("statefulsets/s", "daemonsets/d"):
        await call(cluster, "DELETE", f"{path}/{what}")

    async def empty() -> bool:
        return not await cluster.pods()

    await cluster.eventually(empty)


async def test_a_cron_job_runs_what_was_due(cluster: LocalCluster) -> None:
    await ready(cluster)
    body = {
        "template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
        }
    }
    spec = {"schedule": "@every 1s", "jobTemplate": {"spec": body}, "successfulJobsHistoryLimit": 1}
    path = "/apis/batch/v1/namespaces/default"
    await call(
        cluster,
        "POST",
        f"{path}/cronjobs",
        {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"}, "spec": spec},
    )

    async def ran() -> bool:
        status = (await call(cluster, "GET", f"{path}/cronjobs/c")).get("status", {})
        jobs = (await call(cluster, "GET", f"{path}/jobs"))["items"]
        return bool(status.get("lastScheduleTime")) and any(
            j["metadata"]["ownerReferences"][0]["name"] == "c" for j in jobs
        )

    await cluster.eventually(ran)


async def test_claims_are_bound_where_their_pod_goes(cluster: LocalCluster) -> None:
    await ready(cluster)
    path = "/api/v1/namespaces/default"
    template = {
        "metadata": {"labels": {"app": "s"}},
        "spec": {"containers": [{"name": "c", "image": "img:1"}]},
    }
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    spec = {
        "replicas": 2,
        "serviceName": "s",
        "selector": {"matchLabels": {"app": "s"}},
        "template": template,
        "volumeClaimTemplates": [claim],
    }
    template["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]  # type: ignore[index]
    spec["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Delete", "whenScaled": "Retain"}
    await call(
        cluster,
        "POST",
        "/apis/apps/v1/namespaces/default/statefulsets",
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s"}, "spec": spec},
    )

    async def running() -> bool:
        return (await call(cluster, "GET", "/apis/apps/v1/namespaces/default/statefulsets/s"))[
            "status"
        ].get("readyReplicas") == 2

    await cluster.eventually(running)
    claims = (await call(cluster, "GET", f"{path}/persistentvolumeclaims"))["items"]
    assert sorted((c["metadata"]["name"], c["status"]["phase"]) for c in claims) == [
        ("data-s-0", "Bound"),
        ("data-s-1", "Bound"),
    ]
    volume = await call(
        cluster, "GET", f"/api/v1/persistentvolumes/{claims[0]['spec']['volumeName']}"
    )
    nodes = {p.metadata.name: p.spec.node_name for p in await cluster.pods()}
    term = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]
    assert term["values"] == [nodes["s-0"]] and volume["status"]["phase"] == "Bound"
    await call(cluster, "DELETE", "/apis/apps/v1/namespaces/default/statefulsets/s")

    async def empty() -> bool:
        left = (
            await call(cluster, "GET", f"{path}/persistentvolumeclaims"),
            await call(cluster, "GET", "/api/v1/persistentvolumes"),
        )
        return not left[0]["items"] and not left[1]["items"]

    await cluster.eventually(empty)


async def test_a_claim_takes_the_smallest_volume_that_fits_and_a_pod_keeps_it(
    cluster: LocalCluster,
) -> None:
    await ready(cluster)
    for name, size in (("small", "1Gi"), ("large", "9Gi"), ("middle", "5Gi")):
        spec = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": f"/x/{name}"},
            "storageClassName": "by-hand",
        }
        await call(
            cluster,
            "POST",
            "/api/v1/persistentvolumes",
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": name},
                "spec": spec,
            },
        )
    claims = "/api/v1/namespaces/default/persistentvolumeclaims"
    wish = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "by-hand",
        "resources": {"requests": {"storage": "2Gi"}},
    }
    await call(
        cluster,
        "POST",
        claims,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "c"},
            "spec": wish,
        },
    )

    async def bound() -> Any:
        found = await call(cluster, "GET", f"{claims}/c")
        return found["status"]["phase"] == "Bound" and found["spec"]["volumeName"]

    assert await cluster.eventually(bound) == "middle"
    await cluster.client.create(
        pod("user", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}])
    )
    await cluster.eventually(lambda: _phase(cluster, "user", "Running"))
    await call(cluster, "DELETE", f"{claims}/c")
    assert (await call(cluster, "GET", f"{claims}/c"))["metadata"]["deletionTimestamp"]
    await cluster.client.delete(core_v1.Pod, "user", "default", grace=0)
    await gone(cluster, core_v1.PersistentVolumeClaim, "c")

    async def released() -> bool:
        return (await call(cluster, "GET", "/api/v1/persistentvolumes/middle"))["status"][
            "phase"
        ] == "Released"

    await cluster.eventually(released)


async def _phase(cluster: LocalCluster, name: str, wanted: str) -> bool:
    return (await cluster.client.get(core_v1.Pod, name, "default")).status.phase == wanted


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
        await cluster.eventually(lambda name=name: _phase(cluster, name, "Running"))
    await cluster.client.create(pod("vital", containers=large, priorityClassName="high"))
    await cluster.eventually(lambda: _phase(cluster, "vital", "Running"))
    assert len(await cluster.pods()) == 2


async def test_an_autoscaler_follows_what_the_pods_use(cluster: LocalCluster) -> None:
    await ready(cluster)
    web = deployment(replicas=1)
    web.spec.template.metadata.annotations = {"hollow.tiphys.io/cpu": "190m"}
    web.spec.template.spec.containers[0].resources.requests = {"cpu": "100m"}  # type: ignore[dict-item]
    await cluster.client.create(web)
    await available(cluster, replicas=1)
    target = {"type": "Utilization", "averageUtilization": 95}
    spec = {
        "minReplicas": 1,
        "maxReplicas": 5,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    await call(
        cluster,
        "POST",
        path,
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web"},
            "spec": spec,
        },
    )
    await available(cluster, replicas=2)
    found = await call(cluster, "GET", f"{path}/web")
    assert found["status"]["desiredReplicas"] == 2
    messages = {c["reason"]: c["message"] for c in found["status"]["conditions"]}
    metric = "cpu resource utilization (percentage of request)"
    found_by = f"the HPA was able to successfully calculate a replica count from {metric}"
    assert messages["ValidMetricFound"] == found_by
    assert found["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"] == 190
    nodes = await call(cluster, "GET", "/apis/metrics.k8s.io/v1beta1/nodes")
    assert sum(int(n["usage"]["cpu"].rstrip("m")) for n in nodes["items"]) == 380


async def test_pods_go_before_all_else_of_their_namespace(cluster: LocalCluster) -> None:
    await cluster.client.create(core_v1.Namespace(metadata=ObjectMeta(name="temp")))
    await ready(cluster, "temp")
    held = pod("held", "temp")
    held.metadata.finalizers = ["example.org/wait"]
    await cluster.client.create(held)
    await cluster.client.create(config_map("settings", "temp"))
    await cluster.eventually(lambda: _running(cluster, "temp", 1))
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


async def test_a_job_lets_pods_go_and_takes_them_back(cluster: LocalCluster) -> None:
    await ready(cluster)
    job = batch_v1.Job(metadata=ObjectMeta(name="j", namespace="default"))
    job.spec.template.spec.restart_policy = "Never"
    job.spec.template.spec.containers = [core_v1.Container(name="c", image="img")]
    job.spec.template.metadata.annotations = {"hollow.tiphys.io/exit-after": "600"}
    await cluster.client.create(job)
    await cluster.eventually(lambda: _running(cluster, "default", 1))
    name = (await cluster.pods())[0].metadata.name

    async def owned() -> bool:
        meta = (await cluster.client.get(core_v1.Pod, name, "default")).metadata
        return bool(meta.owner_references) and meta.finalizers == [
            "batch.kubernetes.io/job-tracking"
        ]

    await cluster.client.patch(
        core_v1.Pod,
        name,
        {"metadata": {"ownerReferences": None, "finalizers": None}},
        "default",
        media=MERGE,
    )
    await cluster.eventually(owned)
    await cluster.client.delete(batch_v1.Job, "j", "default", propagation="Orphan")
    await gone(cluster, batch_v1.Job, "j")

    async def free() -> bool:
        meta = (await cluster.client.get(core_v1.Pod, name, "default")).metadata
        return not meta.owner_references and not meta.finalizers

    await cluster.eventually(free)


async def test_a_node_refuses_what_it_has_no_room_for(cluster: LocalCluster) -> None:
    await ready(cluster)
    node = (await cluster.client.list(core_v1.Node)).items[0].metadata.name
    containers = [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 80}]}]
    await cluster.client.create(pod("first", nodeName=node, containers=containers))
    await cluster.eventually(lambda: _running(cluster, "default", 1))
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
    await cluster.eventually(lambda: _running(cluster, "default", 1))


async def test_a_pod_grows_in_place_when_there_is_room(cluster: LocalCluster) -> None:
    await ready(cluster)
    node = (await cluster.client.list(core_v1.Node)).items[0]
    room = int(node.status.allocatable["cpu"])
    for name in ("first", "second"):
        sizes = {"requests": {"cpu": "1", "memory": "1Gi"}}
        policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
        containers = [{"name": "c", "image": "i", "resources": sizes, "resizePolicy": policy}]
        await cluster.client.create(pod(name, nodeName=node.metadata.name, containers=containers))
    await cluster.eventually(lambda: _running(cluster, "default", 2))

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
    await cluster.eventually(lambda: _running(cluster, "default", 1))
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


async def test_a_quota_keeps_what_admission_counted(cluster: LocalCluster) -> None:
    await ready(cluster)
    quota = core_v1.ResourceQuota(metadata=ObjectMeta(name="few", namespace="default"))
    quota.spec.hard = {"configmaps": "4"}
    await cluster.client.create(quota)

    async def counted() -> Any:
        return (await cluster.client.get(core_v1.ResourceQuota, "few", "default")).status.used.get(
            "configmaps"
        )

    assert await cluster.eventually(counted) == "1"  # the root certificate
    for number in range(3):
        await cluster.client.create(config_map(f"c-{number}"))
        assert await counted() == str(number + 2)
    try:
        await cluster.client.create(config_map("over"))
    except StatusError as error:
        assert (
            "exceeded quota: few, requested: configmaps=1, used: configmaps=4, limited: configmaps=4"
            in str(error)
        )
    else:
        raise AssertionError("the quota was not kept")
    await cluster.client.delete(core_v1.ConfigMap, "c-0", "default")

    async def freed() -> bool:
        return bool(await counted() == "3")

    await cluster.eventually(freed)


async def test_a_pod_goes_once_the_server_lets_it(cluster: LocalCluster) -> None:
    """The node's last word on a pod may be refused: it says it again until the pod's object is gone."""
    await ready(cluster)
    await cluster.client.create(pod("p"))
    await cluster.eventually(lambda: _phase(cluster, "p", "Running"))
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


_REFUSED = re.compile(
    r'apiserver_request_total\{verb="delete",resource="pods",code="422"', re.IGNORECASE
)
