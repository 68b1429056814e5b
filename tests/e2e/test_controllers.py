"""What controllers tell and tidy up, on hollow nodes, through the API alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builders import deployment, pod
from tests.e2e.clusters import available, gone, ready
from tiphys.api import (
    apps_v1,
    authentication_v1,
    autoscaling_v2,
    batch_v1,
    core_v1,
    discovery_v1,
    storage_v1,
)
from tiphys.api.base import Quantity, encode, from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE, Client
from tiphys.client.config import Config
from tiphys.controllers import garbage
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

Deployment = apps_v1.Deployment


def conditions_of(obj: Any) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status, c.reason) for c in obj.status.conditions}


async def test_a_deployment_says_that_it_is_paused_and_what_keeps_it(
    cluster: LocalCluster,
) -> None:
    await ready(cluster)
    await cluster.client.create(deployment("web", 1))
    await available(cluster, "web", 1)

    async def says(kind: str, *wanted: Any) -> bool:
        found = conditions_of(await cluster.client.get(Deployment, "web", "default"))
        return found.get(kind) in wanted

    await cluster.client.patch(
        Deployment, "web", {"spec": {"paused": True}}, "default", media=MERGE
    )
    await cluster.eventually(lambda: says("Progressing", ("Unknown", "DeploymentPaused")))
    limit = core_v1.ResourceQuota(metadata=ObjectMeta(name="q", namespace="default"))
    limit.spec.hard = {"pods": "2"}  # type: ignore[dict-item]
    await cluster.client.create(limit)
    await cluster.client.patch(
        Deployment, "web", {"spec": {"paused": False, "replicas": 3}}, "default", media=MERGE
    )
    await cluster.eventually(lambda: says("ReplicaFailure", ("True", "FailedCreate")))
    await cluster.client.patch(Deployment, "web", {"spec": {"replicas": 2}}, "default", media=MERGE)
    await cluster.eventually(lambda: says("ReplicaFailure", None))


async def test_a_replica_set_that_matches_no_longer_is_released(cluster: LocalCluster) -> None:
    await ready(cluster)
    await cluster.client.create(deployment("web", 1))
    await available(cluster, "web", 1)
    [first] = (await cluster.client.list(apps_v1.ReplicaSet, "default")).items
    change = {"metadata": {"labels": {"app": "other"}}}
    await cluster.client.patch(
        apps_v1.ReplicaSet, first.metadata.name, change, "default", media=MERGE
    )

    async def free() -> bool:
        return not (
            await cluster.client.get(apps_v1.ReplicaSet, first.metadata.name, "default")
        ).metadata.owner_references

    await cluster.eventually(free)


async def test_a_secret_holds_a_token_while_its_account_is_there(cluster: LocalCluster) -> None:
    await ready(cluster)
    await cluster.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="robot", namespace="default"))
    )
    note = {"kubernetes.io/service-account.name": "robot"}
    wish = core_v1.Secret(metadata=ObjectMeta(name="t", namespace="default", annotations=note))
    wish.type = "kubernetes.io/service-account-token"
    await cluster.client.create(wish)

    async def filled() -> core_v1.Secret | None:
        found = await cluster.client.get(core_v1.Secret, "t", "default")
        return found if found.data.get("token") else None

    secret = await cluster.eventually(filled)
    assert secret.data["namespace"] == b"default" and b"CERTIFICATE" in secret.data["ca.crt"]
    config = Config(cluster.url, ca=cluster.authority.path, token=secret.data["token"].decode())
    async with Client(config) as robot:
        review = authentication_v1.SelfSubjectReview()
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        me = json.loads(await robot.request("POST", path, encode(review)))
        assert me["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"
        await cluster.client.delete(core_v1.ServiceAccount, "robot", "default")
        await gone(cluster, core_v1.Secret, "t")
        with pytest.raises(StatusError):
            await robot.request("POST", path, encode(review))


async def test_endpoints_kept_by_hand_are_mirrored(cluster: LocalCluster) -> None:
    await ready(cluster)
    meta = ObjectMeta(name="hand", namespace="default")
    service = core_v1.Service(metadata=meta)
    service.spec.ports = [core_v1.ServicePort(name="http", port=80)]
    await cluster.client.create(service)
    subset = core_v1.EndpointSubset(
        addresses=[core_v1.EndpointAddress(ip="10.1.2.3")],
        ports=[core_v1.EndpointPort(name="http", port=8080)],
    )
    await cluster.client.create(
        core_v1.Endpoints(metadata=ObjectMeta(name="hand", namespace="default"), subsets=[subset])
    )

    async def addresses() -> list[str]:
        found = await cluster.client.list(
            discovery_v1.EndpointSlice, "default", labels="kubernetes.io/service-name=hand"
        )
        return [a for s in found.items for e in s.endpoints for a in e.addresses]

    async def are(*wanted: str) -> bool:
        return await addresses() == list(wanted)

    await cluster.eventually(lambda: are("10.1.2.3"))
    change = {
        "subsets": [{"addresses": [{"ip": "10.2.3.4"}], "ports": [{"name": "http", "port": 8080}]}]
    }
    await cluster.client.patch(core_v1.Endpoints, "hand", change, "default", media=MERGE)
    await cluster.eventually(lambda: are("10.2.3.4"))
    await cluster.client.delete(core_v1.Endpoints, "hand", "default")
    await cluster.eventually(are)


async def test_a_volume_of_a_driver_is_attached_for_its_pod(cluster: LocalCluster) -> None:
    await ready(cluster)
    client = cluster.client
    source = core_v1.CSIPersistentVolumeSource(driver="csi.example.com", volume_handle="v")
    volume = core_v1.PersistentVolume(metadata=ObjectMeta(name="pv"))
    volume.spec.csi, volume.spec.access_modes, volume.spec.capacity = (
        source,
        ["ReadWriteOnce"],
        {"storage": "1Gi"},
    )  # type: ignore[dict-item]
    await client.create(volume)
    claim = core_v1.PersistentVolumeClaim(metadata=ObjectMeta(name="c", namespace="default"))
    claim.spec.access_modes, claim.spec.storage_class_name, claim.spec.volume_name = (
        ["ReadWriteOnce"],
        "",
        "pv",
    )
    claim.spec.resources.requests = {"storage": "1Gi"}  # type: ignore[dict-item]
    await client.create(claim)
    await client.create(
        pod("p", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}])
    )

    async def attachments() -> list[storage_v1.VolumeAttachment]:
        return (await client.list(storage_v1.VolumeAttachment)).items

    [wish] = await cluster.eventually(attachments)
    assert (wish.spec.attacher, wish.spec.source.persistent_volume_name) == (
        "csi.example.com",
        "pv",
    )
    wish.status.attach_error = storage_v1.VolumeError(message="rpc error: no room")
    wish = await client.update_status(wish)

    async def problem() -> list[str]:
        events = (await client.list(core_v1.Event, "default")).items
        return [event.message for event in events if event.reason == "FailedAttachVolume"]

    [message] = await cluster.eventually(problem)
    assert message == 'AttachVolume.Attach failed for volume "pv" : rpc error: no room'
    wish.status.attach_error = None
    wish.status.attached = True
    await client.update_status(wish)

    async def attached() -> bool:
        found = await client.get(core_v1.Node, wish.spec.node_name)
        return [v.name for v in found.status.volumes_attached] == [
            "kubernetes.io/csi/csi.example.com^v"
        ]

    await cluster.eventually(attached)
    await client.delete(core_v1.Pod, "p", "default", grace=0)
    await gone(cluster, storage_v1.VolumeAttachment, wish.metadata.name, "")


async def test_what_a_deleted_owner_had_goes_without_waiting_for_the_owner_to_appear(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "_PATIENCE", 3600.0)
    await cluster.client.create(deployment())
    await cluster.eventually(lambda: _count(cluster, 3))
    await cluster.client.delete(apps_v1.Deployment, "web", "default")
    await cluster.eventually(lambda: _count(cluster, 0))


async def _count(cluster: LocalCluster, pods: int) -> bool:
    return len(await cluster.pods()) == pods


async def test_pods_that_a_suspended_job_gives_up_are_no_failures(cluster: LocalCluster) -> None:
    await ready(cluster)
    job = batch_v1.Job(metadata=ObjectMeta(name="j", namespace="default"))
    job.spec.parallelism, job.spec.completions, job.spec.backoff_limit = 3, 6, 2
    job.spec.template.metadata.annotations = {"hollow.tiphys.io/exit-after": "1000"}
    job.spec.template.spec = pod(restartPolicy="Never", terminationGracePeriodSeconds=1).spec
    await cluster.client.create(job)

    async def active(count: int) -> bool:
        status = (await cluster.client.get(batch_v1.Job, "j", "default")).status
        assert not status.failed and not any(c.type == "Failed" for c in status.conditions)
        return status.active == count and len(await cluster.pods()) == count

    for change, count in (
        ({}, 3),
        ({"parallelism": 1}, 1),
        ({"suspend": True}, 0),
        ({"suspend": False}, 1),
    ):
        await cluster.client.patch(batch_v1.Job, "j", {"spec": change}, "default", media=MERGE)
        await cluster.eventually(lambda count=count: active(count))  # type: ignore[misc]


async def test_a_job_that_is_deleted_counts_its_pods_until_they_have_ended(
    cluster: LocalCluster,
) -> None:
    await ready(cluster)
    job = batch_v1.Job(metadata=ObjectMeta(name="j", namespace="default"))
    job.spec.template = deployment("j").spec.template
    job.spec.template.spec.restart_policy = "Never"
    job.spec.template.metadata.annotations = {"hollow.tiphys.io/exit-after": "600"}
    await cluster.client.create(job)

    async def running() -> list[
        core_v1.Pod
    ]:  # one that no node has yet would wait for the pod collector
        return [
            pod for pod in await cluster.pods(labels="job-name=j") if pod.status.phase == "Running"
        ]

    [made] = await cluster.eventually(running)
    hold = {"metadata": {"finalizers": [*made.metadata.finalizers, "example.org/hold"]}}
    await cluster.client.patch(core_v1.Pod, made.metadata.name, hold, "default", media=MERGE)
    await cluster.client.delete(batch_v1.Job, "j", "default", propagation="Foreground")

    async def counted() -> bool:
        status = (await cluster.client.get(batch_v1.Job, "j", "default")).status
        return status.failed == 1 and status.active == 0

    async def released() -> bool:
        [left] = await cluster.pods(labels="job-name=j")
        return left.metadata.finalizers == ["example.org/hold"]

    await cluster.eventually(counted)
    await cluster.eventually(released)
    await cluster.client.patch(
        core_v1.Pod, made.metadata.name, {"metadata": {"finalizers": None}}, "default", media=MERGE
    )
    await gone(cluster, batch_v1.Job, "j")


WEB = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
CPU = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
}


def autoscaler(name: str = "web", **spec: Any) -> autoscaling_v2.HorizontalPodAutoscaler:
    made = autoscaling_v2.HorizontalPodAutoscaler(
        metadata=ObjectMeta(name=name, namespace="default")
    )
    spec = {"maxReplicas": 3, "scaleTargetRef": WEB, "metrics": [CPU], **spec}
    made.spec = from_builtins(spec, autoscaling_v2.HorizontalPodAutoscalerSpec)
    return made


async def says(cluster: LocalCluster, reason: str, name: str = "web") -> str:
    """The message of the condition with that reason, once it is there."""

    async def messages() -> list[str]:
        found = await cluster.client.get(autoscaling_v2.HorizontalPodAutoscaler, name, "default")
        return [c.message for c in found.status.conditions if c.reason == reason]

    return str((await cluster.eventually(messages))[0])


async def warned(cluster: LocalCluster, reason: str) -> str:
    """The message of the event with that reason, once it is there."""

    async def messages() -> list[str]:
        listed = await cluster.client.list(core_v1.Event, "default", fields=f"reason={reason}")
        return [event.message for event in listed.items]

    return str((await cluster.eventually(messages))[0])


async def test_an_autoscaler_without_metrics_says_so(cluster: LocalCluster) -> None:
    await ready(cluster)
    web = deployment("web", 1)
    web.spec.template.spec.node_selector = {"no": "where"}
    await cluster.client.create(web)
    await cluster.client.create(autoscaler())
    why = (
        "failed to get cpu utilization: unable to get metrics for resource cpu: "
        "no metrics returned from resource metrics API"
    )
    assert (
        await says(cluster, "FailedGetResourceMetric")
        == f"the HPA was unable to compute the replica count: {why}"
    )
    first = (
        "invalid metrics (1 invalid out of 1), first error is: "
        f"failed to get cpu resource metric value: {why}"
    )
    assert await warned(cluster, "FailedComputeMetricsReplicas") == first


async def test_an_autoscaler_of_custom_metrics_says_that_there_are_none(
    cluster: LocalCluster,
) -> None:
    await ready(cluster)
    await cluster.client.create(deployment("web", 1))
    metric, average = {"name": "hits"}, {"type": "AverageValue", "averageValue": "5"}
    ref = {"apiVersion": "v1", "kind": "Service", "name": "web"}
    for name, source in {
        "pods": {"metric": metric, "target": average},
        "object": {
            "metric": metric,
            "target": {"type": "Value", "value": "5"},
            "describedObject": ref,
        },
        "external": {
            "metric": {**metric, "selector": {"matchLabels": {"a": "b"}}},
            "target": average,
        },
    }.items():
        await cluster.client.create(deployment(name, 1))
        target = {**WEB, "name": name}
        metrics = [{"type": name.title(), name: source}]
        await cluster.client.create(autoscaler(name, scaleTargetRef=target, metrics=metrics))
    none = (
        "unable to fetch metrics from custom metrics API: "
        "no custom metrics API (custom.metrics.k8s.io) registered"
    )
    before = "the HPA was unable to compute the replica count: unable to get"
    assert await says(cluster, "FailedGetPodsMetric", "pods") == f"{before} metric hits: {none}"
    message = await says(cluster, "FailedGetObjectMetric", "object")
    assert message == f"{before} metric hits: Service on default web/{none}"
    message = await says(cluster, "FailedGetExternalMetric", "external")
    assert message.startswith(f"{before} external metric default/hits/&LabelSelector{{MatchLabels:")
    assert message.endswith(
        "the server could not find the requested resource (get hits.external.metrics.k8s.io)"
    )


async def test_two_autoscalers_of_one_target_are_too_many(cluster: LocalCluster) -> None:
    await ready(cluster)
    await cluster.client.create(deployment("web", 1))
    await available(cluster, "web", 1)
    await cluster.client.create(autoscaler("web"))
    await says(cluster, "FailedGetResourceMetric")
    await cluster.client.create(autoscaler("other"))
    message = (
        "pods by selector app=web are controlled by multiple HPAs: [{other default} {web default}]"
    )
    assert await says(cluster, "AmbiguousSelector", "other") == message
    assert await warned(cluster, "AmbiguousSelector") == message


async def test_an_autoscaler_whose_target_is_missing_says_so(cluster: LocalCluster) -> None:
    await cluster.client.create(autoscaler())
    await cluster.client.create(autoscaler("b", scaleTargetRef={**WEB, "kind": "Boat"}))
    before = "the HPA controller was unable to get the target's current scale: "
    assert await says(cluster, "FailedGetScale") == before + 'deployments.apps "web" not found'
    assert (
        await says(cluster, "FailedGetScale", "b")
        == before + 'no matches for kind "Boat" in group "apps"'
    )


async def test_an_autoscaler_gives_the_reason_of_a_new_size(cluster: LocalCluster) -> None:
    await ready(cluster)
    await cluster.client.create(deployment("web", 2))
    await available(cluster, "web", 2)
    await cluster.client.create(autoscaler(maxReplicas=1))
    message = "New size: 1; reason: Current number of replicas above Spec.MaxReplicas"
    assert await warned(cluster, "SuccessfulRescale") == message
    assert (
        await says(cluster, "SucceededRescale")
        == "the HPA controller was able to update the target scale to 1"
    )


def of_claim(name: str, **spec: Any) -> core_v1.Pod:
    mounted = {"name": "v", "persistentVolumeClaim": {"claimName": name}}
    return pod(f"of-{name}", volumes=[mounted], **spec)


async def test_only_pods_with_a_node_keep_a_claim_and_finished_ones_do(
    cluster: LocalCluster,
) -> None:
    await ready(cluster)
    client = cluster.client
    for name in ("kept", "free"):
        claim = core_v1.PersistentVolumeClaim(metadata=ObjectMeta(name=name, namespace="default"))
        claim.spec.access_modes = ["ReadWriteOnce"]
        claim.spec.resources.requests = {"storage": Quantity("1Gi")}
        await client.create(claim)
    finished = await client.create(of_claim("kept", nodeName="n"))  # there is no such node
    finished.status.phase = "Succeeded"
    await client.update_status(finished)
    await client.create(of_claim("free", nodeSelector={"there": "is-none"}))
    for name in ("kept", "free"):
        await client.delete(core_v1.PersistentVolumeClaim, name, "default")
    await gone(cluster, core_v1.PersistentVolumeClaim, "free")
    assert await client.get(core_v1.PersistentVolumeClaim, "kept", "default")
    await client.delete(core_v1.Pod, "of-kept", "default", grace=0)
    await gone(cluster, core_v1.PersistentVolumeClaim, "kept")


async def test_a_stateful_set_makes_the_claim_again_that_its_pod_waits_for(
    cluster: LocalCluster,
) -> None:
    await ready(cluster)
    client, Claim = cluster.client, core_v1.PersistentVolumeClaim
    wish = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    nowhere = {"containers": [{"name": "c", "image": "i"}], "nodeSelector": {"there": "is-none"}}
    spec = {
        "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": nowhere},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": wish}],
    }
    wanted = apps_v1.StatefulSet(metadata=ObjectMeta(name="db", namespace="default"))
    wanted.spec = from_builtins(spec, apps_v1.StatefulSetSpec)
    await client.create(wanted)

    async def claims() -> list[core_v1.PersistentVolumeClaim]:
        return (await client.list(Claim, "default")).items

    async def pods() -> list[core_v1.Pod]:
        return (await client.list(core_v1.Pod, "default")).items

    [first] = await cluster.eventually(claims)
    await cluster.eventually(pods)
    await client.delete(Claim, "data-db-0", "default")

    async def is_anew() -> bool:
        return [c.metadata.uid != first.metadata.uid for c in await claims()] == [True]

    await cluster.eventually(is_anew)
