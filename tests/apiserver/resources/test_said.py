"""What is said of a field that can be wrong in several ways: upstream's words for each."""

from __future__ import annotations

from typing import Any

from tests.apiserver.kit import container, spec
from tests.apiserver.rules import wrong_with
from tests.apiserver.tables import each_row

SCHEMA = "flowschemas.flowcontrol.apiserver.k8s.io"
CRON = "cronjobs.batch"
JOB = "jobs.batch"


def user(name: str) -> dict[str, Any]:
    return spec(securityContext={"windowsOptions": {"runAsUserName": name}})


def path(url: str) -> dict[str, Any]:
    everybody = [{"kind": "Group", "group": {"name": "*"}}]
    rule = {"verbs": ["get"], "nonResourceURLs": [url]}
    return {"spec": {"rules": [{"subjects": everybody, "nonResourceRules": [rule]}]}}


def scheduled(**parts: str) -> dict[str, Any]:
    return {"spec": parts}


def indexes(text: str) -> dict[str, Any]:
    rules = [{"succeededIndexes": text}]
    return {"spec": {"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": rules}}}  # fmt: skip


def told(field: str, version: str = "v1") -> dict[str, Any]:
    source = {"fieldRef": {"fieldPath": field, "apiVersion": version}}
    return container(env=[{"name": "E", "valueFrom": source}])


def amount(resource: str, divisor: str) -> dict[str, Any]:
    source = {"resourceFieldRef": {"resource": resource, "divisor": divisor}}
    return container(env=[{"name": "E", "valueFrom": source}])


def key(text: str) -> dict[str, Any]:
    devices = [{"name": "d", "attributes": {text: {"int": 1}}}]
    return {"spec": {"devices": devices}}


SLICE = "resourceslices.resource.k8s.io"
BYTES = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei"


@each_row(
    [
        ("pods", user(""), "runAsUserName cannot be an empty string"),
        ("pods", user("a\x01"), "runAsUserName cannot contain control characters"),
        ("pods", user("a\\b\\c"), "runAsUserName cannot contain more than one backslash"),
        ("pods", user("a\\"), "runAsUserName's User cannot be empty"),
        ("pods", user("a*b"), "runAsUserName's User cannot contain the following characters"),
        ("pods", told("x"), "error converting fieldPath: field label not supported: x"),
        ("pods", told("spec['x']"), "error converting fieldPath: field label does not support subscript: spec['x']"),
        ("pods", told("metadata.name", "v2"), "error converting fieldPath: unsupported pod version: v2"),
        ("pods", amount("limits.cpu", "2"), "only divisor's values 1m and 1 are supported with the cpu resource"),
        ("pods", amount("limits.memory", "2"), f"only divisor's values {BYTES} are supported with the memory resource"),
        ("pods", amount("limits.ephemeral-storage", "2"), "are supported with the local ephemeral storage resource"),
        ("pods", amount("requests.hugepages-2Mi", "2"), "are supported with the hugepages resource"),
        (SCHEMA, path(""), "must not be empty"),
        (SCHEMA, path("a"), "must start with slash"),
        (SCHEMA, path("/a b"), "must not contain white-space"),
        (SCHEMA, path("/a//b"), "must not contain double slash"),
        (SCHEMA, path("/*/b"), "wildcard can only do suffix matching"),
        (SCHEMA, path("/a*"), 'should end with "/*" if it has a wildcard'),
        (CRON, scheduled(schedule="TZ=UTC * * * * *"), "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
        (CRON, scheduled(schedule="* * * *"), "expected exactly 5 fields, found 4"),
        (CRON, scheduled(timeZone=""), "timeZone must be nil or non-empty string"),
        (CRON, scheduled(timeZone="LOCAL"), "timeZone must be an explicit time zone"),
        (CRON, scheduled(timeZone="No/Where"), "unknown time zone No/Where"),
        (JOB, indexes("0-1-2"), "an index interval can have at most two parts"),
        (JOB, indexes("a"), 'cannot convert string to integer for index: "a"'),
        (JOB, indexes("9-1"), 'too large index: "9"'),
        (JOB, indexes("1-9"), 'too large index: "9"'),
        (JOB, indexes("2-1"), "non-increasing order, previous: 2, current: 1"),
        (JOB, indexes("1,1"), "non-increasing order, previous: 1, current: 1"),
        (SLICE, key("/a"), "the domain must not be empty"),
        (SLICE, key("a.b/"), "the name must not be empty"),
        (SLICE, key(""), "name required"),
    ]
)  # fmt: skip
def test_what_is_said(kind: str, parts: dict[str, Any], says: str) -> None:
    assert any(says in complaint for complaint in wrong_with(kind, parts)), parts
