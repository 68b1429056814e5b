"""Each client on the same road: create, wait for it, list by label, patch, watch, apply, delete."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tiphys.testing import LocalCluster

Body = dict[str, Any]


async def test_the_official_client(cluster: LocalCluster, way_in: str, deployment: Body) -> None:
    client = pytest.importorskip("kubernetes.client")
    config = pytest.importorskip("kubernetes.config")
    watch = pytest.importorskip("kubernetes.watch")

    def journey() -> None:
        api = config.new_client_from_config(way_in)
        apps, core = client.AppsV1Api(api), client.CoreV1Api(api)
        made = apps.create_namespaced_deployment("default", deployment)
        events = watch.Watch().stream(
            core.list_namespaced_pod, "default", label_selector="app=berth", timeout_seconds=20
        )
        running: set[str] = set()
        for event in events:
            if event["object"].status.phase == "Running":
                running.add(event["object"].metadata.name)
            if len(running) == 2:
                break
        assert len(running) == 2
        scaled = apps.patch_namespaced_deployment_scale(
            "berth", "default", {"spec": {"replicas": 1}}
        )
        assert scaled.spec.replicas == 1
        apps.delete_namespaced_deployment("berth", "default", propagation_policy="Foreground")
        dying = apps.read_namespaced_deployment("berth", "default").metadata
        assert dying.uid == made.metadata.uid and dying.finalizers == ["foregroundDeletion"]

    await asyncio.to_thread(journey)


async def test_its_dynamic_client_and_a_definition(cluster: LocalCluster, way_in: str) -> None:
    config = pytest.importorskip("kubernetes.config")
    dynamic = pytest.importorskip("kubernetes.dynamic")

    def journey() -> None:
        client = dynamic.DynamicClient(config.new_client_from_config(way_in))
        definitions = client.resources.get(
            api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition"
        )
        free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": free},
        }
        names = {"plural": "berths", "singular": "berth", "kind": "Berth"}
        spec = {
            "group": "harbour.example.com",
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
        }
        definitions.create({"metadata": {"name": "berths.harbour.example.com"}, "spec": spec})
        for event in definitions.watch(timeout=20):
            conditions = event["raw_object"].get("status", {}).get("conditions", [])
            if any(condition["type"] == "Established" for condition in conditions):
                break
        client.resources.invalidate_cache()
        berths = client.resources.get(api_version="harbour.example.com/v1", kind="Berth")
        body = {
            "apiVersion": "harbour.example.com/v1",
            "kind": "Berth",
            "metadata": {"name": "one"},
            "size": 3,
        }
        applied = client.server_side_apply(
            berths, body=body, name="one", namespace="default", field_manager="compat"
        )
        assert applied.size == 3
        assert [item.metadata.name for item in berths.get(namespace="default").items] == ["one"]

    await asyncio.to_thread(journey)


async def test_kubernetes_asyncio(cluster: LocalCluster, way_in: str, deployment: Body) -> None:
    kubernetes = pytest.importorskip("kubernetes_asyncio")
    await kubernetes.config.load_kube_config(way_in)
    async with kubernetes.client.ApiClient() as api:
        apps, core = kubernetes.client.AppsV1Api(api), kubernetes.client.CoreV1Api(api)
        await apps.create_namespaced_deployment("default", deployment)

        async def both_run() -> bool:
            pods = await core.list_namespaced_pod("default", label_selector="app=berth")
            return [pod.status.phase for pod in pods.items] == ["Running", "Running"]

        await cluster.eventually(both_run)
        patched = await apps.patch_namespaced_deployment(
            "berth", "default", {"spec": {"paused": True}}
        )
        assert patched.spec.paused
        await apps.delete_namespaced_deployment("berth", "default")


async def test_kr8s(cluster: LocalCluster, way_in: str, deployment: Body) -> None:
    kr8s = pytest.importorskip("kr8s.asyncio")
    objects = pytest.importorskip("kr8s.asyncio.objects")
    api = await kr8s.api(kubeconfig=way_in)
    made = await objects.Deployment(deployment, api=api)
    await made.create()
    await made.wait("condition=Available", timeout=20)
    assert len([pod async for pod in api.get("pods", label_selector="app=berth")]) == 2
    await made.label({"who": "me"})
    await made.scale(1)
    assert made.replicas == 1 and made.labels["who"] == "me"
    await made.delete()


async def test_lightkube(cluster: LocalCluster, way_in: str, deployment: Body) -> None:
    lightkube = pytest.importorskip("lightkube")
    core, apps = (
        pytest.importorskip("lightkube.resources.core_v1"),
        pytest.importorskip("lightkube.resources.apps_v1"),
    )
    client = lightkube.AsyncClient(lightkube.KubeConfig.from_file(way_in), field_manager="compat")
    made = await client.apply(apps.Deployment.from_dict(deployment))
    assert made.metadata.managedFields[0].operation == "Apply"
    await client.wait(apps.Deployment, "berth", for_conditions=["Available"])
    assert len([pod async for pod in client.list(core.Pod, labels={"app": "berth"})]) == 2
    patched = await client.patch(apps.Deployment, "berth", {"spec": {"replicas": 1}})
    assert patched.spec.replicas == 1
    await client.delete(apps.Deployment, "berth")
    await client.close()


async def test_pykube(cluster: LocalCluster, way_in: str, deployment: Body) -> None:
    pykube = pytest.importorskip("pykube")

    def journey() -> None:
        api = pykube.HTTPClient(pykube.KubeConfig.from_file(way_in))
        made = pykube.Deployment(api, deployment)
        made.create()
        events = (
            pykube.Pod.objects(api).filter(namespace="default", selector={"app": "berth"}).watch()
        )
        assert next(
            event.object for event in events if event.object.obj["status"].get("phase") == "Running"
        )
        made.reload()
        made.patch({"metadata": {"annotations": {"seen": "yes"}}, "spec": {"replicas": 1}})
        assert made.replicas == 1 and made.annotations["seen"] == "yes"
        made.delete()

    await asyncio.to_thread(journey)
