"""What a server that is audited tells of requests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.apiserver.audit.builders import CONFIG_MAPS, EVERYTHING, NAMESPACE, audited
from tests.attack.wire import events as watched
from tiphys.client.client import Client
from tiphys.client.config import Config
from tiphys.machinery.errors import StatusError

MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}
METADATA = {"level": "Metadata"}


async def test_an_event_has_all_that_upstreams_has(tmp_path: Path) -> None:
    async with audited(tmp_path, METADATA) as server:
        answer = await server.ask("POST", CONFIG_MAPS, MAP, User_Agent="kubectl/v1")
        received, completed = server.events(CONFIG_MAPS)
    assert received["stage"] == "RequestReceived"
    assert received["stageTimestamp"] == received["requestReceivedTimestamp"]
    assert completed.pop("stageTimestamp") > completed.pop("requestReceivedTimestamp")
    extra = completed["user"].pop("extra")
    assert list(extra) == ["authentication.kubernetes.io/credential-id"]
    assert completed == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": answer.headers["audit-id"],
        "stage": "ResponseComplete",
        "requestURI": CONFIG_MAPS,
        "verb": "create",
        "user": {
            "username": "kubernetes-admin",
            "groups": ["system:masters", "system:authenticated"],
        },
        "sourceIPs": ["127.0.0.1"],
        "userAgent": "kubectl/v1",
        "objectRef": {
            "resource": "configmaps",
            "namespace": "default",
            "name": "c",
            "apiVersion": "v1",
        },
        "responseStatus": {"metadata": {}, "code": 201},
        "annotations": {
            "authorization.k8s.io/decision": "allow",
            "authorization.k8s.io/reason": "",
        },
    }


async def test_objects_are_told_as_far_as_the_policy_asks(tmp_path: Path) -> None:
    rules = [
        {**METADATA, "resources": [{"resources": ["secrets"]}]},
        {"level": "Request", "namespaces": ["kube-system"]},
        EVERYTHING,
    ]
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"k": "aGk="},
    }
    async with audited(tmp_path, *rules) as server:
        await server.ask("POST", f"{NAMESPACE}/secrets", secret)
        await server.ask("POST", "/api/v1/namespaces/kube-system/configmaps", MAP)
        await server.ask("POST", CONFIG_MAPS, MAP)
        await server.ask(
            "PATCH",
            f"{CONFIG_MAPS}/c",
            {"data": {"x": "y"}},
            Content_Type="application/merge-patch+json",
        )
        await server.ask("DELETE", f"{CONFIG_MAPS}/c", {"gracePeriodSeconds": 0})
        log = server.log.read_text()
        request = server.last("/api/v1/namespaces/kube-system")
        created, patched, deleted = server.events(CONFIG_MAPS, "ResponseComplete")
    assert "aGk=" not in log
    assert request["requestObject"] == MAP and "responseObject" not in request
    assert created["requestObject"] == MAP
    assert created["responseObject"]["metadata"]["uid"]
    assert patched["requestObject"] == {"data": {"x": "y"}}
    assert patched["responseObject"]["data"] == {"a": "b", "x": "y"}
    assert deleted["requestObject"]["gracePeriodSeconds"] == 0
    assert deleted["responseObject"]["status"] == "Success"


async def test_other_forms_are_told_in_json(tmp_path: Path) -> None:
    async with audited(tmp_path, EVERYTHING, omitManagedFields=True) as server:
        protobuf = "application/vnd.kubernetes.protobuf"
        await server.ask("POST", CONFIG_MAPS, MAP, Accept=protobuf)
        await server.ask("GET", f"{CONFIG_MAPS}/c", None, Accept="application/yaml")
        await server.ask("GET", f"{CONFIG_MAPS}/c?pretty=1")
        created, as_yaml, pretty = server.events(CONFIG_MAPS, "ResponseComplete")
    for event in (created, as_yaml, pretty):
        assert event["responseObject"]["data"] == {"a": "b"}
        assert "managedFields" not in event["responseObject"]["metadata"]


async def test_a_refusal_is_told_with_its_status(tmp_path: Path) -> None:
    async with audited(tmp_path, EVERYTHING) as server:
        jane = server.cluster.client_as("jane")
        answer = await server.as_user(jane, "GET", f"{NAMESPACE}/secrets/s")
        event = server.last(f"{NAMESPACE}/secrets")
    status = event["responseStatus"]
    assert (status["status"], status["reason"], status["code"]) == ("Failure", "Forbidden", 403)
    assert status["message"] == answer.json["message"]
    assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert event["responseObject"]["kind"] == "Status"


async def test_why_somebody_may_is_told(tmp_path: Path) -> None:
    async with audited(tmp_path, METADATA) as server:
        jane = server.cluster.client_as("jane")
        await server.as_user(jane, "GET", "/version")
        reason = server.last("/version")["annotations"]["authorization.k8s.io/reason"]
    assert reason.startswith('RBAC: allowed by ClusterRoleBinding "system:')
    assert reason.endswith('to Group "system:authenticated"')


async def test_whom_somebody_acts_as_is_told(tmp_path: Path) -> None:
    async with audited(tmp_path, METADATA) as server:
        headers = {"Impersonate_User": "bob", "Impersonate_Group": "devs"}
        await server.ask("GET", CONFIG_MAPS, None, **headers)
        event = server.last(CONFIG_MAPS)
    assert event["user"]["username"] == "kubernetes-admin"
    assert event["impersonatedUser"] == {
        "username": "bob",
        "groups": ["devs", "system:authenticated"],
    }
    assert event["authenticationMetadata"] == {"impersonationConstraint": "impersonate:user-info"}


async def test_who_cannot_be_known_is_told_once(tmp_path: Path) -> None:
    async with audited(tmp_path, METADATA) as server:
        config = Config(server.cluster.url, server.cluster.authority.path, token="wrong")
        client = Client(config)
        with pytest.raises(StatusError, match="Unauthorized"):
            await client.request("GET", CONFIG_MAPS)
        await client.close()
        [event] = server.events(CONFIG_MAPS)
    assert event["stage"] == "ResponseStarted"
    assert event["user"] == {}
    assert event["responseStatus"]["code"] == 401
    assert event["responseStatus"]["message"] == "Authentication failed, attempted: bearer"


async def test_a_watch_is_told_when_it_begins_and_when_it_ends(tmp_path: Path) -> None:
    async with audited(tmp_path, METADATA) as server:
        path = f"{CONFIG_MAPS}?watch=1"
        async with watched(server.client, path):
            stages = [event["stage"] for event in server.events(path)]
            assert stages == ["RequestReceived", "ResponseStarted"]
        await server.cluster.eventually(lambda: server.events(path, "ResponseComplete"))
        assert server.last(path)["responseStatus"]["code"] == 200


async def test_a_client_gives_its_request_an_id(tmp_path: Path) -> None:
    async with audited(tmp_path, METADATA) as server:
        answer = await server.ask("GET", "/version", None, Audit_ID="mine")
        assert answer.headers["audit-id"] == "mine"
        assert server.last("/version")["auditID"] == "mine"


async def test_nothing_is_told_at_level_none(tmp_path: Path) -> None:
    rules = [{"level": "None", "nonResourceURLs": ["/version"]}, METADATA]
    async with audited(tmp_path, *rules, omitStages=["RequestReceived"]) as server:
        await server.ask("GET", "/version")
        await server.ask("GET", CONFIG_MAPS)
        assert not server.events("/version")
        assert [event["stage"] for event in server.events(CONFIG_MAPS)] == ["ResponseComplete"]


async def test_proxies_say_where_a_request_is_from(tmp_path: Path) -> None:
    async with audited(tmp_path, METADATA) as server:
        await server.ask("GET", "/version", None, X_Forwarded_For="10.1.1.1, nonsense, 10.2.2.2")
        assert server.last("/version")["sourceIPs"] == ["10.1.1.1", "10.2.2.2", "127.0.0.1"]


async def test_levels_of_pod_security_are_told(tmp_path: Path) -> None:
    labels = {f"pod-security.kubernetes.io/{mode}": "baseline" for mode in ("enforce", "audit")}
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "n", "labels": labels},
    }
    spec = {"hostNetwork": True, "containers": [{"name": "c", "image": "i"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    async with audited(tmp_path, METADATA) as server:
        await server.ask("POST", "/api/v1/namespaces", namespace)
        account = {"metadata": {"name": "default"}}
        await server.ask("POST", "/api/v1/namespaces/n/serviceaccounts", account)
        await server.ask("POST", "/api/v1/namespaces/n/pods", pod)
        told = server.last("/api/v1/namespaces/n/pods")["annotations"]
    assert told["pod-security.kubernetes.io/enforce-policy"] == "baseline:latest"
    assert told["pod-security.kubernetes.io/audit-violations"] == (
        'would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    )


async def test_policies_tell_what_they_found(tmp_path: Path) -> None:
    rule = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["configmaps"],
    }
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "no"}],
        "auditAnnotations": [{"key": "name", "valueExpression": "object.metadata.name + '!'"}],
    }
    binding = {"policyName": "p", "validationActions": ["Audit"]}
    api = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
    async with audited(tmp_path, METADATA) as server:
        await server.ask("POST", f"{api}ies", {"metadata": {"name": "p"}, "spec": spec})
        await server.ask("POST", f"{api}ybindings", {"metadata": {"name": "b"}, "spec": binding})
        await server.ask("POST", CONFIG_MAPS, MAP)
        told = server.last(CONFIG_MAPS)["annotations"]
    assert told["p/name"] == "c!"
    assert told["validation.policy.admission.k8s.io/validation_failure"] == (
        '[{"message":"no","policy":"p","binding":"b","expressionIndex":0,"validationActions":["Audit"]}]'
    )


async def test_a_request_that_is_given_up_is_told(tmp_path: Path) -> None:
    async with audited(tmp_path, METADATA) as server:
        path = f"{CONFIG_MAPS}?watch=1&timeoutSeconds=600"
        request = asyncio.ensure_future(server.ask("GET", path))
        await server.cluster.eventually(lambda: server.events(path, "ResponseStarted"))
        request.cancel()
        await server.cluster.eventually(lambda: server.events(path, "ResponseComplete"))
