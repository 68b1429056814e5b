"""Quotas, limit ranges, disruption budgets, priorities and other smaller resources: both sides of each of
upstream's rules."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.kit import SERVED
from tests.apiserver.rules import STRATEGIES, built, fields, wrong_with, wrong_with_change
from tests.apiserver.tables import each_row
from tiphys.api.base import from_builtins

RANGE = "limitranges"
QUOTA = "resourcequotas"
BUDGET = "poddisruptionbudgets.policy"
PRIORITY = "priorityclasses.scheduling.k8s.io"
LEASE = "leases.coordination.k8s.io"
RUNTIME = "runtimeclasses.node.k8s.io"
REVISION = "controllerrevisions.apps"
CONTROLLER = "replicationcontrollers"
SECRET = "secrets"
MAP = "configmaps"
ACCOUNT = "kubernetes.io/service-account.name"


def limit(kind: str = "Container", **parts: Any) -> dict[str, Any]:
    return {"spec": {"limits": [{"type": kind, **parts}]}}


def scoped(*scopes: str) -> dict[str, Any]:
    return {"spec": {"scopes": list(scopes)}}


def selecting(scope: str, operator: str, *values: str) -> dict[str, Any]:
    row = {"scopeName": scope, "operator": operator, "values": list(values)}
    return {"spec": {"scopeSelector": {"matchExpressions": [row]}}}


def spec(**parts: Any) -> dict[str, Any]:
    return {"spec": parts}


def named(name: str, **parts: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **parts}


def cpu(**bounds: str) -> dict[str, Any]:
    return limit(**{name: {"cpu": amount} for name, amount in bounds.items()})


LIMIT = "spec.limits[0]"
EXPRESSION = "spec.scopeSelector.matchExpressions"
MEBIBYTE = 1 << 20


@each_row(
    [
        # --- limit ranges ---
        (RANGE, cpu(min="1", defaultRequest="1", default="1", max="1"), []),
        (RANGE, cpu(min="2", max="1", default="2", defaultRequest="2"), [f"{LIMIT}.min[cpu]", f"{LIMIT}.defaultRequest[cpu]", f"{LIMIT}.default[cpu]"]),
        (RANGE, cpu(min="2", defaultRequest="1"), [f"{LIMIT}.defaultRequest[cpu]"]),
        (RANGE, cpu(defaultRequest="2", default="1"), [f"{LIMIT}.defaultRequest[cpu]"]),
        (RANGE, cpu(min="2", default="1", defaultRequest="2"), [f"{LIMIT}.defaultRequest[cpu]", f"{LIMIT}.default[cpu]"]),
        (RANGE, limit(maxLimitRequestRatio={"cpu": "1"}), []),
        (RANGE, limit(maxLimitRequestRatio={"cpu": "999m"}), [f"{LIMIT}.maxLimitRequestRatio[cpu]"]),
        (RANGE, limit("Pod", max={"cpu": "1"}), []),
        (RANGE, limit("Pod", default={"cpu": "1"}, defaultRequest={"cpu": "1"}), [f"{LIMIT}.default", f"{LIMIT}.defaultRequest"]),
        (RANGE, limit("PersistentVolumeClaim", min={"storage": "1"}), []),
        (RANGE, limit("PersistentVolumeClaim", max={"storage": "1"}), []),
        (RANGE, limit("PersistentVolumeClaim"), [f"{LIMIT}.limits"]),
        (RANGE, limit("a.b/c"), []),
        (RANGE, limit("Node"), [f"{LIMIT}.type"]),
        (RANGE, limit("a b/c d"), [f"{LIMIT}.type"] * 2),
        (RANGE, {"spec": {"limits": [{"type": "Pod"}] * 2}}, ["spec.limits[1].type"]),
        # --- quotas ---
        (QUOTA, spec(hard={"cpu": "1500m", "pods": "2", "count/jobs.batch": "3"}), []),
        (QUOTA, spec(hard={"cpu": "-1"}), ["spec.hard[cpu]"]),
        (QUOTA, spec(hard={"pods": "1500m"}), ["spec.hard[pods]"]),
        (QUOTA, spec(hard={"count/jobs.batch": "500m"}), ["spec.hard[count/jobs.batch]"]),
        (QUOTA, spec(hard={"services.nodeports": "500m"}), ["spec.hard[services.nodeports]"]),
        (QUOTA, scoped("Terminating", "BestEffort"), []),
        (QUOTA, scoped("Terminating", "NotTerminating"), ["spec.scopes"]),
        (QUOTA, scoped("BestEffort", "NotBestEffort"), ["spec.scopes"]),
        (QUOTA, scoped("Sometimes"), ["spec.scopes"]),
        (QUOTA, selecting("PriorityClass", "In", "a"), []),
        (QUOTA, selecting("PriorityClass", "NotIn"), [f"{EXPRESSION}.values"]),
        (QUOTA, selecting("PriorityClass", "Exists"), []),
        (QUOTA, selecting("PriorityClass", "DoesNotExist"), []),
        (QUOTA, selecting("PriorityClass", "Exists", "a"), [f"{EXPRESSION}.values"]),
        (QUOTA, selecting("PriorityClass", "Like", "a"), [f"{EXPRESSION}.operator"]),
        (QUOTA, selecting("Terminating", "Exists"), []),
        (QUOTA, selecting("Terminating", "DoesNotExist"), [f"{EXPRESSION}.operator"]),
        (QUOTA, selecting("Sometimes", "Exists"), [f"{EXPRESSION}.scopeName"]),
        # --- disruption budgets ---
        (BUDGET, spec(minAvailable=0), []),
        (BUDGET, spec(maxUnavailable="50%"), []),
        (BUDGET, spec(minAvailable=-1), ["spec.minAvailable"]),
        (BUDGET, spec(maxUnavailable="x"), ["spec.maxUnavailable"]),
        (BUDGET, spec(minAvailable=1, maxUnavailable=1), ["spec"]),
        (BUDGET, spec(unhealthyPodEvictionPolicy="AlwaysAllow"), []),
        (BUDGET, spec(unhealthyPodEvictionPolicy="Never"), ["spec.unhealthyPodEvictionPolicy"]),
        (BUDGET, spec(selector={"matchLabels": {"a b": "c"}}), ["spec.selector.matchLabels"]),
        # --- priorities ---
        (PRIORITY, {"value": 1_000_000_000}, []),
        (PRIORITY, {"value": 1_000_000_001}, ["value"]),
        (PRIORITY, named("system-node-critical", value=2_000_000_000), []),
        (PRIORITY, named("system-other"), ["metadata.name"]),
        (PRIORITY, {"preemptionPolicy": "Never"}, []),
        (PRIORITY, {"preemptionPolicy": "Always"}, ["preemptionPolicy"]),
        # --- leases ---
        (LEASE, spec(leaseDurationSeconds=1, leaseTransitions=0), []),
        (LEASE, spec(leaseDurationSeconds=0), ["spec.leaseDurationSeconds"]),
        (LEASE, spec(leaseTransitions=-1), ["spec.leaseTransitions"]),
        (LEASE, spec(preferredHolder="h"), ["spec.preferredHolder"]),
        (LEASE, spec(preferredHolder="h", strategy="OldestEmulationVersion"), []),
        (LEASE, spec(strategy="a b"), ["spec.strategy"]),
        # --- others ---
        (RUNTIME, {"handler": "A"}, ["handler"]),
        (RUNTIME, {"overhead": {"podFixed": {"cpu": "-1"}}}, ["overhead.limits[cpu]"]),
        (RUNTIME, {"scheduling": {"nodeSelector": {"a b": "c"}}}, ["scheduling.nodeSelector"]),
        (RUNTIME, {"scheduling": {"tolerations": [{"value": "b"}]}}, ["scheduling.tolerations[0].operator"]),
        (REVISION, {"data": None}, ["data"]),
        (REVISION, {"revision": -1}, ["revision"]),
        (REVISION, {"revision": 0}, []),
        (CONTROLLER, spec(template=None), ["spec.template"]),
        (CONTROLLER, spec(selector={"a": "c"}), ["spec.template.metadata.labels"]),
        (CONTROLLER, spec(replicas=-1), ["spec.replicas"]),
        (CONTROLLER, spec(template={"spec": {"restartPolicy": "Never"}}), ["spec.template.spec.restartPolicy"]),
        (CONTROLLER, spec(selector=None, template={"metadata": {"labels": None}}), ["spec.selector"]),
        (SECRET, {"data": {"a/b": "eA=="}}, ["data[a/b]"]),
        (SECRET, {"type": "kubernetes.io/tls", "data": {"tls.crt": "eA=="}}, ["data[tls.key]"]),
        (SECRET, {"type": "kubernetes.io/tls", "data": {"tls.crt": "eA==", "tls.key": "eA=="}}, []),
        (SECRET, {"type": "kubernetes.io/service-account-token"}, [f"metadata.annotations[{ACCOUNT}]"]),
        (SECRET, {"stringData": {"a": "x" * MEBIBYTE}}, []),
        (SECRET, {"stringData": {"a": "x" * MEBIBYTE, "b": "x"}}, ["data"]),
        (MAP, {"data": {"a": "x" * (MEBIBYTE - 1)}, "binaryData": {"b": "eA=="}}, []),
        (MAP, {"data": {"a": "x" * MEBIBYTE}, "binaryData": {"b": "eA=="}}, [""]),
        (MAP, {"data": {"a": "x"}, "binaryData": {"a": "eA=="}}, ["data[a]"]),
        (MAP, {"binaryData": {"a/b": "eA=="}}, ["binaryData[a/b]"]),
    ],
)  # fmt: skip
def test_what_is_wrong(kind: str, parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(kind, parts)) == wrong


FROZEN = {"immutable": True, "data": {"a": "eA=="}}


@each_row(
    [
        (QUOTA, scoped("Terminating", "BestEffort"), scoped("BestEffort", "Terminating"), []),
        (QUOTA, scoped("Terminating"), scoped("BestEffort"), ["spec.scopes"]),
        (PRIORITY, {}, {"value": 2}, ["value"]),
        (PRIORITY, {}, {"preemptionPolicy": "Never"}, ["preemptionPolicy"]),
        (PRIORITY, {}, {"description": "x", "globalDefault": True}, []),
        (RUNTIME, {}, {"handler": "other"}, ["handler"]),
        (REVISION, {}, {"data": {"b": 1}}, ["data"]),
        (REVISION, {}, {"revision": 2}, []),
        (SECRET, {}, {"type": "other"}, ["type"]),
        (SECRET, FROZEN, {"data": {"a": "eQ=="}}, ["data"]),
        (SECRET, FROZEN, {"immutable": False}, ["immutable"]),
        (SECRET, FROZEN, {"immutable": None}, ["immutable"]),
        (SECRET, FROZEN, {"metadata": {"labels": {"a": "b"}}}, []),
        (MAP, {"immutable": True}, {"binaryData": {"a": "eA=="}}, ["binaryData"]),
        (MAP, {"immutable": True}, {"data": {"a": "x"}}, ["data"]),
        (MAP, {"immutable": False}, {"data": {"a": "x"}}, []),
        (MAP, {}, {"immutable": True, "data": {"a": "x"}}, []),
    ],
)
def test_what_may_change(
    kind: str, before: dict[str, Any], after: dict[str, Any], wrong: list[str]
) -> None:
    assert fields(wrong_with_change(kind, before, after)) == wrong


@pytest.mark.parametrize(
    ("item", "default", "request_"),
    [
        ({}, {}, {}),
        ({"max": {"cpu": "2"}}, {"cpu": "2"}, {"cpu": "2"}),
        ({"min": {"cpu": "1"}}, {}, {"cpu": "1"}),
        ({"min": {"cpu": "1"}, "max": {"cpu": "2"}}, {"cpu": "2"}, {"cpu": "2"}),
        ({"max": {"cpu": "3"}, "default": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}}, {"cpu": "2"}, {"cpu": "1"}),
    ],
)  # fmt: skip
def test_what_a_limit_range_does_not_say(item: Any, default: Any, request_: Any) -> None:
    [made] = built(SERVED[RANGE], limit(**item)).spec.limits
    assert (made.default, made.default_request) == (default, request_)
    [made] = built(SERVED[RANGE], limit("Pod", max={"cpu": "1"})).spec.limits
    assert not made.default and not made.default_request


def test_what_a_replication_controller_does_not_say() -> None:
    bare = spec(selector=None, template={"metadata": {"labels": {"x": "y"}}})
    made = built(SERVED[CONTROLLER], bare)
    labels = {"a": "b", "x": "y"}
    assert (made.spec.selector, made.metadata.labels, made.spec.replicas) == (labels, labels, 1)
    said = {**spec(replicas=0), "metadata": {"labels": {"own": "x"}}}
    made = built(SERVED[CONTROLLER], said)
    assert (made.spec.selector, made.metadata.labels, made.spec.replicas) == ({"a": "b"}, {"own": "x"}, 0)  # fmt: skip


def test_texts_of_a_secret_become_its_data() -> None:
    made = built(SERVED[SECRET], {"stringData": {"a": "x"}, "data": {"a": "eQ==", "b": "eQ=="}})
    assert (made.type, made.data, made.string_data) == ("Opaque", {"a": b"x", "b": b"y"}, {})
    assert built(SERVED[SECRET], {"type": "own"}).type == "own"


# --- columns ---


def cells(kind: str, body: dict[str, Any], *names: str) -> list[Any]:
    obj = from_builtins(body, SERVED[kind].type)
    columns = {column.name: column for column in STRATEGIES.of(SERVED[kind]).columns}
    return [columns[name].cell(obj) for name in names]


OWNERS = [
    {"kind": "Pod", "name": "p", "apiVersion": "v1"},
    {"kind": "DaemonSet", "name": "d", "apiVersion": "apps/v1", "controller": True},
]
HARD = {"requests.cpu": "2", "limits.cpu": "4", "pods": "10"}


@each_row(
    [
        (BUDGET, {}, ("Min Available", "Max Unavailable"), ["N/A", "N/A"]),
        (BUDGET, spec(minAvailable=0, maxUnavailable="5%"), ("Min Available", "Max Unavailable"), ["0", "5%"]),
        (QUOTA, spec(hard=HARD), ("Request", "Limit"), ["pods: 0/10, requests.cpu: 0/2", "limits.cpu: 0/4"]),
        (QUOTA, {**spec(hard={"pods": "1"}), "status": {"hard": {"pods": "2"}, "used": {"pods": "1"}}}, ("Request", "Limit"), ["pods: 1/2", ""]),
        (REVISION, {"revision": 3}, ("Controller", "Revision"), ["<none>", 3]),
        (REVISION, {"metadata": {"ownerReferences": OWNERS}}, ("Controller",), ["daemonset.apps/d"]),
        (LEASE, spec(holderIdentity="h"), ("Holder",), ["h"]),
        (LEASE, {}, ("Holder",), [""]),
    ],
)  # fmt: skip
def test_how_they_are_shown(kind: str, body: Any, names: tuple[str, ...], shown: list[Any]) -> None:
    assert cells(kind, body, *names) == shown
