"""What clients rely on: versions, watches, pages, finalizers, grace, field checks, identity."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import yaml

from tests.apiserver.builders import call
from tests.attack.wire import ask
from tests.builders import config_map, deployment, pod
from tiphys.api import apps_v1, authentication_v1, batch_v1, core_v1
from tiphys.api.base import decode, from_builtins
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.machinery import protobuf
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

CM = core_v1.ConfigMap


async def refused(awaitable: Any) -> StatusError:
    with pytest.raises(StatusError) as error:
        await awaitable
    return error.value


async def with_account(server: LocalCluster) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )


async def test_pages_stay_consistent_while_objects_change(server: LocalCluster) -> None:
    for n in range(5):
        await server.client.create(config_map(f"c{n}"))
    first = await server.client.list(CM, "default", limit=2)
    await server.client.delete(CM, "c3", "default")
    await server.client.create(config_map("c9"))
    second = await server.client.list(CM, "default", limit=2, token=first.token)
    third = await server.client.list(CM, "default", limit=2, token=second.token)
    assert [c.metadata.name for page in (first, second, third) for c in page.items] == [
        "c0",
        "c1",
        "c2",
        "c3",
        "c4",
    ]
    assert third.token == "" and third.revision == first.revision


async def test_a_watch_from_a_version_sees_what_came_after(server: LocalCluster) -> None:
    made = await server.client.create(config_map("a"))
    await server.client.patch(CM, "a", {"data": {"k": "v"}}, "default", media=MERGE)
    await server.client.delete(CM, "a", "default")
    kinds = []
    async for event in server.client.watch(CM, "default", revision=made.metadata.resource_version):
        kinds.append(event.kind)
        if event.kind == "DELETED":
            break
    assert kinds == ["MODIFIED", "DELETED"]


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


async def test_version_zero_in_an_update_is_whatever_there_is(server: LocalCluster) -> None:
    made = await server.client.create(config_map("a"))
    for version, code in (("0", 0), ("", 0), (made.metadata.resource_version, 409)):
        made.metadata.resource_version = version
        if code:
            assert (await refused(server.client.update(made))).code == code
        else:
            assert (await server.client.update(made)).metadata.resource_version not in ("", "0")
        made.data = {"k": version or "none"}


async def test_a_watch_list_ends_its_initial_events_with_a_bookmark(server: LocalCluster) -> None:
    await server.client.create(config_map("a"))
    query = {
        "watch": "1",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "1",
    }
    lines = (
        await server.client.request("GET", "/api/v1/namespaces/default/configmaps", query=query)
    ).splitlines()
    events = [json.loads(line) for line in lines]
    assert [e["type"] for e in events[:2]] == ["ADDED", "BOOKMARK"]
    assert events[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


@pytest.mark.parametrize("form", ["application/json", "application/yaml"])
@pytest.mark.parametrize("pretty", ["", "true"])
async def test_items_of_a_list_leave_their_type_to_it(
    server: LocalCluster, form: str, pretty: str
) -> None:
    await server.client.create(config_map("a"))
    await server.client.create(config_map("b"))
    path, query = "/api/v1/namespaces/default/configmaps", {"pretty": pretty}
    listed = await server.client.request("GET", path, query=query, accept=form)
    one = json.loads(await server.client.request("GET", f"{path}/a"))
    assert (one.pop("apiVersion"), one.pop("kind")) == ("v1", "ConfigMap")
    found = yaml.safe_load(listed)  # JSON is YAML
    assert [found["items"][0], found["items"][1]["metadata"]["name"]] == [one, "b"]


async def test_only_the_first_row_of_a_watched_table_brings_columns(server: LocalCluster) -> None:
    await server.client.create(config_map("a"))
    await server.client.create(config_map("b"))
    path, query = "/api/v1/namespaces/default/configmaps", {"watch": "1", "timeoutSeconds": "1"}
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    lines = await server.client.request("GET", path, query=query, accept=table)
    first, second = (json.loads(line)["object"] for line in lines.splitlines()[:2])
    assert [column["name"] for column in first["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert second["columnDefinitions"] is None and second["rows"]


async def test_a_version_from_the_future_times_out_with_its_reason(server: LocalCluster) -> None:
    """Asked once: our client would come back ten times, as the answer says that it may."""
    path = "/api/v1/namespaces/default/configmaps?resourceVersion=999999"
    answer = await ask(server.client, "GET", path)
    assert answer.status == 504
    assert answer.json["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_finalizers_hold_a_deleted_object(server: LocalCluster) -> None:
    held = config_map("held")
    held.metadata.finalizers = ["example.com/hold"]
    await server.client.create(held)
    await server.client.delete(CM, "held", "default")
    marked = await server.client.get(CM, "held", "default")
    assert marked.metadata.deletion_timestamp
    await server.client.patch(
        CM, "held", {"metadata": {"finalizers": None}}, "default", media=MERGE
    )
    assert (await refused(server.client.get(CM, "held", "default"))).code == 404


async def test_a_bound_pod_stays_for_its_grace_and_an_unbound_one_does_not(
    server: LocalCluster,
) -> None:
    await with_account(server)
    await server.client.create(pod("free"))
    await server.client.delete(core_v1.Pod, "free", "default")
    assert (await refused(server.client.get(core_v1.Pod, "free", "default"))).code == 404
    await server.client.create(pod("bound", nodeName="n"))
    await server.client.delete(core_v1.Pod, "bound", "default", grace=7)
    assert (
        await server.client.get(core_v1.Pod, "bound", "default")
    ).metadata.deletion_grace_period_seconds == 7
    await server.client.delete(core_v1.Pod, "bound", "default", grace=0)
    assert (await refused(server.client.get(core_v1.Pod, "bound", "default"))).code == 404


async def test_field_validation_refuses_warns_or_ignores(server: LocalCluster) -> None:
    body = json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dataa": {}}
    ).encode()
    path = "/api/v1/namespaces/default/configmaps"
    error = await refused(server.client.request("POST", path, body, {"fieldValidation": "Strict"}))
    assert error.code == 400 and 'unknown field "dataa"' in error.status.message
    assert await server.client.request("POST", path, body, {"fieldValidation": "Ignore"})


async def test_a_body_in_protobuf_is_read(server: LocalCluster) -> None:
    body = protobuf.wrap(config_map("proto", key="value"))
    answer = await server.client.request(
        "POST", "/api/v1/namespaces/default/configmaps", body, content=protobuf.MEDIA_TYPE
    )
    assert decode(answer, CM).data == {"key": "value"}


async def test_generated_names_and_missing_namespaces(server: LocalCluster) -> None:
    made = await server.client.create(
        CM(metadata=ObjectMeta(generate_name="gen-", namespace="default"))
    )
    assert made.metadata.name.startswith("gen-") and len(made.metadata.name) == 9
    assert (await refused(server.client.create(config_map("x", namespace="nowhere")))).code == 404


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


async def test_rbac_decides_and_says_why(server: LocalCluster) -> None:
    from tiphys.api import rbac_v1

    jane = server.client_as("jane")
    error = await refused(jane.list(CM, "default"))
    assert (
        error.status.message
        == 'configmaps is forbidden: User "jane" cannot list resource "configmaps" in API group "" in the namespace "default"'
    )
    binding = rbac_v1.RoleBinding(metadata=ObjectMeta(name="jane", namespace="default"))
    binding.role_ref = rbac_v1.RoleRef(
        api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="view"
    )
    binding.subjects = [rbac_v1.Subject(kind="User", name="jane")]
    await server.client.create(binding)
    assert (await jane.list(CM, "default")).items == []
    assert (await refused(jane.list(core_v1.Secret, "default"))).code == 403
    assert (await refused(jane.list(CM, "kube-system"))).code == 403


async def test_a_token_ends_with_the_pod_it_is_bound_to(server: LocalCluster) -> None:
    await with_account(server)
    await server.client.create(pod("owner"))
    request = authentication_v1.TokenRequest()
    request.spec.bound_object_ref = authentication_v1.BoundObjectReference(
        kind="Pod", api_version="v1", name="owner"
    )
    answer = await server.client.post(
        resource_of(core_v1.ServiceAccount), "default", "default", "token", request
    )
    review = authentication_v1.TokenReview()
    review.spec.token = decode(answer, authentication_v1.TokenRequest).status.token
    checked = await server.client.create(review)
    assert (
        checked.status.authenticated
        and checked.status.user.username == "system:serviceaccount:default:default"
    )
    await server.client.delete(core_v1.Pod, "owner", "default")
    assert not (await server.client.create(review)).status.authenticated


async def test_a_node_changes_only_what_is_its_own(server: LocalCluster) -> None:
    await with_account(server)
    mine, other = (core_v1.Node(metadata=ObjectMeta(name=name)) for name in ("mine", "other"))
    node = server.client_as("system:node:mine", ("system:nodes",))
    await node.create(mine)
    assert (await refused(node.create(other))).code == 403
    secret = core_v1.Secret(metadata=ObjectMeta(name="s", namespace="default"))
    await server.client.create(secret)
    assert (await refused(node.get(core_v1.Secret, "s", "default"))).code == 403
    await server.client.create(
        pod("user", nodeName="mine", volumes=[{"name": "v", "secret": {"secretName": "s"}}])
    )
    assert (await node.get(core_v1.Secret, "s", "default")).metadata.name == "s"


async def test_anonymous_sees_health_and_nothing_else(server: LocalCluster) -> None:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
        async with session.get(f"{server.url}/readyz") as answer:
            assert answer.status == 200
        async with session.get(f"{server.url}/api/v1/namespaces") as answer:
            assert answer.status == 403
        async with session.get(
            f"{server.url}/api", headers={"Authorization": "Bearer nonsense"}
        ) as answer:
            assert answer.status == 401


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nope", 404),
        ("GET", "/api/v1/nope", 404),
        ("GET", "/apis/apps/v2/deployments", 404),
        ("POST", "/api/v1/namespaces/default/pods/x", 405),
        ("DELETE", "/api/v1/namespaces", 405),
        ("GET", "/api/v1/pods?labelSelector=a%20b", 400),
        ("GET", "/api/v1/pods?fieldSelector=spec.x=1", 400),
        ("GET", "/api/v1/pods?continue=xx", 400),
        ("PATCH", "/api/v1/namespaces/default/pods/x", 415),
    ],
)
async def test_bad_requests_get_their_code(
    server: LocalCluster, method: str, path: str, code: int
) -> None:
    error = await refused(
        server.client.request(method, path, b"{}" if method in ("POST", "PATCH") else None)
    )
    assert error.code == code


async def test_large_lists_are_compressed_for_those_who_take_it(server: LocalCluster) -> None:
    for n in range(3):
        await server.client.create(config_map(f"c{n}", k="x" * 100_000))
    url = f"{server.url}/api/v1/namespaces/default/configmaps"
    async with server.client._http().get(url, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len((await answer.json())["items"]) == 3
    async with server.client._http().get(url, headers={"Accept-Encoding": "identity"}) as answer:
        assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("text", ["1", "true", "True", "TRUE", "t", ""])
async def test_a_parameter_is_true_however_a_client_writes_it(
    server: LocalCluster, text: str
) -> None:
    await server.client.create(config_map("seen"))
    query = {"watch": text, "timeoutSeconds": "1", "fieldSelector": "metadata.name=seen"}
    data = await server.client.request("GET", "/api/v1/namespaces/default/configmaps", query=query)
    assert data.startswith(b'{"type":"ADDED"')


@pytest.mark.parametrize("text", ["0", "false", "False"])
async def test_and_false_only_when_it_says_so(server: LocalCluster, text: str) -> None:
    data = await server.client.request(
        "GET", "/api/v1/namespaces/default/configmaps", query={"watch": text}
    )
    assert data.startswith(b'{"kind":"ConfigMapList"')


async def test_a_large_collection_reaches_a_slow_client_whole(server: LocalCluster) -> None:
    for number in range(24):
        big = config_map(f"big-{number:02}")
        big.data = {"k": "v" * 800_000}
        await server.client.create(big)
    wanted = {f"big-{number:02}" for number in range(24)}
    listed = json.loads(await server.client.request("GET", "/api/v1/namespaces/default/configmaps"))
    assert {item["metadata"]["name"] for item in listed["items"]} >= wanted
    seen: set[str] = set()
    async for event in server.client.watch(core_v1.ConfigMap, "default", revision="0"):
        await asyncio.sleep(0.01)  # a client that reads more slowly than the server writes
        seen.add(event.obj.metadata.name)
        if event.obj.metadata.name == "big-00":
            await server.client.create(config_map("later"))
        if "later" in seen:
            break
    assert seen >= wanted | {"later"}


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


async def test_an_owner_named_twice_is_kept_once(server: LocalCluster) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "1"}
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "ownerReferences": [owner, owner]},
    }
    made = await call(server, "POST", "/api/v1/namespaces/default/configmaps", body)
    assert made["metadata"]["ownerReferences"] == [owner]


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


async def test_a_client_says_how_long_it_waits(server: LocalCluster) -> None:
    for text, code in (("invalid", 400), ("0s", 200), ("1h", 200), ("30s", 200)):
        try:
            await server.client.request("GET", "/api/v1/namespaces", query={"timeout": text})
            found = 200
        except StatusError as error:
            found = error.code
            assert "invalid timeout specified in the request URL" in str(error)
        assert found == code, text


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


async def test_a_grace_for_ever_is_a_long_one(server: LocalCluster) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    await server.client.create(pod("p", nodeName="n"))
    await server.client.delete(core_v1.Pod, "p", "default", grace=1 << 62)
    assert (
        await server.client.get(core_v1.Pod, "p", "default")
    ).metadata.deletion_grace_period_seconds == (1 << 31) - 1


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


async def test_a_continue_token_ends_with_its_history_and_the_answer_has_another(
    server: LocalCluster,
) -> None:
    for name in ("a", "b", "c"):
        await server.client.create(config_map(name))
    page = await server.client.list(CM, "default", limit=1)
    await server.client.create(
        core_v1.Secret(metadata=ObjectMeta(name="later", namespace="default"))
    )
    await server.server.store.compact(server.server.store.revision)
    with pytest.raises(StatusError) as expired:
        await server.client.list(CM, "default", limit=1, token=page.token)
    assert expired.value.code == 410
    token = expired.value.status.metadata.continue_
    rest = await server.client.list(CM, "default", limit=1, token=token)
    assert [item.metadata.name for item in rest.items] == ["b"] and rest.revision != page.revision


async def test_what_has_no_namespace_forgets_the_one_of_its_manifest(server: LocalCluster) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": []}
    meta = {"name": "reader", "namespace": "default"}
    made = await server.client.create({**role, "metadata": meta})
    assert "namespace" not in made["metadata"]
