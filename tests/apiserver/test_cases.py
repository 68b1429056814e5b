"""Cases from the field: what people bring from elsewhere works as it did there."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.apiserver.applying import MAPS, apply
from tests.apiserver.builders import call, definition, established, refused
from tests.builders import pod
from tests.cases import CRDS, defined, inputs
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.testing import LocalCluster


def harbour(kind: str, name: str, **content: Any) -> dict[str, Any]:
    return {
        "apiVersion": "harbour.example.com/v1",
        "kind": kind,
        "metadata": {"name": name},
        **content,
    }


async def test_a_root_may_ask_for_what_every_object_has(server: LocalCluster) -> None:
    path = await defined(server, "root")
    made = await call(server, "POST", path, harbour("Buoy", "b-one", spec={"size": 1}))
    made["spec"]["size"] = 2
    assert (await call(server, "PUT", f"{path}/b-one", made))["spec"] == {"size": 2}
    made = await call(
        server,
        "PATCH",
        f"{path}/b-one/status",
        {"status": {"x": 1}},
        "application/merge-patch+json",
    )
    assert made["status"] == {"x": 1}
    assert "spec: Required value" in str(
        await refused(call(server, "POST", path, harbour("Buoy", "b-two")))
    )


async def test_a_schema_may_bound_the_name(server: LocalCluster) -> None:
    path = await defined(server, "root")
    long = str(await refused(call(server, "POST", path, harbour("Buoy", "b-12345678901", spec={}))))
    assert "metadata.name: Too long: may not be more than 10 bytes" in long
    other = str(await refused(call(server, "POST", path, harbour("Buoy", "one", spec={}))))
    assert (
        "metadata.name: Invalid value: \"one\": metadata.name in body should match '^b-'" in other
    )


async def test_a_root_counts_the_fields_of_the_whole_object(server: LocalCluster) -> None:
    path = await defined(server, "counted")
    await call(server, "POST", path, harbour("Float", "one", spec={}))
    assert "should have at least 4 properties" in str(
        await refused(call(server, "POST", path, harbour("Float", "two")))
    )


async def test_rules_see_the_name_whatever_the_schema_says(server: LocalCluster) -> None:
    path = await defined(server, "counted")
    await call(server, "POST", path, harbour("Float", "one", spec={}))
    assert "a label" in str(
        await refused(call(server, "POST", path, harbour("Float", "1", spec={})))
    )


async def test_asking_for_presence_is_not_dear(server: LocalCluster) -> None:
    path = await defined(server, "presence")
    both = {"members": [{"type": "A", "selector": {"a": {}, "b": {}}}]}
    assert "only one" in str(
        await refused(call(server, "POST", path, harbour("Quay", "q", spec=both)))
    )


async def test_what_is_applied_again_is_not_written_again(server: LocalCluster) -> None:
    path = await defined(server, "ropes")
    spec = {
        "plain": {"n": 1},
        "atomic": [{"name": "x"}],
        "keyed": [{"name": "x"}],
        "whole": {"n": 1},
    }
    first = await apply(server, path, harbour("Rope", "one", spec=spec))
    assert first["spec"]["atomic"] == [{"name": "x", "kind": "A"}]
    for clock in (60, 120):
        server.server.registry.now = lambda clock=clock: 2e9 + clock
        assert await apply(server, path, harbour("Rope", "one", spec=spec)) == first


PATHS = {
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
}


@pytest.mark.parametrize("body", inputs("normalised"), ids=lambda body: body["kind"])
async def test_what_the_server_completes_is_not_written_again(
    server: LocalCluster, body: dict[str, Any]
) -> None:
    first = await apply(server, PATHS[body["kind"]], body)
    server.server.registry.now = lambda: 2e9
    assert await apply(server, PATHS[body["kind"]], body) == first


@pytest.mark.parametrize(
    "part", [{"labels": {"a": "b"}}, {"annotations": {"a": "b"}}, {"finalizers": ["a.b/c"]}]
)
async def test_an_applier_may_drop_its_last_word_in_the_metadata(
    server: LocalCluster, part: dict[str, Any]
) -> None:
    path = await defined(server, "ropes")
    body = harbour("Rope", "one", spec={"plain": {"n": 1}})
    first = await apply(server, path, {**body, "metadata": {"name": "one", **part}})
    after = await apply(server, path, body)
    assert after["metadata"]["uid"] == first["metadata"]["uid"]
    assert not set(part) & set(after["metadata"]) and after["spec"] == first["spec"]
    maps = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "v"}}
    await apply(server, MAPS, {**maps, "metadata": {"name": "m", **part}})
    assert not set(part) & set((await apply(server, MAPS, maps))["metadata"])


async def test_an_applier_is_the_same_one_at_another_version(server: LocalCluster) -> None:
    old = await defined(server, "gates")
    new = old.replace("/v1/", "/v2/")
    body = harbour("Gate", "g", spec={"port": "a"})
    await apply(server, old, body)
    moved = await apply(
        server, new, {**body, "apiVersion": "harbour.example.com/v2", "spec": {"port": "b"}}
    )
    assert moved["spec"]["port"] == "b"
    [entry] = moved["metadata"]["managedFields"]
    assert entry["apiVersion"] == "harbour.example.com/v2" and entry["operation"] == "Apply"


async def test_the_stored_versions_defaults_are_seen_at_every_version(server: LocalCluster) -> None:
    old = await defined(server, "gates")
    new = old.replace("/v1/", "/v2/")
    made = await call(server, "POST", old, harbour("Gate", "g", spec={"port": "a"}))
    assert made["spec"] == {"port": "a", "lock": "shut"}
    for path in (old, new):
        assert (await call(server, "GET", f"{path}/g"))["spec"]["lock"] == "shut"
        assert (await call(server, "GET", path))["items"][0]["spec"]["lock"] == "shut"


async def test_a_new_default_is_seen_in_what_is_stored(server: LocalCluster) -> None:
    path = await defined(server, "gates")
    await call(server, "POST", path, harbour("Gate", "g", spec={"port": "a"}))
    crd = await call(server, "GET", f"{CRDS}/gates.harbour.example.com")
    spec = crd["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["keys"] = {"type": "integer", "default": 1}
    await call(server, "PUT", f"{CRDS}/gates.harbour.example.com", crd)
    seen = await call(server, "GET", f"{path.replace('/v1/', '/v2/')}/g")
    assert seen["spec"] == {"port": "a", "lock": "shut", "keys": 1}


def service(name: str, *ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    body = {"type": "NodePort", "ports": list(ports), **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body}


SERVICES = "/api/v1/namespaces/default/services"
TCP = {"name": "tcp", "port": 53, "protocol": "TCP"}
UDP = {"name": "udp", "port": 53, "protocol": "UDP"}


async def test_one_port_for_two_protocols_has_one_node_port(server: LocalCluster) -> None:
    made = await call(server, "POST", SERVICES, service("dns", TCP, UDP))
    first, second = (port["nodePort"] for port in made["spec"]["ports"])
    assert first == second
    given = await call(server, "POST", SERVICES, service("given", TCP, {**UDP, "nodePort": 31443}))
    assert [port["nodePort"] for port in given["spec"]["ports"]] == [31443, 31443]
    other = service("other", {**UDP, "nodePort": first})
    assert "provided port is already allocated" in str(
        await refused(call(server, "POST", SERVICES, other))
    )


async def test_node_ports_that_a_service_gives_up_are_free(server: LocalCluster) -> None:
    made = await call(server, "POST", SERVICES, service("one", {**TCP, "nodePort": 31000}))
    made["spec"] |= {"type": "ClusterIP"}
    assert (
        "nodePort" not in (await call(server, "PUT", f"{SERVICES}/one", made))["spec"]["ports"][0]
    )
    await call(server, "POST", SERVICES, service("two", {**TCP, "nodePort": 31000}))


async def test_no_affinity_has_no_configuration(server: LocalCluster) -> None:
    made = await call(server, "POST", SERVICES, service("one", TCP, sessionAffinity="ClientIP"))
    assert made["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    made["spec"]["sessionAffinity"] = "None"
    assert (
        "sessionAffinityConfig" not in (await call(server, "PUT", f"{SERVICES}/one", made))["spec"]
    )


async def test_a_patch_that_fails_names_no_object(server: LocalCluster) -> None:
    await call(
        server, "POST", MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}}
    )
    gone = [{"op": "remove", "path": "/data/zz"}]
    error = await refused(call(server, "PATCH", f"{MAPS}/m", gone, "application/json-patch+json"))
    assert error.status.message == "the server rejected our request due to an error in our request"
    assert error.code == 422 and error.reason == "Invalid"
    assert (
        error.status.details is not None
        and not error.status.details.name
        and not error.status.details.kind
    )


@pytest.mark.parametrize(
    "text", ["aGVsbG8g\nd29ybGQ=\n", "aGVs\r\nbG8gd29ybGQ=", "aGVsbG8gd29ybGQ\n="]
)
async def test_base64_may_have_line_breaks(server: LocalCluster, text: str) -> None:
    secrets = "/api/v1/namespaces/default/secrets"
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "lines"},
        "data": {"a": text},
    }
    assert (await call(server, "POST", secrets, body))["data"] == {"a": "aGVsbG8gd29ybGQ="}
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "m"},
        "binaryData": {"a": text},
    }
    assert (await apply(server, MAPS, body))["binaryData"] == {"a": "aGVsbG8gd29ybGQ="}


async def test_metrics_of_nothing_are_an_empty_list(server: LocalCluster) -> None:
    path = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"
    assert (await call(server, "GET", path))["items"] == []


async def test_what_begins_like_json_may_be_yaml(server: LocalCluster) -> None:
    body = b"{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {k: v}}"
    path, media = f"{MAPS}/m", "application/apply-patch+yaml"
    made = json.loads(
        await server.client.request("PATCH", path, body, {"fieldManager": "me"}, media)
    )
    assert made["data"] == {"k": "v"}


async def test_a_version_that_cannot_be_read_does_not_keep_an_object_from_being_made(
    server: LocalCluster,
) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "m", "resourceVersion": "abc"},
    }
    assert (await call(server, "POST", MAPS, body))["metadata"]["resourceVersion"].isdigit()
    body["metadata"] = {"name": "n", "resourceVersion": "7"}
    assert "resourceVersion should not be set" in str(
        await refused(call(server, "POST", MAPS, body))
    )


async def test_a_negative_grace_period_becomes_one_second(server: LocalCluster) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    made = await server.client.create(pod("p", terminationGracePeriodSeconds=-5))
    assert made.spec.termination_grace_period_seconds == 1


async def test_a_pod_waits_for_the_account_of_its_new_namespace(server: LocalCluster) -> None:
    async with asyncio.TaskGroup() as group:
        made = group.create_task(server.client.create(pod("p")))
        account = core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
        group.create_task(server.client.create(account))
    assert made.result().spec.service_account_name == "default"


async def test_the_template_of_a_cron_job_has_no_defaults_of_jobs(server: LocalCluster) -> None:
    template = {
        "spec": {
            "template": {
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
            }
        }
    }
    body = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"}}
    body["spec"] = {"schedule": "* * * * *", "jobTemplate": template}
    made = await call(server, "POST", "/apis/batch/v1/namespaces/default/cronjobs", body)
    assert set(made["spec"]["jobTemplate"]["spec"]) == {"template"}


async def test_the_kubernetes_service_comes_back(server: LocalCluster) -> None:
    before = await call(server, "GET", f"{SERVICES}/kubernetes")
    await call(server, "DELETE", f"{SERVICES}/kubernetes")

    async def back() -> Any:
        found = (await call(server, "GET", SERVICES))["items"]
        return [item for item in found if item["metadata"]["name"] == "kubernetes"]

    [after] = await server.eventually(back)
    assert (
        after["spec"]["clusterIP"] == before["spec"]["clusterIP"]
        and after["metadata"]["uid"] != before["metadata"]["uid"]
    )


async def test_groups_of_custom_resources_are_listed_after_the_others_by_name(
    server: LocalCluster,
) -> None:
    await defined(server, "presence")
    await established(server, definition())
    names = [group["name"] for group in (await call(server, "GET", "/apis"))["groups"]]
    own = [names.index(name) for name in ("harbour.example.com", "stable.example.com")]
    assert own == sorted(own) and names.index("apps") < own[0] and names[-1] == "metrics.k8s.io"
