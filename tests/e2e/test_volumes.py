"""Claims and their volumes, with the pods that use them."""

from __future__ import annotations

from typing import Any

from tests.apiserver.builders import call
from tests.builders import pod
from tests.e2e.clusters import gone, has_phase, ready
from tiphys.api import core_v1
from tiphys.testing import LocalCluster


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
    await cluster.eventually(lambda: has_phase(cluster, "user", "Running"))
    await call(cluster, "DELETE", f"{claims}/c")
    assert (await call(cluster, "GET", f"{claims}/c"))["metadata"]["deletionTimestamp"]
    await cluster.client.delete(core_v1.Pod, "user", "default", grace=0)
    await gone(cluster, core_v1.PersistentVolumeClaim, "c")

    async def released() -> bool:
        return (await call(cluster, "GET", "/api/v1/persistentvolumes/middle"))["status"][
            "phase"
        ] == "Released"

    await cluster.eventually(released)
