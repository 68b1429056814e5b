"""Deployments, sets, jobs and autoscalers, from what is asked for to the pods."""

from __future__ import annotations

from tests.apiserver.builders import call
from tests.builders import deployment
from tests.e2e.clusters import available, gone, has_no_pods, ready, running
from tiphys.api import apps_v1, batch_v1, core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.testing import LocalCluster


async def test_a_deployment_rolls_out_scales_and_rolls_back(cluster: LocalCluster) -> None:
    await ready(cluster)
    await cluster.client.create(deployment())
    await available(cluster)
    await cluster.client.patch(
        apps_v1.Deployment, "web", {"spec": {"replicas": 5}}, "default", media=MERGE
    )
    await available(cluster, replicas=5)
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "img:2"}]}}}}
    await cluster.client.patch(apps_v1.Deployment, "web", change, "default")
    await available(cluster, replicas=5)
    assert {p.spec.containers[0].image for p in await cluster.pods()} == {"img:2"}
    change["spec"]["template"]["spec"]["containers"][0]["image"] = "img:1"
    await cluster.client.patch(apps_v1.Deployment, "web", change, "default")
    await available(cluster, replicas=5)
    sets = (await cluster.client.list(apps_v1.ReplicaSet, "default")).items
    revisions = {
        s.metadata.annotations["deployment.kubernetes.io/revision"]: s.spec.replicas for s in sets
    }
    assert revisions == {"3": 5, "2": 0}
    found = await cluster.client.get(apps_v1.Deployment, "web", "default")
    assert {c.type: c.reason for c in found.status.conditions}[
        "Progressing"
    ] == "NewReplicaSetAvailable"


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
    await cluster.eventually(lambda: has_no_pods(cluster))


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
    await cluster.eventually(lambda: has_no_pods(cluster))


async def test_a_job_lets_pods_go_and_takes_them_back(cluster: LocalCluster) -> None:
    await ready(cluster)
    job = batch_v1.Job(metadata=ObjectMeta(name="j", namespace="default"))
    job.spec.template.spec.restart_policy = "Never"
    job.spec.template.spec.containers = [core_v1.Container(name="c", image="img")]
    job.spec.template.metadata.annotations = {"hollow.tiphys.io/exit-after": "600"}
    await cluster.client.create(job)
    await cluster.eventually(lambda: running(cluster, "default", 1))
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
