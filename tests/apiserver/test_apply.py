"""Server-side apply and the managers of fields, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.apiserver.applying import APPLY, MAPS, apply
from tests.apiserver.builders import CRONS, call, cron, definition, established
from tiphys.client.client import MERGE
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def deployment(**spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "img:1", "ports": [{"containerPort": 80}]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    body = {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": body,
    }


def config(data: dict[str, str] | None = None, **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", **meta},
        "data": data or {},
    }


async def refused(awaitable: Any) -> StatusError:
    with pytest.raises(StatusError) as error:
        await awaitable
    return error.value


def managers(obj: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(e["manager"], e["operation"]): e["fieldsV1"] for e in obj["metadata"]["managedFields"]}


async def test_a_create_is_its_makers(server: LocalCluster) -> None:
    made = await call(
        server, "POST", MAPS, config({"k": "v"}, labels={"a": "b"}), fieldManager="maker"
    )
    assert managers(made) == {
        ("maker", "Update"): {
            "f:data": {".": {}, "f:k": {}},
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
        }
    }
    entry = made["metadata"]["managedFields"][0]
    assert entry["apiVersion"] == "v1" and entry["fieldsType"] == "FieldsV1" and entry["time"]


async def test_the_user_agent_is_the_manager(server: LocalCluster) -> None:
    made = await call(server, "POST", MAPS, config())
    assert [
        m
        for m, _ in managers(await call(server, "PATCH", f"{MAPS}/a", {"data": {"x": "y"}}, MERGE))
    ] == ["tiphys"]
    assert made["metadata"].get("managedFields") is None


async def test_an_apply_makes_and_owns(server: LocalCluster) -> None:
    made = await apply(server, DEPLOYMENTS, deployment(replicas=2))
    assert made["spec"]["strategy"]["type"] == "RollingUpdate"
    fields = managers(made)["one", "Apply"]
    assert fields["f:spec"]["f:replicas"] == {}
    item = fields["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"c"}']
    assert set(item) == {".", "f:image", "f:name", "f:ports"}
    assert list(item["f:ports"]) == ['k:{"containerPort":80,"protocol":"TCP"}']
    again = await apply(server, DEPLOYMENTS, deployment(replicas=2))
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_conflicts_name_the_owner_and_the_field(server: LocalCluster) -> None:
    await apply(server, DEPLOYMENTS, deployment(replicas=2))
    error = await refused(apply(server, DEPLOYMENTS, deployment(replicas=3), "two"))
    assert error.code == 409 and error.reason == "Conflict"
    assert str(error) == 'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    assert error.status.details.causes[0].reason == "FieldManagerConflict"  # type: ignore[union-attr]
    forced = await apply(server, DEPLOYMENTS, deployment(replicas=3), "two", force="true")
    assert forced["spec"]["replicas"] == 3
    assert "f:replicas" not in managers(forced)["one", "Apply"]["f:spec"]


async def test_an_update_takes_what_it_changes(server: LocalCluster) -> None:
    await apply(server, DEPLOYMENTS, deployment(replicas=2))
    await call(
        server, "PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 5}}, MERGE, fieldManager="hand"
    )
    error = await refused(apply(server, DEPLOYMENTS, deployment(replicas=2)))
    assert 'conflict with "hand" using apps/v1' in str(error)
    kept = await apply(server, DEPLOYMENTS, deployment())
    assert kept["spec"]["replicas"] == 5


async def test_what_is_no_longer_applied_goes(server: LocalCluster) -> None:
    await apply(server, MAPS, config({"mine": "1", "shared": "2"}))
    await apply(server, MAPS, config({"shared": "2", "theirs": "3"}), "two")
    left = await apply(server, MAPS, config({"new": "4"}))
    assert left["data"] == {"shared": "2", "theirs": "3", "new": "4"}
    assert managers(left)["two", "Apply"]["f:data"] == {"f:shared": {}, "f:theirs": {}}


async def test_items_of_keyed_lists_are_owned_one_by_one(server: LocalCluster) -> None:
    await apply(server, DEPLOYMENTS, deployment())
    side = deployment()
    del side["spec"]["selector"]
    side["spec"]["template"] = {"spec": {"containers": [{"name": "side", "image": "s:1"}]}}
    both = await apply(server, DEPLOYMENTS, side, "two")
    assert [c["name"] for c in both["spec"]["template"]["spec"]["containers"]] == ["c", "side"]
    side["spec"]["template"]["spec"]["containers"] = []
    one = await apply(server, DEPLOYMENTS, side, "two")
    assert [c["name"] for c in one["spec"]["template"]["spec"]["containers"]] == ["c"]


async def test_status_has_managers_of_its_own(server: LocalCluster) -> None:
    await apply(server, DEPLOYMENTS, deployment())
    status = {"status": {"replicas": 1}}
    await call(server, "PATCH", f"{DEPLOYMENTS}/web/status", status, MERGE, fieldManager="loop")
    entries = (await call(server, "GET", f"{DEPLOYMENTS}/web"))["metadata"]["managedFields"]
    assert [(e["manager"], e.get("subresource")) for e in entries] == [
        ("one", None),
        ("loop", "status"),
    ]


async def test_scale_is_applied_apart(server: LocalCluster) -> None:
    await apply(server, DEPLOYMENTS, deployment())
    scale = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "web"},
        "spec": {"replicas": 4},
    }
    done = await call(server, "PATCH", f"{DEPLOYMENTS}/web/scale", scale, APPLY, fieldManager="hpa")
    assert done["spec"]["replicas"] == 4
    error = await refused(apply(server, DEPLOYMENTS, deployment(replicas=2)))
    assert str(error).endswith('conflict with "hpa" with subresource "scale": .spec.replicas')


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"spec": True}, ".spec: expected map, got &{true}"),
        ({"spec": []}, ".spec: expected map, got &{[]}"),
        ({"status": 3}, ".status: expected map, got &{3}"),
    ],
)
@pytest.mark.parametrize("path", ["/f", "/f/status"])
async def test_a_version_that_is_not_stored_is_held_against_its_own_type(
    server: LocalCluster, path: str, wrong: dict[str, Any], where: str
) -> None:
    kind = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler"}
    body = {**kind, "metadata": {"name": "f"}, **wrong}
    url = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers" + path
    error = await refused(call(server, "PATCH", url, body, APPLY, fieldManager="one"))
    assert (error.code, str(error)) == (
        400,
        "failed to create typed patch object (default/f; autoscaling/v1,"
        f" Kind=HorizontalPodAutoscaler): {where}",
    )


@pytest.mark.parametrize("wrong", [{"spec": True}, {"spec": []}, {"status": 3}])
async def test_a_scale_that_does_not_fit_is_refused(server: LocalCluster, wrong: Any) -> None:
    await apply(server, DEPLOYMENTS, deployment())
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}}
    url = f"{DEPLOYMENTS}/web/scale"
    error = await refused(call(server, "PATCH", url, {**scale, **wrong}, APPLY, fieldManager="one"))
    assert error.code == 400


async def test_kubectl_moves_from_client_side_apply(server: LocalCluster) -> None:
    first = config({"k": "v"})
    last = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(first)}
    made = config({"k": "v"}, annotations=last)
    await call(server, "POST", MAPS, made, fieldManager="kubectl-client-side-apply")
    moved = await apply(server, MAPS, config({"k": "w"}), "kubectl")
    assert moved["data"] == {"k": "w"}
    noted = moved["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert json.loads(noted)["data"] == {"k": "w"}


async def test_an_empty_entry_resets(server: LocalCluster) -> None:
    await apply(server, MAPS, config({"k": "v"}))
    reset = {"metadata": {"managedFields": [{}]}}
    assert (
        "managedFields" not in (await call(server, "PATCH", f"{MAPS}/a", reset, MERGE))["metadata"]
    )


@pytest.mark.parametrize(
    ("body", "query", "message"),
    [
        (config(), {}, "is required for apply patch"),
        (config(managedFields=[]), {"fieldManager": "x"}, "metadata.managedFields must be nil"),
        ({**config(), "nope": 1}, {"fieldManager": "x"}, ".nope: field not declared in schema"),
        (
            {**config(), "kind": "Secret"},
            {"fieldManager": "x"},
            "invalid object type: /v1, Kind=Secret",
        ),
    ],
)
async def test_bad_configurations_are_refused(
    server: LocalCluster, body: Any, query: Any, message: str
) -> None:
    assert message in str(await refused(call(server, "PATCH", f"{MAPS}/a", body, APPLY, **query)))


async def test_custom_objects_are_applied_by_their_schema(server: LocalCluster) -> None:
    crd = definition(subresources={"status": {}})
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"][
        "properties"
    ]
    item = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "v": {"type": "integer"}},
    }
    spec["rows"] = {
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
    await established(server, crd)
    await apply(server, CRONS, cron(spec={"rows": [{"name": "x", "v": 1}]}))
    both = await apply(server, CRONS, {**cron(), "spec": {"rows": [{"name": "y", "v": 2}]}}, "two")
    assert both["spec"]["rows"] == [{"name": "x", "v": 1}, {"name": "y", "v": 2}]
    error = await refused(
        apply(server, CRONS, {**cron(), "spec": {"rows": [{"name": "x", "v": 9}]}}, "two")
    )
    assert str(error) == 'Apply failed with 1 conflict: conflict with "one": .spec.rows[name="x"].v'
