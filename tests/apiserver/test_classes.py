"""Classes that admission looks up: of runtimes and of ingresses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.storage_v1 import StorageClass
from tiphys.client.client import MERGE
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster


async def test_a_runtime_class_gives_its_pods_overhead_and_place(server: LocalCluster) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    body = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "vm"},
        "handler": "vm",
        "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {"nodeSelector": {"kvm": "yes"}},
    }
    await server.client.request(
        "POST", "/apis/node.k8s.io/v1/runtimeclasses", json.dumps(body).encode()
    )
    made = await server.client.create(pod("p", runtimeClassName="vm"))
    assert (made.spec.overhead, made.spec.node_selector) == ({"cpu": "250m"}, {"kvm": "yes"})
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"runtimeClassName": "none"}, 'pod rejected: RuntimeClass "none" not found'),
        (
            {"runtimeClassName": "vm", "overhead": {"cpu": "1"}},
            "Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            {"overhead": {"cpu": "1"}},
            "Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            {"runtimeClassName": "vm", "nodeSelector": {"kvm": "no"}},
            "conflict: runtimeClass.scheduling.nodeSelector[kvm]",
        ),
    )
    for spec, why in wrong:
        with pytest.raises(StatusError) as error:
            await server.client.create(pod("q", **spec))
        assert error.value.code == 403 and why in error.value.status.message


async def test_an_ingress_without_a_class_gets_the_default_one(server: LocalCluster) -> None:
    mark = {"ingressclass.kubernetes.io/is-default-class": "true"}
    body = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "front", "annotations": mark},
        "spec": {"controller": "example.com/front"},
    }
    group = "/apis/networking.k8s.io/v1"
    await server.client.request("POST", f"{group}/ingressclasses", json.dumps(body).encode())
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    wish = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "i"},
        "spec": {"defaultBackend": backend},
    }
    path = f"{group}/namespaces/default/ingresses"
    made = json.loads(await server.client.request("POST", path, json.dumps(wish).encode()))
    assert made["spec"]["ingressClassName"] == "front"


async def test_a_claim_grows_when_it_is_bound_and_its_class_lets_it(server: LocalCluster) -> None:
    client, meta = server.client, ObjectMeta(name="c", namespace="default")
    for name, grows in (("fixed", False), ("elastic", True)):
        kind = StorageClass(
            metadata=ObjectMeta(name=name), provisioner="p", allow_volume_expansion=grows
        )
        await client.create(kind)
    spec = core_v1.PersistentVolumeClaimSpec(
        access_modes=["ReadWriteOnce"], storage_class_name="fixed"
    )
    spec.resources.requests = {"storage": "1Gi"}
    more = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}

    async def grown(name: str) -> core_v1.PersistentVolumeClaim:
        return await client.patch(core_v1.PersistentVolumeClaim, name, more, "default", media=MERGE)

    for name, why in (
        ("fixed", "the storageclass that provisions the pvc must support resize"),
        ("elastic", ""),
    ):
        meta.name = spec.storage_class_name = name
        made = await client.create(core_v1.PersistentVolumeClaim(metadata=meta, spec=spec))
        with pytest.raises(StatusError, match=r"bound"):
            await grown(name)
        made.status.phase = "Bound"
        await client.update_status(made)
        if why:
            with pytest.raises(StatusError, match=why):
                await grown(name)
        else:
            assert (await grown(name)).spec.resources.requests == {"storage": "2Gi"}
