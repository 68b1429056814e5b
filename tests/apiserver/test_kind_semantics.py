"""What the server does to objects of single kinds: counts, defaults, columns, addresses."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.apiserver.builders import call, refused
from tests.builders import deployment
from tiphys.api import apps_v1, batch_v1, core_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.testing import LocalCluster

CM = core_v1.ConfigMap


async def test_a_daemon_set_counts_its_templates(server: LocalCluster) -> None:
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    one = from_builtins(
        {"metadata": {"name": "d", "namespace": "default"}, "spec": spec}, apps_v1.DaemonSet
    )
    one = await server.client.create(one)
    name = "deprecated.daemonset.template.generation"
    assert one.metadata.annotations[name] == "1"
    one.metadata.annotations, one.spec.template.spec.containers[0].image = {}, "j"
    one = await server.client.update(one)
    assert one.metadata.annotations[name] == "2"
    one.metadata.annotations = {"other": "change"}
    assert (await server.client.update(one)).metadata.annotations == {"other": "change", name: "2"}


async def test_services_get_addresses_that_nobody_else_has(server: LocalCluster) -> None:
    def service(name: str, **spec: Any) -> core_v1.Service:
        made = core_v1.Service(metadata=ObjectMeta(name=name, namespace="default"))
        made.spec.ports = [core_v1.ServicePort(port=80)]
        for key, value in spec.items():
            setattr(made.spec, key, value)
        return made

    made = await asyncio.gather(
        *(server.client.create(service(f"s{n}", type="NodePort")) for n in range(10))
    )
    assert (
        len({s.spec.cluster_ip for s in made}) == 10
        and len({s.spec.ports[0].node_port for s in made}) == 10
    )
    taken = await refused(
        server.client.create(service("clash", cluster_ip=made[0].spec.cluster_ip))
    )
    assert "provided IP is already allocated" in taken.status.message
    await server.client.delete(core_v1.Service, "s0", "default")
    again = await server.client.create(service("again", cluster_ip=made[0].spec.cluster_ip))
    assert again.spec.cluster_ip == made[0].spec.cluster_ip


async def test_a_scale_has_columns_of_its_own(server: LocalCluster) -> None:
    await server.client.create(deployment())
    path = "/apis/apps/v1/namespaces/default/deployments/web/scale"
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    found = json.loads(await server.client.request("GET", path, accept=table))
    assert [column["name"] for column in found["columnDefinitions"]] == [
        "Name",
        "Desired",
        "Available",
        "Age",
    ]
    assert found["rows"][0]["cells"][:3] == ["web", 3, 0]
    plain = json.loads(await server.client.request("GET", path))
    assert (plain["kind"], plain["apiVersion"], plain["spec"]) == (
        "Scale",
        "autoscaling/v1",
        {"replicas": 3},
    )


@pytest.mark.parametrize(
    ("options", "held"), [({}, ["orphan"]), ({"propagationPolicy": "Background"}, None)]
)
async def test_pods_of_older_kinds_stay_unless_the_deletion_says_otherwise(
    server: LocalCluster, options: dict[str, str], held: list[str] | None
) -> None:
    job = batch_v1.Job(metadata=ObjectMeta(name="j", namespace="default"))
    job.spec.template.spec.restart_policy = "Never"
    job.spec.template.spec.containers = [core_v1.Container(name="c", image="img")]
    await server.client.create(job)
    jobs = "/apis/batch/v1/namespaces/default/jobs"
    await call(server, "DELETE", f"{jobs}/j", options)
    left = (await call(server, "GET", jobs))["items"]
    assert [one["metadata"]["finalizers"] for one in left] == ([held] if held else [])


async def test_an_event_without_a_source_is_found_by_its_controller(server: LocalCluster) -> None:
    body = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "eventTime": "2026-01-01T00:00:00.000001Z",
        "reportingController": "tester",
        "reportingInstance": "t-1",
        "action": "Do",
        "reason": "Test",
        "type": "Normal",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"},
    }
    await call(server, "POST", "/apis/events.k8s.io/v1/namespaces/default/events", body)
    for selector in ("source=tester", "reportingComponent=tester"):
        found = await server.client.list(core_v1.Event, "default", fields=selector)
        assert [one.metadata.name for one in found.items] == ["e"]


async def test_templates_leave_to_pods_what_only_they_get(server: LocalCluster) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    container = {
        "name": "c",
        "image": "i",
        "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": "1"}},
    }
    spec = {"hostNetwork": True, "containers": [container]}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": spec}
    body = {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    made = await call(server, "POST", "/apis/apps/v1/namespaces/default/deployments", body)
    kept = made["spec"]["template"]["spec"]
    assert "enableServiceLinks" not in kept and kept["containers"][0]["resources"] == {
        "limits": {"cpu": "1"}
    }
    assert kept["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    made = await call(
        server, "POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": spec}
    )
    assert made["spec"]["enableServiceLinks"] is True
    assert made["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1"}
    assert made["spec"]["containers"][0]["ports"][0]["hostPort"] == 80


async def test_a_job_without_labels_has_those_of_its_pods(server: LocalCluster) -> None:
    path = "/apis/batch/v1/namespaces/default/jobs"
    spec = {
        "template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
        }
    }
    made = await call(server, "POST", path, {"metadata": {"name": "plain"}, "spec": spec})
    assert made["metadata"]["labels"] == made["spec"]["template"]["metadata"]["labels"]
    assert made["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "plain"
    made = await call(
        server,
        "POST",
        path,
        {"metadata": {"name": "named", "labels": {"own": "one"}}, "spec": spec},
    )
    assert made["metadata"]["labels"] == {"own": "one"}


async def test_volumes_elsewhere_get_their_defaults(server: LocalCluster) -> None:
    common = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
    sources: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "iscsi": (
            {"targetPortal": "1.2.3.4", "iqn": "iqn.2001-04.com.example:x", "lun": 0},
            {"iscsiInterface": "default"},
        ),
        "rbd": (
            {"monitors": ["a"], "image": "i"},
            {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
        ),
        "azureDisk": (
            {"diskName": "a", "diskURI": "https://a.blob.core.windows.net/c/d.vhd"},
            {"cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared", "readOnly": False},
        ),
    }
    for name, (given, added) in sources.items():
        body = {"metadata": {"name": name.lower()}, "spec": {**common, name: given}}
        made = await call(server, "POST", "/api/v1/persistentvolumes", body)
        assert made["spec"][name] == {**given, **added}
    made = await call(
        server,
        "POST",
        "/api/v1/nodes",
        {"metadata": {"name": "n"}, "spec": {"podCIDR": "10.0.0.0/24"}},
    )
    assert made["spec"]["podCIDRs"] == ["10.0.0.0/24"]


async def test_what_has_no_namespace_forgets_the_one_of_its_manifest(server: LocalCluster) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": []}
    meta = {"name": "reader", "namespace": "default"}
    made = await server.client.create({**role, "metadata": meta})
    assert "namespace" not in made["metadata"]
