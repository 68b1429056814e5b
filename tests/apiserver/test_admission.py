"""Webhooks and policies in the path of a write, with a real webhook server over TLS."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.apiserver.builders import CRONS, call, cron, definition, established, refused
from tests.apiserver.webhooks import GROUP, Hook, bind, patch, policy
from tests.apiserver.webhooks import hook as hook
from tests.builders import deployment, pod
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.testing import LocalCluster

MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_a_validating_webhook_refuses(server: LocalCluster, hook: Hook) -> None:
    await hook.register("Validating")
    hook.answer = lambda request: {
        "allowed": False,
        "status": {"message": "no", "reason": "Forbidden", "code": 403},
    }
    error = await refused(call(server, "POST", MAPS, config_map()))
    assert (error.code, str(error)) == (
        403,
        'admission webhook "a.example.com" denied the request: no',
    )
    asked = hook.asked[0]
    assert (
        asked["operation"] == "CREATE"
        and asked["object"]["metadata"]["name"] == "a"
        and asked["oldObject"] is None
    )
    assert (
        asked["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
        and asked["namespace"] == "default"
    )
    assert asked["userInfo"]["username"] == "kubernetes-admin"


async def test_updates_and_deletions_are_asked_about(server: LocalCluster, hook: Hook) -> None:
    await call(server, "POST", MAPS, config_map(k="v"))
    await hook.register("Validating")
    await call(server, "PATCH", f"{MAPS}/a", {"data": {"k": "w"}}, MERGE)
    await call(server, "DELETE", f"{MAPS}/a")
    assert [
        (a["operation"], (a["object"] or {}).get("data"), a["oldObject"]["data"])
        for a in hook.asked
    ] == [
        ("UPDATE", {"k": "w"}, {"k": "v"}),
        ("DELETE", None, {"k": "w"}),
    ]


async def test_a_mutating_webhook_changes_what_is_stored(server: LocalCluster, hook: Hook) -> None:
    await hook.register("Mutating")
    hook.answer = lambda request: {
        **patch({"op": "add", "path": "/data/x", "value": "y"}),
        "warnings": ["careful"],
    }
    made = await call(server, "POST", MAPS, config_map(k="v"))
    assert made["data"] == {"k": "v", "x": "y"} == (await call(server, "GET", f"{MAPS}/a"))["data"]


async def test_custom_objects_are_pruned_after_a_mutation(server: LocalCluster, hook: Hook) -> None:
    await established(server, definition())
    await hook.register("Mutating", resources=("crontabs",))
    hook.answer = lambda request: patch(
        {"op": "add", "path": "/spec/nope", "value": 1},
        {"op": "add", "path": "/spec/replicas", "value": 3},
    )
    made = await call(server, "POST", CRONS, cron())
    assert made["spec"]["replicas"] == 3 and "nope" not in made["spec"]


async def test_failures_are_open_or_closed(server: LocalCluster, hook: Hook) -> None:
    made = await hook.register("Validating", path="/slow", timeoutSeconds=1)
    error = await refused(call(server, "POST", MAPS, config_map()))
    assert error.code == 500 and 'failed calling webhook "a.example.com"' in str(error)
    assert (
        f'Post "https://127.0.0.1:{hook.port}/slow?timeout=1s": context deadline exceeded'
        in str(error)
    )
    made["webhooks"][0]["failurePolicy"] = "Ignore"
    await call(server, "PUT", f"{GROUP}/validatingwebhookconfigurations/h", made)
    assert (await call(server, "POST", MAPS, config_map()))["metadata"]["name"] == "a"


async def test_selectors_and_conditions_choose(server: LocalCluster, hook: Hook) -> None:
    conditions = [{"name": "not-b", "expression": "object.metadata.name != 'b'"}]
    await hook.register(
        "Validating",
        matchConditions=conditions,
        objectSelector={"matchLabels": {"watch": "me"}},
        namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "default"}},
    )
    for name, labels in (("a", {"watch": "me"}), ("b", {"watch": "me"}), ("c", {})):
        body = config_map(name)
        body["metadata"]["labels"] = labels
        await call(server, "POST", MAPS, body)
    assert [a["name"] for a in hook.asked] == ["a"]


async def test_dry_runs_need_a_hook_without_side_effects(server: LocalCluster, hook: Hook) -> None:
    await hook.register("Validating")
    await call(server, "POST", MAPS, config_map(), dryRun="All")
    assert hook.asked[0]["dryRun"] is True


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"sideEffects": "Some"}, "webhooks[0].sideEffects"),
        ({"timeoutSeconds": 31}, "webhooks[0].timeoutSeconds"),
        ({"name": "short"}, "webhooks[0].name"),
        ({"admissionReviewVersions": []}, "webhooks[0].admissionReviewVersions"),
        (
            {"matchConditions": [{"name": "x", "expression": "1 +"}]},
            "webhooks[0].matchConditions[0].expression",
        ),
        ({"clientConfig": {"url": "http://x"}}, "webhooks[0].clientConfig.url"),
    ],
)
async def test_bad_configurations_name_the_field(
    server: LocalCluster, hook: Hook, more: Any, field: str
) -> None:
    error = await refused(hook.register("Validating", **more))
    assert error.code == 422 and field in [c.field for c in error.status.details.causes]  # type: ignore[union-attr]


async def test_a_policy_refuses_with_its_message(server: LocalCluster) -> None:
    await bind(
        server,
        policy(
            {
                "expression": "variables.n < 2",
                "messageExpression": "'too many: ' + string(variables.n)",
            },
            variables=[{"name": "n", "expression": "object.data.size()"}],
        ),
    )
    assert await call(server, "POST", MAPS, config_map("a", k="v"))
    error = await refused(call(server, "POST", MAPS, config_map("b", k="v", l="w")))
    assert (error.code, error.reason) == (422, "Invalid")
    assert (
        str(error)
        == "configmaps \"b\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: too many: 2"
    )


async def test_a_policy_takes_parameters(server: LocalCluster) -> None:
    await call(server, "POST", MAPS, config_map("limits", max="1"))
    objects = policy(
        {
            "expression": "params == null || object.metadata.name == 'limits' || object.data.size() <= int(params.data.max)"
        },
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
    )
    objects[1]["spec"]["paramRef"] = {
        "name": "limits",
        "namespace": "default",
        "parameterNotFoundAction": "Deny",
    }
    await bind(server, objects)
    assert await call(server, "POST", MAPS, config_map("a", k="v"))
    assert "failed expression: params == null" in str(
        await refused(call(server, "POST", MAPS, config_map("b", k="v", l="w")))
    )


async def test_a_policy_may_ask_the_authorizer(server: LocalCluster) -> None:
    rule = {
        "expression": "authorizer.group('').resource('pods').namespace('default').check('create').allowed()"
    }
    await bind(server, policy(rule))
    assert await call(server, "POST", MAPS, config_map())


async def test_a_policy_that_fails_is_open_or_closed(server: LocalCluster) -> None:
    await bind(server, policy({"expression": "object.nope == 1"}))
    assert "resulted in error: no such key: nope" in str(
        await refused(call(server, "POST", MAPS, config_map()))
    )


async def test_a_mutating_policy_applies(server: LocalCluster) -> None:
    label = {
        "patchType": "ApplyConfiguration",
        "applyConfiguration": {
            "expression": "Object{metadata: Object.metadata{labels: {'by': 'policy'}}}"
        },
    }
    added = {
        "patchType": "JSONPatch",
        "jsonPatch": {
            "expression": "[JSONPatch{op: 'add', path: '/data/n', value: string(object.metadata.labels.size())}]"
        },
    }
    await bind(
        server, policy(kind="Mutating", mutations=[label, added], reinvocationPolicy="Never")
    )
    made = await call(server, "POST", MAPS, config_map(k="v"))
    assert made["metadata"]["labels"] == {"by": "policy"} and made["data"] == {"k": "v", "n": "1"}


async def test_nobody_is_asked_about_the_locks_themselves(server: LocalCluster, hook: Hook) -> None:
    await hook.register("Validating", resources=("*",))
    hook.answer = lambda request: {"allowed": False}
    await call(server, "DELETE", f"{GROUP}/validatingwebhookconfigurations/h")
    assert not hook.asked


async def test_streams_are_asked_about(server: LocalCluster, hook: Hook) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    await call(server, "POST", "/api/v1/namespaces/default/pods", pod)
    await hook.register("Validating", resources=("pods/attach",))
    hook.answer = lambda request: {"allowed": False, "status": {"message": "no attaching"}}
    error = await refused(
        server.client.request("POST", "/api/v1/namespaces/default/pods/p/attach?stdin=true")
    )
    assert "no attaching" in str(error) and hook.asked[0]["operation"] == "CONNECT"
    assert (
        hook.asked[0]["object"]["kind"] == "PodAttachOptions"
        and hook.asked[0]["object"]["stdin"] is True
    )


async def test_what_a_webhook_adds_is_seen_by_the_built_in_plugins(
    server: LocalCluster, hook: Hook
) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    bounds = core_v1.LimitRange(metadata=ObjectMeta(name="l", namespace="default"))
    bounds.spec.limits = [core_v1.LimitRangeItem(type="Container", default={"cpu": "1"})]
    await server.client.create(bounds)
    await hook.register("Mutating", resources=("pods",))
    sidecar = {"name": "sidecar", "image": "x"}
    hook.answer = lambda request: patch(
        {"op": "add", "path": "/spec/containers/-", "value": sidecar}
    )
    made = await server.client.create(pod("p"))
    assert [c.name for c in made.spec.containers] == ["c", "sidecar"] and len(hook.asked) == 1
    assert all(c.volume_mounts and c.resources.limits == {"cpu": "1"} for c in made.spec.containers)
    assert (
        "cpu limit for container sidecar" in made.metadata.annotations["kubernetes.io/limit-ranger"]
    )


async def test_webhooks_that_ask_for_it_see_later_changes(server: LocalCluster, hook: Hook) -> None:
    body = hook.config("Mutating", reinvocationPolicy="IfNeeded")
    body["webhooks"].append(
        {**body["webhooks"][0], "name": "b.example.com", "reinvocationPolicy": "Never"}
    )
    for path, one in zip(("/first", "/second"), body["webhooks"], strict=True):
        one["clientConfig"] = {**one["clientConfig"], "url": f"https://127.0.0.1:{hook.port}{path}"}
    await call(server, "POST", f"{GROUP}/mutatingwebhookconfigurations", body)
    hook.answer = lambda request: (
        patch({"op": "add", "path": "/data/second", "value": "y"})
        if "first" in request["object"]["data"]
        else patch({"op": "add", "path": "/data/first", "value": "x"})
    )
    made = await call(server, "POST", MAPS, config_map(k="v"))
    assert made["data"] == {"k": "v", "first": "x", "second": "y"}
    assert [sorted(a["object"]["data"]) for a in hook.asked] == [
        ["k"],
        ["first", "k"],
        ["first", "k", "second"],
    ]


async def test_webhooks_see_what_a_subresource_is_about(server: LocalCluster, hook: Hook) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    await server.client.create(pod("p"))
    await server.client.create(deployment("web", 1))
    await hook.register("Validating", resources=("*/*",))
    pods, one = "/api/v1/namespaces/default/pods", {"name": "p"}
    await call(
        server,
        "POST",
        f"{pods}/p/binding",
        {"apiVersion": "v1", "kind": "Binding", "metadata": one, "target": {"name": "n"}},
    )
    scale = "/apis/apps/v1/namespaces/default/deployments/web/scale"
    await call(server, "PATCH", scale, {"spec": {"replicas": 3}}, MERGE)
    await call(
        server,
        "POST",
        f"{pods}/p/eviction",
        {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": one},
    )
    asked = [
        (a["operation"], a["kind"]["kind"], a["resource"]["resource"], a.get("subResource", ""))
        for a in hook.asked
    ]
    assert asked == [
        ("CREATE", "Binding", "pods", "binding"),
        ("UPDATE", "Scale", "deployments", "scale"),
        ("CREATE", "Eviction", "pods", "eviction"),
        ("DELETE", "Pod", "pods", ""),
    ]
    assert (hook.asked[1]["object"]["spec"], hook.asked[1]["oldObject"]["spec"]) == (
        {"replicas": 3},
        {"replicas": 1},
    )


async def test_a_request_ends_when_its_client_waits_no_longer(
    server: LocalCluster, hook: Hook
) -> None:
    await hook.register("Validating", path="/slow", timeoutSeconds=4)
    error = await refused(
        server.client.request("POST", MAPS, json.dumps(config_map()).encode(), {"timeout": "200ms"})
    )
    assert (error.code, error.reason) == (504, "Timeout")
