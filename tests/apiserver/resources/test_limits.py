"""How much of something an object may have: as much as the limit says is fine, one more is not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.kit import SERVED, body_of, changed
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import from_builtins
from tiphys.api.core_v1 import PodSpec
from tiphys.apiserver.resources import Strategies
from tiphys.apiserver.resources.certificatesigningrequests import signer_name_errors
from tiphys.apiserver.resources.customresourcedefinitions.rules import judged
from tiphys.apiserver.resources.podspec.omissions import omissions
from tiphys.machinery.errors import StatusError

STRATEGIES = Strategies()


def violations(name: str, parts: dict[str, Any]) -> list[str]:
    """The fields that are wrong with a valid object of the resource once some are replaced."""
    resource = SERVED[name]
    obj = from_builtins(changed(body_of(resource, "a"), parts), resource.type)
    strategy = STRATEGIES.of(resource)
    strategy.default(obj)
    try:
        strategy.prepare_for_create(obj)
    except StatusError as refusal:
        assert refusal.status.details is not None
        return [cause.field for cause in refusal.status.details.causes]
    return [error.field for error in strategy.validate(obj)]


def many(count: int, **parts: Any) -> list[dict[str, Any]]:
    """Rows with names of their own."""
    return [{"name": f"n{number}", **parts} for number in range(count)]


OPAQUE = {"opaque": {"driver": "d.com", "parameters": {"a": 1}}}
SELECTOR = {"cel": {"expression": "true"}}
CLASS = "deviceclasses.resource.k8s.io"
SLICE = "resourceslices.resource.k8s.io"
COUNTERS = {"counters": {"c": {"value": "1"}}}


@pytest.mark.parametrize(
    ("resource", "limit", "make", "field"),
    [
        (CLASS, 32, lambda n: {"spec": {"config": [OPAQUE] * n}}, "spec.config"),
        (CLASS, 32, lambda n: {"spec": {"selectors": [SELECTOR] * n}}, "spec.selectors"),
        (SLICE, 128, lambda n: {"spec": {"devices": many(n)}}, "spec.devices"),
        (
            SLICE,
            8,
            lambda n: {"spec": {"devices": None, "sharedCounters": many(n, **COUNTERS)}},
            "spec.sharedCounters",
        ),
        (
            SLICE,
            32,
            lambda n: {"spec": {"devices": many(1, attributes={"a" * n: {"bool": True}})}},
            f"spec.devices[0].attributes[{'a' * 33}]",
        ),
    ],
)
def test_the_limit_is_allowed_and_one_more_is_not(
    resource: str, limit: int, make: Any, field: str
) -> None:
    assert violations(resource, make(limit)) == []
    assert violations(resource, make(limit + 1)) == [field]


RULE = {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1]}}


def job(restart: str, **policy: Any) -> dict[str, Any]:
    template = {"spec": {"restartPolicy": restart, "containers": [{"name": "c", "image": "i"}]}}
    return {"spec": {"template": template, **policy}}


@pytest.mark.parametrize(
    ("body", "broken"),
    [
        (job("Never", podFailurePolicy={"rules": [RULE] * 20}), []),
        (job("Never", podFailurePolicy={"rules": [RULE] * 21}), ["spec.podFailurePolicy.rules"]),
        (
            job("OnFailure", podFailurePolicy={"rules": [RULE]}),
            ["spec.template.spec.restartPolicy"],
        ),
        (job("OnFailure"), []),
    ],
)
def test_failures_of_pods_are_judged_where_pods_do_not_restart(
    body: Any, broken: list[str]
) -> None:
    assert violations("jobs.batch", body) == broken


@pytest.mark.parametrize(
    ("block", "broken"),
    [
        ({"cidr": "10.0.0.0/8"}, []),
        ({"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, []),
        ({"cidr": ""}, [".cidr"]),
        ({"cidr": "10.0.0.1"}, [".cidr"]),
        ({"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}, [".except[0]"]),
        ({"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}, [".except[0]"]),
        ({"cidr": "10.0.0.0/8", "except": ["x"]}, [".except[0]"]),
    ],
)
def test_a_block_of_addresses_is_one_and_what_it_leaves_out_is_in_it(
    block: dict[str, Any], broken: list[str]
) -> None:
    parts = {"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": block}]}]}}
    path = "spec.ingress[0].from[0].ipBlock"
    found = violations("networkpolicies.networking.k8s.io", parts)
    assert found == [path + end for end in broken]


@pytest.mark.parametrize(
    ("column", "broken"),
    [
        ({}, []),
        ({"name": ""}, ["name"]),
        ({"type": ""}, ["type"]),
        ({"type": "text"}, ["type"]),
        ({"format": "int"}, ["format"]),
        ({"format": "int64"}, []),
        ({"jsonPath": ""}, ["JSONPath"]),
        ({"jsonPath": "a"}, ["JSONPath"]),
    ],
)
def test_a_printer_column_has_a_name_a_type_and_a_path(
    column: dict[str, Any], broken: list[str]
) -> None:
    full = {"name": "C", "type": "string", "jsonPath": ".spec.a", **column}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object"}},
        "additionalPrinterColumns": [full],
    }
    names = {"plural": "as", "singular": "a", "kind": "A", "listKind": "AList"}
    spec = {"group": "e.com", "scope": "Cluster", "names": names, "versions": [version]}
    status = {"storedVersions": ["v1"]}
    body = {"metadata": {"name": "as.e.com"}, "spec": spec, "status": status}
    path = "spec.additionalPrinterColumns[0]"  # that of all versions, which are one
    obj = from_builtins(body, CustomResourceDefinition)
    STRATEGIES.of(SERVED["customresourcedefinitions.apiextensions.k8s.io"]).default(obj)
    found = [error.field for error in judged(obj)]
    assert found == [f"{path}.{name}" for name in broken]


@pytest.mark.parametrize(
    ("container", "count"),
    [
        ({}, 0),
        ({"lifecycle": {"stopSignal": "SIGINT"}}, 0),
        ({"securityContext": {"seLinuxOptions": {"level": "s0"}}}, 1),
        ({"volumeDevices": [{"name": "v", "devicePath": "/d"}]}, 0),
        ({"securityContext": {"procMount": "Unmasked"}}, 0),
        ({"securityContext": {"procMount": "Default"}}, 0),
    ],
)
def test_what_nodes_do_not_carry_out_is_told(container: dict[str, Any], count: int) -> None:
    spec = {"containers": [{"name": "c", "image": "i", **container}]}
    assert len(list(omissions(from_builtins(spec, PodSpec), "spec"))) == count


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("example.com/signer", 0),
        ("", 1),
        ("example.com", 1),
        ("example.com/a/b", 1),
        ("example/a", 1),
        ("-.com/a", 1),
        ("example.com/-", 1),
        ("example.com/a.b", 0),
    ],
)
def test_a_signer_has_a_domain_and_a_path(name: str, count: int) -> None:
    assert len(signer_name_errors(name, "f")) == count


@pytest.mark.parametrize(
    ("target", "broken"),
    [
        ({"type": "Utilization", "averageUtilization": 1}, []),
        ({"type": "Utilization", "averageUtilization": 0}, ["averageUtilization"]),
        ({"type": "AverageValue", "averageValue": "1"}, []),
        ({"type": "AverageValue", "averageValue": "0"}, ["averageValue"]),
        ({"type": "Other", "averageValue": "1"}, ["type"]),
        ({"type": "", "averageValue": "1"}, ["type"]),
    ],
)
def test_the_target_of_a_metric_is_positive_and_of_a_known_type(
    target: dict[str, Any], broken: list[str]
) -> None:
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    found = violations("horizontalpodautoscalers.autoscaling", {"spec": {"metrics": [metric]}})
    assert found == [f"spec.metrics[0].resource.target.{name}" for name in broken]


@pytest.mark.parametrize(("group", "right"), [(-1, False), (0, True), (2**31 - 1, True)])
def test_groups_are_numbers_from_zero_on(group: int, right: bool) -> None:
    found = violations("pods", {"spec": {"securityContext": {"fsGroup": group}}})
    assert found == ([] if right else ["spec.securityContext.fsGroup"])


def source(kind: str) -> dict[str, Any]:
    return {"spec": {"dataSource": {"kind": kind, "name": "x"}}}


def addresses(first: str) -> dict[str, Any]:
    return {"spec": {"clusterIP": "10.96.0.5", "clusterIPs": [first]}}


def account(namespace: str) -> dict[str, Any]:
    subject = {"kind": "ServiceAccount", "serviceAccount": {"name": "a", "namespace": namespace}}
    paths = [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    return {"spec": {"rules": [{"subjects": [subject], "nonResourceRules": paths}]}}


def webhook(policy: str) -> dict[str, Any]:
    hook = {
        "name": "a.b.c",
        "clientConfig": {"url": "https://x"},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "matchPolicy": policy,
    }
    return {"webhooks": [hook]}


def policy(cidr: str) -> dict[str, Any]:
    return {"spec": {"ingress": [{"from": [{"ipBlock": {"cidr": cidr}}]}]}}


def measured(resource: str) -> dict[str, Any]:
    given = {"resourceFieldRef": {"containerName": "c", "resource": resource}}
    return {
        "spec": {
            "containers": [{"name": "c", "image": "i", "env": [{"name": "E", "valueFrom": given}]}]
        }
    }


@pytest.mark.parametrize(
    ("resource", "good", "bad", "field"),
    [
        (
            "networkpolicies.networking.k8s.io",
            policy("10.0.0.0/8"),
            policy(""),
            "spec.ingress[0].from[0].ipBlock.cidr",
        ),
        (
            "pods",
            measured("limits.hugepages-2Mi"),
            measured("limits.cards"),
            "spec.containers[0].env[0].valueFrom.resourceFieldRef.resource",
        ),
        (
            "persistentvolumeclaims",
            source("PersistentVolumeClaim"),
            source(""),
            "spec.dataSource.kind",
        ),
        ("services", addresses("10.96.0.5"), addresses("10.96.0.6"), "spec.clusterIPs"),
        (
            "flowschemas.flowcontrol.apiserver.k8s.io",
            account("ns"),
            account(""),
            "spec.rules[0].subjects[0].serviceAccount.namespace",
        ),
        (
            "validatingwebhookconfigurations.admissionregistration.k8s.io",
            webhook("Exact"),
            webhook("Other"),
            "webhooks[0].matchPolicy",
        ),
    ],
)
def test_what_is_right_is_taken_and_what_is_wrong_is_named(
    resource: str, good: dict[str, Any], bad: dict[str, Any], field: str
) -> None:
    assert violations(resource, good) == []
    assert violations(resource, bad)[0] == field


def test_a_network_that_is_missing_is_required() -> None:
    resource = SERVED["networkpolicies.networking.k8s.io"]
    obj = from_builtins(changed(body_of(resource, "a"), policy("")), resource.type)
    [error] = STRATEGIES.of(resource).validate(obj)
    assert error.reason == "FieldValueRequired"


def test_the_most_of_a_limit_range_is_the_default_of_what_says_none() -> None:
    limit = {"type": "Container", "max": {"cpu": "2", "memory": "4Gi"}, "default": {"cpu": "1"}}
    resource = SERVED["limitranges"]
    obj = from_builtins(
        changed(body_of(resource, "a"), {"spec": {"limits": [limit]}}), resource.type
    )
    STRATEGIES.of(resource).default(obj)
    [shown] = obj.spec.limits
    assert shown.default == {"cpu": "1", "memory": "4Gi"}
    assert shown.default_request == {"cpu": "1", "memory": "4Gi"}


def test_an_address_without_a_parent_is_shown_without_one() -> None:
    resource = SERVED["ipaddresses.networking.k8s.io"]
    strategy = STRATEGIES.of(resource)
    [column] = [each for each in strategy.columns if each.name == "ParentRef"]
    orphan = from_builtins({"metadata": {"name": "10.0.0.1"}, "spec": {}}, resource.type)
    parent = {"group": "", "resource": "services", "namespace": "n", "name": "s"}
    owned = from_builtins({"metadata": {}, "spec": {"parentRef": parent}}, resource.type)
    assert (column.cell(orphan), column.cell(owned)) == ("", "services/n/s")
