"""Chains of authorizers, with webhooks among them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.attack.wire import ask
from tests.servers import Behind, kubeconfig, served
from tiphys.apiserver.access.authorizationconfiguration import parse_configuration
from tiphys.apiserver.access.authorizationoptions import AuthorizationOptions
from tiphys.machinery.configfiles import ConfigFileError
from tiphys.testing import LocalCluster

MAPS = "/api/v1/namespaces/default/configmaps"
REVIEW = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}


def settings(file: Path, **more: Any) -> dict[str, Any]:
    return {
        "timeout": "3s",
        "subjectAccessReviewVersion": "v1",
        "failurePolicy": "NoOpinion",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": str(file)},
        **more,
    }


def configuration(*authorizers: Any) -> bytes:
    """A file's bytes; an authorizer is its type, or the settings of a webhook."""
    rows = [
        {"type": "Webhook", "name": f"hook-{number}", "webhook": one}
        if isinstance(one, dict)
        else {"type": one, "name": one.lower()}
        for number, one in enumerate(authorizers)
    ]
    content = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthorizationConfiguration",
        "authorizers": rows,
    }
    return json.dumps(content).encode()


@contextlib.asynccontextmanager
async def chained(folder: Path, *authorizers: Any) -> AsyncIterator[LocalCluster]:
    file = folder / "authorization.yaml"
    file.write_bytes(configuration(*authorizers))
    async with LocalCluster(authorization=AuthorizationOptions(file)) as cluster:
        yield cluster


@contextlib.asynccontextmanager
async def hooked(
    folder: Path, answer: Any, **more: Any
) -> AsyncIterator[tuple[LocalCluster, Behind]]:
    """A server whose webhook is asked after RBAC. `answer`: of a spec, the status."""
    async with served() as behind:
        behind.answer = lambda request: {"status": answer(behind.bodies[-1]["spec"])}
        file = kubeconfig(folder, behind)
        async with chained(folder, "Node", "RBAC", settings(file, **more)) as cluster:
            yield cluster, behind


def only_jane(spec: dict[str, Any]) -> dict[str, Any]:
    return {"allowed": spec["user"] == "jane"}


async def test_a_webhook_allows_what_rbac_does_not(tmp_path: Path) -> None:
    async with hooked(tmp_path, only_jane) as (cluster, behind):
        jane, joe = cluster.client_as("jane", ("devs",)), cluster.client_as("joe")
        assert (await ask(jane, "POST", MAPS, {}, MAP)).status == 201
        assert (await ask(joe, "GET", MAPS)).status == 403
    spec = behind.bodies[0]["spec"]
    assert spec["resourceAttributes"] == {
        "namespace": "default",
        "verb": "create",
        "version": "v1",
        "resource": "configmaps",
    }
    assert (spec["user"], spec["groups"]) == ("jane", ["devs", "system:authenticated"])


async def test_selectors_and_paths_are_told(tmp_path: Path) -> None:
    async with hooked(tmp_path, only_jane) as (cluster, behind):
        jane = cluster.client_as("jane")
        await ask(jane, "GET", f"{MAPS}?labelSelector=a+in+(x,y),!b&fieldSelector=metadata.name!=c")
        await ask(jane, "GET", "/metrics")
    attributes = behind.bodies[0]["spec"]["resourceAttributes"]
    assert attributes["labelSelector"]["requirements"] == [
        {"key": "a", "operator": "In", "values": ["x", "y"]},
        {"key": "b", "operator": "DoesNotExist"},
    ]
    assert attributes["fieldSelector"]["requirements"] == [
        {"key": "metadata.name", "operator": "NotIn", "values": ["c"]}
    ]
    assert behind.bodies[1]["spec"]["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"}


async def test_answers_are_kept(tmp_path: Path) -> None:
    async with hooked(tmp_path, only_jane) as (cluster, behind):
        jane, joe = cluster.client_as("jane"), cluster.client_as("joe")
        for _ in range(3):
            await ask(jane, "GET", MAPS)
            await ask(joe, "GET", MAPS)
    assert len(behind.bodies) == 2


async def test_answers_are_not_kept_where_the_file_says_so(tmp_path: Path) -> None:
    more = {"cacheAuthorizedRequests": False}
    async with hooked(tmp_path, only_jane, **more) as (cluster, behind):
        jane, joe = cluster.client_as("jane"), cluster.client_as("joe")
        for _ in range(3):
            await ask(jane, "GET", MAPS)
            await ask(joe, "GET", MAPS)
    assert len(behind.bodies) == 4


async def test_equal_questions_are_asked_once(tmp_path: Path) -> None:
    async with hooked(tmp_path, only_jane) as (cluster, behind):
        jane = cluster.client_as("jane")
        answers = await asyncio.gather(*(ask(jane, "GET", MAPS) for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len(behind.bodies) == 1


async def test_a_webhook_before_rbac_can_deny(tmp_path: Path) -> None:
    def answer(request: web.Request) -> Any:
        return {"status": {"allowed": False, "denied": True, "reason": "not on Sundays"}}

    async with served(answer) as behind:
        hook = settings(kubeconfig(tmp_path, behind))
        async with chained(tmp_path, hook, "RBAC") as cluster:
            refused = await ask(cluster.client_as("jane"), "GET", "/version")
            masters = await ask(cluster.client, "GET", "/version")
    assert (refused.status, masters.status) == (403, 200)


@pytest.mark.parametrize(("policy", "status"), [("Deny", 500), ("NoOpinion", 200)])
async def test_a_webhook_that_fails_does_what_its_policy_says(
    tmp_path: Path, policy: str, status: int
) -> None:
    async with served(lambda request: web.Response(status=503)) as behind:
        hook = settings(kubeconfig(tmp_path, behind), failurePolicy=policy)
        async with chained(tmp_path, hook, "RBAC") as cluster:
            assert (await ask(cluster.client_as("jane"), "GET", "/version")).status == status


async def test_a_webhook_that_is_away_refuses_nobody_but_who_needs_it(tmp_path: Path) -> None:
    async with served() as behind:
        file = kubeconfig(tmp_path, behind)
    async with chained(tmp_path, "RBAC", settings(file)) as cluster:
        jane = cluster.client_as("jane")
        assert (await ask(jane, "GET", "/version")).status == 200
        assert (await ask(jane, "GET", MAPS)).status == 500
        page = (await ask(cluster.client, "GET", "/metrics")).body.decode()
    assert 'apiserver_authorization_webhook_evaluations_fail_open_total{name="hook-1"' in page


async def test_conditions_say_what_a_webhook_is_asked(tmp_path: Path) -> None:
    conditions = [
        {"expression": "has(request.resourceAttributes)"},
        {"expression": "request.resourceAttributes.namespace == 'default'"},
        {"expression": "!('system:serviceaccounts' in request.groups)"},
    ]
    more = {"matchConditions": conditions, "matchConditionSubjectAccessReviewVersion": "v1"}
    async with hooked(tmp_path, only_jane, **more) as (cluster, behind):
        jane = cluster.client_as("jane")
        assert (await ask(jane, "GET", MAPS)).status == 200
        assert (await ask(jane, "GET", MAPS.replace("default", "other"))).status == 403
        assert (await ask(jane, "GET", "/metrics")).status == 403
    assert len(behind.bodies) == 1


async def test_a_condition_that_fails_does_what_the_policy_says(tmp_path: Path) -> None:
    conditions = [{"expression": "request.resourceAttributes.namespace == 'default'"}]
    more = {"matchConditions": conditions, "matchConditionSubjectAccessReviewVersion": "v1"}
    async with hooked(tmp_path, only_jane, failurePolicy="Deny", **more) as (cluster, behind):
        assert (await ask(cluster.client_as("jane"), "GET", "/metrics")).status == 500
        assert not behind.bodies


async def test_everything_that_asks_for_rights_asks_the_webhook(tmp_path: Path) -> None:
    """Impersonation, access reviews, admission and what expressions ask."""
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    role = {
        "metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }
    rule = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["configmaps"],
    }
    expression = "authorizer.group('x').resource('y').namespace('default').check('frob').allowed()"
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": expression}],
    }
    api = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
    async with hooked(tmp_path, only_jane) as (cluster, behind):
        admin, jane = cluster.client, cluster.client_as("jane")
        acted = await ask(jane, "GET", MAPS, {"Impersonate-User": "bob"})
        escalated = await ask(jane, "POST", roles, {}, role)
        review = {"spec": {"user": "jane", "nonResourceAttributes": {"path": "/x", "verb": "get"}}}
        reviewed = await ask(admin, "POST", REVIEW, {}, review)
        await ask(admin, "POST", f"{api}ies", {}, {"metadata": {"name": "p"}, "spec": spec})
        binding = {"policyName": "p", "validationActions": ["Deny"]}
        await ask(
            admin, "POST", f"{api}ybindings", {}, {"metadata": {"name": "b"}, "spec": binding}
        )
        judged = await ask(jane, "POST", MAPS, {}, MAP)
    assert acted.status == 403 and 'User "bob" cannot list' in acted.json["message"]
    assert (escalated.status, judged.status) == (201, 201)
    assert reviewed.json["status"]["allowed"] is True
    verbs = {body["spec"].get("resourceAttributes", {}).get("verb") for body in behind.bodies}
    assert {"impersonate:user-info", "escalate", "frob"} <= verbs


async def test_rules_are_known_to_be_incomplete(tmp_path: Path) -> None:
    async with hooked(tmp_path, only_jane) as (cluster, _):
        jane = cluster.client_as("jane")
        answer = await ask(jane, "POST", RULES, {}, {"spec": {"namespace": "default"}})
    status = answer.json["status"]
    assert status["incomplete"] is True
    assert status["evaluationError"] == "webhook authorizer does not support user rule resolution"


async def test_an_older_review_has_other_names(tmp_path: Path) -> None:
    more = {"subjectAccessReviewVersion": "v1beta1"}
    async with hooked(tmp_path, only_jane, **more) as (cluster, behind):
        assert (await ask(cluster.client_as("jane"), "GET", MAPS)).status == 200
    assert behind.bodies[0]["apiVersion"] == "authorization.k8s.io/v1beta1"
    assert behind.bodies[0]["spec"]["group"] == ["system:authenticated"]


async def test_the_flags_say_the_same(tmp_path: Path) -> None:
    async with served(lambda request: {"status": {"allowed": True}}) as behind:
        options = AuthorizationOptions(
            modes=("RBAC", "Webhook"), webhook_config_file=kubeconfig(tmp_path, behind)
        )
        async with LocalCluster(authorization=options) as cluster:
            assert (await ask(cluster.client_as("jane"), "GET", MAPS)).status == 200


async def test_a_changed_file_is_read_while_the_server_runs(tmp_path: Path) -> None:
    async with chained(tmp_path, "RBAC") as cluster:
        jane = cluster.client_as("jane")
        assert (await ask(jane, "GET", MAPS)).status == 403
        (tmp_path / "authorization.yaml").write_bytes(configuration("RBAC", "AlwaysAllow"))

        async def let_in() -> bool:
            return (await ask(jane, "GET", MAPS)).status == 200

        await cluster.eventually(let_in)


# --- the file ---


@pytest.mark.parametrize(
    ("authorizer", "problem"),
    [
        ({}, "authorizers[0].type: Required value"),
        (
            {"type": "ABAC"},
            'authorizers[0].type: Unsupported value: "ABAC": supported values: "AlwaysAllow", '
            '"AlwaysDeny", "Node", "RBAC", "Webhook"',
        ),
        ({"type": "RBAC"}, "authorizers[0].name: Required value"),
        ({"type": "RBAC", "name": "A B"}, "authorizer name is invalid: a lowercase RFC 1123"),
        (
            {"type": "RBAC", "name": "r", "webhook": {}},
            'authorizers[0].webhook: Invalid value: "non-null": may only be specified when '
            "type=Webhook",
        ),
        (
            {"type": "Webhook", "name": "w"},
            "authorizers[0].webhook: Required value: required when type=Webhook",
        ),
        (
            {"type": "Webhook", "name": "w", "webhook": {}},
            "[authorizers[0].timeout: Required value, "
            "authorizers[0].subjectAccessReviewVersion: Required value, "
            "authorizers[0].failurePolicy: Required value, "
            "authorizers[0].connectionInfo.type: Required value]",
        ),
        (
            {"type": "Webhook", "name": "w", "webhook": settings(Path("x"))},
            'authorizers[0].connectionInfo.kubeConfigFile: Invalid value: "x": must be an absolute '
            "path",
        ),
        (
            {
                "type": "Webhook",
                "name": "w",
                "webhook": settings(Path("/etc/hosts"), timeout="31s"),
            },
            'authorizers[0].timeout: Invalid value: "31s": must be > 0s and <= 30s',
        ),
        (
            {
                "type": "Webhook",
                "name": "w",
                "webhook": settings(
                    Path("/etc/hosts"), matchConditions=[{"expression": "request.usr == ''"}]
                ),
            },
            "authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if "
            "match conditions are specified",
        ),
    ],
)
def test_what_is_wrong_with_the_file_is_said(authorizer: dict[str, Any], problem: str) -> None:
    content = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthorizationConfiguration",
        "authorizers": [authorizer],
    }
    with pytest.raises(ConfigFileError) as raised:
        parse_configuration(json.dumps(content).encode())
    assert problem in str(raised.value)


def test_an_authorizer_stands_once_unless_it_is_a_webhook(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text("")
    assert parse_configuration(configuration(settings(file), settings(file), "RBAC"))
    with pytest.raises(ConfigFileError, match=r'authorizers\[1\].type: Duplicate value: "RBAC"'):
        parse_configuration(configuration("RBAC", "RBAC"))
